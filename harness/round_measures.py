"""What is measured on a run of many iterations: speed, waste, staleness, and which lengths are delivered when."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import wasserstein_distance

from makespan.runtime.round_record import Played
from makespan.runtime.rounds import RoundWorld
from makespan.schedulers.types import IntArray


@dataclass(frozen=True, slots=True)
class RoundResult:
    """One run.

    Parameters
    ----------
    world, policy, information, seed
        Which one.
    seconds_per_step, samples_per_s, tokens_per_generation_s
        Time of a training step; samples trained on per second of the run; their tokens per second in which instances are
        given to generation.
    wasted_share, resumed_share
        Tokens thrown away, and tokens whose KV was computed again, over tokens generated.
    off_policy_share
        Share of the tokens trained on that older weights have generated.
    staleness, waited
        Most versions between the first token of a sample and the weights that it updates; most training steps between the
        first issue of a prompt and training on it.
    dropped
        Prompts given up.
    mean_ratio, length_distance
        Of all lengths delivered against those that plain synchronous training on the same prompts delivers: ratio of the
        means, and Wasserstein distance over the mean.
    step_distance, first_step_ratio
        The same distance of the lengths of one step, mean over the steps; ratio of the means in the first quarter of them.
    slot_bubble, instance_bubble
        Share of the slot time, and of the instance time, of generation without useful work.
    tail_share
        Share of the time of rounds during which at most a tenth of their requests were unfinished.
    """

    world: str
    policy: str
    information: str
    seed: int
    seconds_per_step: float
    samples_per_s: float
    tokens_per_generation_s: float
    wasted_share: float
    resumed_share: float
    off_policy_share: float
    staleness: int
    waited: int
    dropped: int
    mean_ratio: float
    length_distance: float
    step_distance: float
    first_step_ratio: float
    slot_bubble: float
    instance_bubble: float
    tail_share: float


def plain_lengths(world: RoundWorld) -> IntArray:
    """Return the lengths that synchronous training on the epoch delivers: the first draws of every prompt."""
    prompts, draws = np.divmod(np.arange(len(world.stream) * world.responses), world.responses)
    return world.stream.length(prompts, draws)


def measure(
    name: str, policy: str, information: str, seed: int, world: RoundWorld, played: Played, turns: bool
) -> RoundResult:
    """Return what a run gave; `turns` says whether generation and training take turns on the same instances."""
    plain = plain_lengths(world)
    steps = [step.output_tokens for step in played.steps]
    delivered, mean = np.concatenate(steps), float(plain.mean())
    rounds_s = sum(r.seconds for r in played.rounds)
    generation_s = rounds_s if turns else played.seconds
    off_policy = 1 - sum(step.tokens_by_lag[0] for step in played.steps) / played.delivered_tokens
    return RoundResult(
        world=name,
        policy=policy,
        information=information,
        seed=seed,
        seconds_per_step=played.seconds / len(steps),
        samples_per_s=played.samples / played.seconds,
        tokens_per_generation_s=played.delivered_tokens / generation_s,
        wasted_share=played.wasted_tokens / played.generated_tokens,
        resumed_share=sum(r.resumed_tokens for r in played.rounds) / played.generated_tokens,
        off_policy_share=off_policy,
        staleness=max(int(step.staleness.max()) for step in played.steps),
        waited=max(int(step.waited.max()) for step in played.steps),
        dropped=len(played.dropped),
        mean_ratio=float(delivered.mean()) / mean,
        length_distance=float(wasserstein_distance(delivered, plain)) / mean,
        step_distance=float(np.mean([wasserstein_distance(lengths, plain) for lengths in steps])) / mean,
        first_step_ratio=float(np.concatenate(steps[: max(1, len(steps) // 4)]).mean()) / mean,
        slot_bubble=1 - sum(r.slot_s for r in played.rounds) / (played.slots * generation_s),
        instance_bubble=1 - sum(r.useful_s for r in played.rounds) / (played.generating * generation_s),
        tail_share=sum(r.tail_s for r in played.rounds) / sum(max(r.seconds, r.tail_s) for r in played.rounds),
    )
