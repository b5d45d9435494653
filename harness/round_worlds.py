"""The worlds in which round policies are raced: a stream of prompts, a cluster, and a trainer in proportion."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from makespan.harness.generator import Generator
from makespan.harness.generators import SEER_SIGMA, K
from makespan.harness.recorded import smollm2
from makespan.harness.set_up import batch_limit
from makespan.harness.shapes import CodeMath, LogNormal, Shape
from makespan.harness.workload import Workload
from makespan.runtime.courses import Inform
from makespan.runtime.profiles import load_profile
from makespan.runtime.prompt_stream import PromptStream
from makespan.runtime.rounds import RoundWorld, play
from makespan.schedulers import sources
from makespan.schedulers.catalog import synchronous
from makespan.schedulers.estimates import Information
from makespan.schedulers.instances import Cluster
from makespan.schedulers.requests import Requests
from makespan.schedulers.training_time import TrainingTime
from makespan.schedulers.types import IntArray

DRAWS = 32
"""Draws of each prompt before they repeat."""
RESPONSES = 8
ROLLPACKER_SIGMA = 1.3

Load = Callable[[int, int], Workload]
"""So many prompts by a seed, as a workload whose groups are the draws of one prompt each."""


def tail_of_rollpacker(cap: int) -> Shape:
    """Return log-normal lengths with the P75 that RollPacker publishes (755 to 1,100 tokens; 900 here).

    Their spread is ours: with sigma 1.3 the longest of some thousand samples reaches 16K, as it does there.
    """
    return LogNormal(median=900 / float(np.exp(0.6745 * ROLLPACKER_SIGMA)), sigma=ROLLPACKER_SIGMA, cap=cap)


def drawn(shape: Shape) -> Load:
    """Return prompts with lengths of this shape, of whose variance 83 % lies between prompts."""

    def load(prompts: int, seed: int) -> Workload:
        return Generator("drawn", shape, prompts * DRAWS, DRAWS, "drawn")(None, None, seed)

    return load


def recorded(prompts: int, seed: int) -> Workload:
    """Return prompts of the recording; each has eight draws."""
    return smollm2(None, prompts * 8, seed)


@dataclass(frozen=True, slots=True)
class Setup:
    """A world by its sizes.

    Parameters
    ----------
    name
        What it is called in results.
    load
        Where prompts and lengths come from.
    profile
        Step-time profile of the instances.
    requests_per_slot
        Requests of one training step per batch slot of all instances.
    rollout_share
        Share of a synchronous step that is generation, above 0 and below 1: it sets how fast the trainer is. The papers give
        0.63 to 0.91 (Seer, RollPacker, RhymeRL).
    instances, prompts, steps
        Instances in all, prompts of a step, and steps of an epoch.
    """

    name: str
    load: Load
    profile: str
    requests_per_slot: float
    rollout_share: float = 0.8
    instances: int = 4
    prompts: int = 16
    steps: int = 12

    def __post_init__(self) -> None:
        if not 0 < self.rollout_share < 1:
            raise ValueError(f"the share of generation must be above 0 and below 1, got {self.rollout_share}")

    def world(self, seed: int) -> RoundWorld:
        """Return the world of a seed, its trainer in proportion to what generation takes in it."""
        limit = batch_limit(self.prompts * RESPONSES, self.instances, self.requests_per_slot)
        cluster = Cluster.uniform(load_profile(self.profile).instance(max_batch=limit), self.instances)
        stream = stream_of(self.load(self.prompts * self.steps, seed))
        fast = RoundWorld(stream, cluster, TrainingTime(1e-12), self.prompts, RESPONSES)
        plain = play(synchronous, fast, inform("none", stream))
        tokens = RESPONSES * int(stream.prompt_tokens.sum()) + plain.delivered_tokens
        seconds = sum(r.seconds for r in plain.rounds) * (1 / self.rollout_share - 1)
        return replace(fast, training=TrainingTime(seconds / tokens))


WORLDS = (
    Setup(
        "tail-bound: RollPacker's P75, cap 16K, a slot for each", drawn(tail_of_rollpacker(16 * K)), "streamrl-7b-h800", 1
    ),
    Setup("batch-bound: code and mathematics 20K, four a slot", drawn(CodeMath(20_000)), "streamrl-7b-h800", 4),
    Setup(
        "KV-bound: Moonlight's mean of 22.4K and cap 64K, a slot for each",
        drawn(LogNormal.with_mean(22_400, SEER_SIGMA, 64 * K)),
        "llama3.1-8b-rtxpro6000",
        1,
    ),
    Setup("recorded: SmolLM2-135M, a slot for each", recorded, "llama3.1-8b-rtxpro6000", 1),
)


def stream_of(workload: Workload) -> PromptStream:
    """Return the groups of a workload as prompts in a row; all must have as many samples."""
    requests = workload.requests
    groups, first, count = np.unique(requests.group, return_index=True, return_counts=True)
    if (count != count[0]).any():
        raise ValueError(f"prompts of a stream must have equally many samples, got {count.min()} and {count.max()}")
    rows = np.argsort(requests.group, kind="stable").reshape(len(groups), -1)
    previous = workload.previous_tokens
    return PromptStream(
        requests.prompt_tokens[first],
        workload.output_tokens[rows],
        int(requests.max_new_tokens.max()),
        None if previous is None else previous[first],
    )


def inform(name: str, stream: PromptStream) -> Inform:
    """Return who knows what: ``none``, ``oracle`` or ``history`` (the prompt's length in the epoch before)."""

    def informed(requests: Requests, output_tokens: IntArray) -> Information:
        if name == "oracle":
            return sources.oracle(output_tokens)
        if name == "none":
            return sources.none(requests)
        if name != "history" or stream.previous is None:
            raise ValueError(f"a round must know none, oracle or the history that a stream has, got {name!r}")
        kept = requests.prompt_tokens - stream.prompt_tokens[requests.group]
        return sources.history(requests, np.maximum(stream.previous[requests.group] - kept, 1))

    return informed
