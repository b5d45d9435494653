"""Agentic requests: turns, tool calls and what a policy sees of them; and what is refused."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from makespan.runtime.stage import simulate_stage
from makespan.schedulers.instances import Cluster, Instance
from makespan.schedulers.parts import Moves
from makespan.schedulers.placements import LeastInFlight
from makespan.schedulers.policy import Policy
from makespan.schedulers.requests import Requests
from makespan.schedulers.sources import none
from makespan.schedulers.step_time import StepTime
from makespan.schedulers.turns import Turns
from makespan.schedulers.view import AWAY, View

STEP_S = 0.01
CLUSTER = Cluster.uniform(Instance(StepTime((1,), (STEP_S,)), 4096, max_batch=1, max_batched_tokens=4096), 2)


def agent(prompts: int = 1) -> tuple[Requests, np.ndarray, Turns]:
    """Return requests of three turns: 5 tokens, 2 s, 7 tokens, 3 s, 4 tokens."""
    requests = Requests.of(np.full(prompts, 10), np.full(prompts, 64))
    turns = Turns.of(np.arange(0, 3 * prompts + 1, 3), [5, 7, 4] * prompts, [2.0, 3.0, 0.0] * prompts, [20, 30, 0] * prompts)
    return requests, np.full(prompts, 16), turns


@dataclass(frozen=True)
class Watches:
    """Notes what the view says of turns."""

    seen: list[tuple[int, int, int, int]] = field(default_factory=list)

    def move(self, view: View) -> Moves:
        state, where = int(view.state[0]), int(view.instance[0])
        self.seen.append((state, int(view.turns_done[0]), where, int(view.last_instance[0])))
        return Moves.none()


def test_a_request_takes_its_steps_and_its_gaps() -> None:
    requests, lengths, turns = agent()
    timeline = simulate_stage(requests, lengths, CLUSTER, Policy(), none(requests), turns=turns).timeline
    # A step of prefill yields a token, so that 16 tokens take 16 steps whatever the tools add.
    assert timeline.ended[0] == pytest.approx(16 * STEP_S + 5.0)
    assert timeline.generated.tolist() == [16]
    assert timeline.preemptions.tolist() == [0]


def test_the_slot_is_free_while_a_tool_works() -> None:
    requests, lengths, turns = agent(prompts=4)
    one = Cluster.uniform(CLUSTER.instances[0], 1)
    timeline = simulate_stage(requests, lengths, one, Policy(), none(requests), turns=turns).timeline
    assert timeline.peak_batch.tolist() == [1]
    assert timeline.ended.max() < 5.0 + 4 * 16 * STEP_S


def test_a_policy_sees_turns_and_the_last_instance_but_no_instance_while_a_tool_works() -> None:
    requests, lengths, turns = agent()
    watches = Watches()
    policy = Policy(placement=LeastInFlight(), rebalance=watches)
    simulate_stage(requests, lengths, CLUSTER, policy, none(requests), turns=turns)
    away = [seen for seen in watches.seen if seen[0] == AWAY]
    assert away == [(AWAY, 1, -1, 0), (AWAY, 2, -1, 0)]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (([0, 2], [3, 0], [0, 0], [0, 0]), "tokens of a turn must be at least 1, got 0 in row 1"),
        (([0, 2], [3, 4], [-1, 0], [0, 0]), "gap_s must be at least 0, got -1.0 in row 0"),
        (([0, 2], [3, 4], [1e9, 0], [0, 0]), "gap_s must be at most 1,000,000, got 1000000000.0"),
        (([0, 2], [3, 4], [1, 0], [-5, 0]), "added_tokens must be at least 0, got -5 in row 0"),
        (([0, 2], [3, 4], [1, 1], [0, 0]), "nothing must follow the last turn"),
        (([0, 2], [3, 4], [1, 0], [0, 9]), "nothing must follow the last turn"),
        (([0, 1], [3, 4], [1, 0], [0, 0]), r"first must go from 0 to the number of turns, 2, got \[0, 1\]"),
        (([0, 2, 2], [3, 4], [1, 0], [0, 0]), "a request must have at least 1 turn, got 0"),
        (([0, 2], [3, 4], [1], [0, 0]), "gap_s must have 2 rows, one for each turn, got 1"),
    ],
)
def test_impossible_turns_are_refused(columns: tuple[list[float], ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Turns.of(*columns)


def test_turns_that_do_not_add_up_to_the_output_are_refused() -> None:
    requests, lengths, turns = agent(2)
    with pytest.raises(ValueError, match="must add up to its 17 tokens, got 16 for request 1"):
        simulate_stage(requests, np.array([16, 17]), CLUSTER, Policy(), none(requests), turns=turns)
    with pytest.raises(ValueError, match="turns must be those of 1 requests, got 2"):
        simulate_stage(requests.take([0]), lengths[:1], CLUSTER, Policy(), none(requests.take([0])), turns=turns)


def test_a_request_that_its_tools_make_too_long_is_refused() -> None:
    requests, lengths, turns = agent()
    small = Cluster.uniform(Instance(StepTime((1,), (STEP_S,)), 64), 1)
    with pytest.raises(ValueError, match=r"\(64 tokens in whole blocks\), got 75 tokens for request 0"):
        simulate_stage(requests, lengths, small, Policy(), none(requests), turns=turns)
