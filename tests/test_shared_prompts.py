"""Siblings that use one copy of their prompt."""

import numpy as np
import pytest

from makespan.runtime.engine import Timeline
from makespan.runtime.stage import simulate_stage
from makespan.schedulers.instances import Cluster, Instance
from makespan.schedulers.policy import Policy
from makespan.schedulers.requests import Requests
from makespan.schedulers.sources import none
from makespan.schedulers.step_time import StepTime


def siblings(shares: bool, *, groups: int = 1, blocks: int = 256) -> Timeline:
    """Return what happens to 4 requests with prompts of 100 tokens, the first half a second before the others."""
    instance = Instance(
        StepTime((1,), (0.01,), 0.0, 1e-3), 16 * blocks, max_batch=4, max_batched_tokens=4096, shares_prompts=shares
    )
    requests = Requests.of([100] * 4, [64] * 4, group=np.arange(4) % groups, arrival=[0, 0.5, 0.5, 0.5])
    cluster = Cluster.uniform(instance, 1)
    return simulate_stage(requests, np.full(4, 60), cluster, Policy(), none(requests)).timeline


def test_a_prompt_is_computed_and_held_once_while_siblings_run() -> None:
    apart, together = siblings(False), siblings(True)
    # 96 of 100 tokens are in whole blocks; the prompt of the first is computed in any case.
    assert apart.prefill_s - together.prefill_s == pytest.approx(3 * 96 * 1e-3)
    # Most are held when the first ends, 10 + 3 * 8, or when the others do, 6 + 3 * 4.
    assert apart.peak_blocks.tolist() == [34]
    assert together.peak_blocks.tolist() == [18]


def test_those_of_other_groups_share_nothing() -> None:
    apart, together = siblings(False, groups=4), siblings(True, groups=4)
    np.testing.assert_array_equal(apart.ended, together.ended)
    np.testing.assert_array_equal(apart.peak_blocks, together.peak_blocks)


def test_siblings_run_side_by_side_where_their_prompts_alone_would_not_fit() -> None:
    # A request takes up to 10 blocks, 6 of them for the prompt: 10 + 3 * 4 = 22.
    assert siblings(False, blocks=22).peak_batch.tolist() == [3]
    assert siblings(True, blocks=22).peak_batch.tolist() == [4]
    assert siblings(True, blocks=22).preemptions.sum() == 0
