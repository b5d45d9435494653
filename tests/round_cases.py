"""Small worlds for round policies: few prompts, tight batches, lengths that tie."""

import numpy as np
from hypothesis import strategies as st
from strategies import step_times

from makespan.runtime.prompt_stream import PromptStream
from makespan.runtime.rounds import RoundWorld
from makespan.schedulers.estimates import Information
from makespan.schedulers.instances import Cluster, Instance
from makespan.schedulers.requests import Requests
from makespan.schedulers.sources import oracle
from makespan.schedulers.step_time import StepTime
from makespan.schedulers.training_time import TrainingTime
from makespan.schedulers.types import IntArray

CAP = 64


def knows_all(requests: Requests, output_tokens: IntArray) -> Information:
    return oracle(output_tokens)


@st.composite
def worlds(draw: st.DrawFn) -> RoundWorld:
    prompts, responses = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    count, draws = draw(st.integers(1, 4 * prompts)), draw(st.integers(1, 5))
    length = st.integers(1, CAP) | st.sampled_from([1, 8, 16, CAP])
    lengths = draw(st.lists(length, min_size=count * draws, max_size=count * draws))
    instance = Instance(
        step_time=draw(step_times()),
        kv_capacity_tokens=16 * draw(st.integers(6, 20)),
        max_batch=draw(st.integers(1, 6)),
        max_batched_tokens=draw(st.integers(6, 60)),
        async_scheduling=draw(st.booleans()),
        keeps_kv=draw(st.booleans()),
    )
    return RoundWorld(
        PromptStream(np.full(count, draw(st.integers(1, 30))), np.array(lengths).reshape(count, draws), CAP),
        Cluster.uniform(instance, draw(st.integers(2, 4))),
        TrainingTime(token_s=draw(st.sampled_from([1e-6, 1e-3, 0.05])), step_s=draw(st.sampled_from([0.0, 0.3]))),
        prompts,
        responses,
        transfer_s=draw(st.sampled_from([0.0, 0.2])),
    )


def plain_world(prompts: int = 4, responses: int = 2, count: int = 24, seed: int = 3) -> RoundWorld:
    lengths = np.minimum(np.exp(np.random.default_rng(seed).normal(2.5, 1, (count, 8))).astype(int) + 1, CAP)
    instance = Instance(StepTime((1, 8), (0.01, 0.02), 1e-7, 1e-6), 400_000, max_batch=4)
    stream = PromptStream(np.full(count, 10), lengths, CAP, previous=lengths.mean(axis=1))
    return RoundWorld(stream, Cluster.uniform(instance, 3), TrainingTime(1e-3), prompts, responses)
