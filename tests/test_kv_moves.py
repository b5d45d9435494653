"""KV that goes along with a request: what it costs, what it saves, and what is refused."""

import numpy as np
import pytest

from makespan.runtime.engine import Timeline
from makespan.runtime.simulated_cluster import SimulatedCluster
from makespan.schedulers.instances import Cluster, Instance
from makespan.schedulers.kv_moves import KvMoves
from makespan.schedulers.policy import Policy
from makespan.schedulers.requests import Requests
from makespan.schedulers.step_time import StepTime

STEP_S = 0.01
INSTANCE = Instance(StepTime((1,), (STEP_S,), 0.0, 1e-3), 4096, max_batch=4, max_batched_tokens=4096)


def moved_after(moves: KvMoves | None, *, steps: int = 10, moved: int = 1, keeps_kv: bool = False, to: int = 1) -> Timeline:
    """Return what happens when requests of 100 tokens of prompt and 50 of output are moved after some steps."""
    requests = Requests.of([100] * moved, [64] * moved)
    instance = Instance(INSTANCE.step_time, 4096, 4, 4096, keeps_kv=keeps_kv)
    engine = SimulatedCluster(Cluster.uniform(instance, 2, kv_moves=moves), requests, np.full(moved, 50))
    rows = np.arange(moved)
    engine.start(rows, np.zeros(moved, dtype=np.int64), np.zeros(moved), np.full(moved, steps))
    while (engine.generated < steps).any():
        engine.wait(float("inf"))
    engine.start(rows, np.full(moved, to), np.zeros(moved))
    while (engine.generated < 50).any():
        engine.wait(float("inf"))
    return engine.timeline()


def test_kv_that_travels_is_not_computed_again_and_comes_after_latency_and_transfer() -> None:
    computed_again = moved_after(None)
    # The last token generated has no KV yet.
    assert computed_again.recomputed.tolist() == [109]
    assert computed_again.moved_tokens.tolist() == [0]
    travels = moved_after(KvMoves(1000, 1e6, 0.25))
    assert travels.recomputed.tolist() == [0]
    assert travels.moved_tokens.tolist() == [109]
    # 50 steps, the prefill, the latency, and 109 tokens at 1,000 a second.
    assert travels.ended[0] == pytest.approx(50 * STEP_S + 0.1 + 0.25 + 0.109)


def test_transfers_into_one_instance_follow_one_another() -> None:
    timeline = moved_after(KvMoves(1000, 1e6, 0.25), moved=2)
    assert np.diff(timeline.ended)[0] == pytest.approx(0.109, abs=STEP_S)
    assert timeline.moved_tokens.tolist() == [109, 109]


def test_an_instance_that_still_has_the_kv_need_not_fetch_it() -> None:
    back = moved_after(KvMoves(1000, 1e6, 0.25), keeps_kv=True, to=0)
    assert back.moved_tokens.tolist() == [0]
    # Whole blocks are found, the rest of the last one is computed again.
    assert back.recomputed.tolist() == [109 % 16]
    assert moved_after(KvMoves(1000, 1e6, 0.25), keeps_kv=False, to=0).moved_tokens.tolist() == [109]


def test_only_and_uniform_keep_how_kv_moves() -> None:
    moves = KvMoves(1000, 1e6)
    cluster = Cluster.uniform(INSTANCE, 3, kv_moves=moves)
    assert cluster.kv_moves == moves
    assert cluster.only(np.array([2, 0])).kv_moves == moves


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ((0, 1e9), "bytes_per_token must be at least 1 and finite, got 0"),
        ((1000, 0), "bytes_per_second must be positive and finite, got 0"),
        ((1000, -1e9), "bytes_per_second must be positive and finite, got -1000000000.0"),
        ((1000, float("nan")), "bytes_per_second must be positive and finite, got nan"),
        ((1000, 10), "must bring a token of 1000 bytes within a second, got 10"),
        ((1000, 1e9, -1), "latency_s must be between 0 and 3,600, got -1"),
        ((1000, 1e9, float("inf")), "latency_s must be between 0 and 3,600, got inf"),
    ],
)
def test_impossible_moves_are_refused(columns: tuple[float, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        KvMoves(*columns)


@pytest.mark.parametrize("tokens", [0, -3])
def test_chunks_of_no_token_are_refused(tokens: int) -> None:
    with pytest.raises(ValueError, match=f"chunk_tokens must be at least 1, got {tokens}"):
        Policy(chunk_tokens=tokens)
