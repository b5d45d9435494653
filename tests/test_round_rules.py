"""Each paper's rule on an example worked by hand, and parameters that are refused.

One instance of the clock: a step takes one second whatever runs, prompts are one token and prefilled with the first token
of the output, so a request of length L that starts at t ends at t + L, and the trainer takes no time worth telling.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_rounds import play_slowly
from round_cases import knows_all

from makespan.runtime.policy_answers import PolicyError
from makespan.runtime.prompt_stream import PromptStream
from makespan.runtime.round_record import Played
from makespan.runtime.rounds import RoundWorld, play
from makespan.schedulers.alternating_shares import AlternatingShares
from makespan.schedulers.backlog import Backlog, RoundPlan
from makespan.schedulers.estimates import Estimates
from makespan.schedulers.instances import Cluster, Instance
from makespan.schedulers.issues import FirstPrompts, FirstSamples
from makespan.schedulers.policy import Policy
from makespan.schedulers.requests import Requests
from makespan.schedulers.round_policy import RoundPolicy
from makespan.schedulers.round_rules import Exactly, GroupOfBatches, PartialRollout, TailBatching, TokenBudget
from makespan.schedulers.step_time import StepTime
from makespan.schedulers.streaming_rules import ConstantConcurrency, StalenessBounded
from makespan.schedulers.training_time import TrainingTime
from makespan.schedulers.view import View

TINY = 1e-9


def world(lengths: list[list[int]], prompts: int, responses: int, *, instances: int = 1, train_s: float = 0.0) -> RoundWorld:
    """Return a world of one-second steps with a slot for everyone; a step of training takes `train_s` on all instances."""
    instance = Instance(StepTime((1,), (1.0,)), 160_000, max_batch=64, max_batched_tokens=10_000)
    stream = PromptStream(np.ones(len(lengths), dtype=np.int64), np.array(lengths), 64, redraws=False)
    training = TrainingTime(TINY, step_s=train_s)
    return RoundWorld(stream, Cluster.uniform(instance, instances), training, prompts, responses)


def run(policy: RoundPolicy, where: RoundWorld) -> Played:
    return play(policy, where, knows_all)


def trained(played: Played) -> list[list[int]]:
    return [sorted(set(step.prompt.tolist())) for step in played.steps]


def seconds(played: Played) -> list[Any]:
    return [pytest.approx(r.seconds, abs=1e-3) for r in played.rounds]


def test_plain_training_waits_for_the_longest_of_every_step() -> None:
    played = run(RoundPolicy(Exactly()), world([[3], [9], [2], [4]], 2, 1))
    assert trained(played) == [[0, 1], [2, 3]]
    assert seconds(played) == [9, 4]
    assert played.seconds == pytest.approx(13, abs=1e-3)


def test_tail_batching_puts_off_who_is_late_and_gives_them_a_long_round() -> None:
    # 2 prompts of 2 responses are wanted: 3 of 3 are issued (1.25 rounds up). Prompt 1 is the straggler of the first round,
    # prompt 4 of the second; then two wait, and the third round is theirs alone.
    lengths = [[2, 3, 60], [50, 40, 2], [4, 4, 60], [1, 5, 5], [30, 30, 30], [2, 2, 2]]
    played = run(RoundPolicy(TailBatching()), world(lengths, 2, 2))
    assert trained(played) == [[0, 2], [3, 5], [1, 4]]
    # The first two finished responses are kept: 2 and 3, 4 and 4; then 1 and 5, 2 and 2; the long round waits for 50.
    assert [step.output_tokens.tolist() for step in played.steps] == [[2, 3, 4, 4], [1, 5, 2, 2], [40, 50, 30, 30]]
    assert seconds(played) == [4, 5, 50]
    # Thrown away in the first round: prompt 0's third (stopped at 3), prompt 2's third (at 4), prompt 1 (4 + 4 + 2).
    # In the second: prompt 3's third ran 5 with the others and had ended; prompt 5's third had ended with 2; prompt 4 3 x 5.
    assert played.wasted_tokens == (3 + 4 + 10) + (5 + 2 + 15)
    assert all(step.staleness.max() == 0 for step in played.steps)
    assert [step.waited.max() for step in played.steps] == [0, 0, 2]


def test_april_keeps_twice_as_many_open_and_goes_on_where_they_were() -> None:
    # One prompt is wanted, two are open. Prompt 0 (10) is overtaken by 1 (2), 2 (3) and 3 (4), and has only one token left
    # when the epoch has run out: 10 = 2 + 3 + 4 + 1.
    played = run(RoundPolicy(PartialRollout(2.0), keeps=True, staleness=None), world([[10], [2], [3], [4]], 1, 1))
    assert trained(played) == [[1], [2], [3], [0]]
    assert seconds(played) == [2, 3, 4, 1]
    assert played.wasted_tokens == 0
    # Its KV is computed again in every round: 2, then 5, then 9 tokens.
    assert [r.resumed_tokens for r in played.rounds] == [0, 2, 5, 9]
    assert played.steps[-1].staleness.tolist() == [3]
    assert played.steps[-1].tokens_by_lag == (1, 4, 3, 2)


def test_a_token_budget_cuts_every_sample_and_goes_on_in_the_next_round() -> None:
    # The budget is 16 of 64 tokens. Prompt 0 (40) needs three rounds; the others one.
    played = run(RoundPolicy(TokenBudget(0.25), keeps=True, staleness=None), world([[40], [5], [16], [6]], 1, 1))
    assert seconds(played) == [16, 16, 16, 6]
    assert trained(played) == [[1], [0], [2], [3]]
    assert played.steps[1].tokens_by_lag == (8, 32)


GROUP = [[2], [8], [2], [11]]


def test_sorted_rl_trains_on_whoever_has_finished_and_goes_on_with_the_rest() -> None:
    policy = RoundPolicy(GroupOfBatches(4), unit="sample", keeps=True, staleness=3)
    played = run(policy, world(GROUP, 1, 1))
    # Both short ones have ended at 2; the second needs no round of its own. Then 8 - 2, then 11 - 8.
    assert trained(played) == [[0], [2], [1], [3]]
    assert seconds(played) == [2, 6, 3]
    assert played.wasted_tokens == 0


def test_sorted_rl_on_policy_throws_away_what_was_not_trained_on() -> None:
    played = run(RoundPolicy(GroupOfBatches(4), unit="sample"), world(GROUP, 1, 1))
    # The second short one ends with the first but would be older than the weights after it: it starts again like the others.
    assert trained(played) == [[0], [2], [1], [3]]
    assert seconds(played) == [2, 2, 8, 11]
    assert played.wasted_tokens == (2 + 2 + 2) + (2 + 2) + 8


def test_sorted_rl_waits_for_the_last_of_a_group() -> None:
    policy = RoundPolicy(GroupOfBatches(2), keeps=True, unit="sample", staleness=1)
    played = run(policy, world([[2], [30], [1], [1]], 1, 1))
    assert trained(played) == [[0], [1], [2], [3]]
    assert seconds(played) == [2, 28, 1]


def test_areal_issues_no_more_than_eta_steps_ahead_and_stops_what_runs_for_new_weights() -> None:
    # Two instances, one of them trains. eta 1: two prompts may be open. Prompt 0 (3) ends at 3; training lasts to 12.5.
    # Prompt 1 (20) ends its step at 13 and goes on under version 1 beside prompt 2 (4), which ends at 17 and is trained on.
    policy = RoundPolicy(StalenessBounded(1), course="interrupt", keeps=True, trainer_share=0.5, staleness=None)
    where = world([[3], [20], [4], [5]], 1, 1, instances=2, train_s=9.5)
    played = run(policy, where)
    assert trained(played) == [[0], [2], [1], [3]]
    assert [pytest.approx(step.start_s, abs=1e-3) for step in played.steps] == [3, 17, 26.5, 36]
    assert played.steps[2].tokens_by_lag == (0, 7, 13)
    assert played.steps[2].staleness.tolist() == [2], "the rule counts prompts and does not bound the age of a long sample"


def test_in_the_order_of_issue_the_same_rule_bounds_the_age() -> None:
    policy = RoundPolicy(StalenessBounded(1), course="interrupt", keeps=True, in_order=True, trainer_share=0.5, staleness=1)
    played = run(policy, world([[3], [20], [4], [5]], 1, 1, instances=2, train_s=10.0))
    assert trained(played) == [[0], [1], [2], [3]]
    assert [pytest.approx(step.start_s, abs=1e-3) for step in played.steps] == [3, 20, 30, 40]
    assert max(step.staleness.max() for step in played.steps) == 1


def test_roll_flash_gives_up_what_has_become_too_old() -> None:
    policy = RoundPolicy(StalenessBounded(1, expires=True), course="interrupt", keeps=True, trainer_share=0.5, staleness=1)
    played = run(policy, world([[3], [60], [4], [5], [6]], 1, 1, instances=2, train_s=10.0))
    assert played.dropped == (1,)
    assert 1 not in {prompt for step in trained(played) for prompt in step}
    assert played.wasted_tokens > 0


def test_rhyme_rl_pairs_a_long_part_with_a_short_one() -> None:
    # Four samples of 1 and four of 40 a step, two instances generate and one trains. With the long ones of odd steps
    # where the short ones of even steps are, two steps take 41 s; in the same place 80.
    lengths = [[1], [1], [1], [1], [40], [40], [40], [40]] * 4
    shares = [Policy(placement=AlternatingShares(descending, steepness=40.0)) for descending in (False, True)]
    where = world(lengths, 8, 1, instances=3)
    one_step = RoundPolicy(Exactly(), course="handover", trainer_share=1 / 3, staleness=1)
    turning = run(replace(one_step, turns=tuple(shares)), where)
    fixed = run(replace(one_step, turns=(shares[0],)), where)
    assert fixed.seconds == pytest.approx(160, abs=1e-3)
    assert turning.seconds == pytest.approx(82, abs=1e-3)


def test_shares_rise_evenly_and_turn_round() -> None:
    requests = Requests.of(np.ones(12), np.full(12, 64))
    cluster = Cluster.uniform(Instance(StepTime((1,), (1.0,)), 1600), 2)
    view = View.at_start(cluster, requests, Estimates(np.array([1.0] * 6 + [3.0] * 6), "given"))
    up = AlternatingShares(steepness=3.0).place(view, np.arange(12))
    # 24 tokens: 6 for the short share, 18 for the long one.
    assert up.tolist() == [0] * 6 + [1] * 6
    assert AlternatingShares(descending=True, steepness=3.0).place(view, np.arange(12)).tolist() == [1] * 6 + [0] * 6


def test_laminar_lets_an_instance_that_has_drained_take_new_prompts_while_others_still_run() -> None:
    # Three instances, one trains, one slot each. The long first sample keeps one instance; the other one does the rest.
    where = world([[30], [4], [5], [6]], 1, 1, instances=3)
    one_slot = tuple(replace(instance, max_batch=1) for instance in where.cluster)
    policy = RoundPolicy(StalenessBounded(8), course="drain", trainer_share=1 / 3, staleness=None)
    played = run(policy, replace(where, cluster=Cluster(one_slot)))
    assert trained(played) == [[1], [2], [3], [0]]
    assert [pytest.approx(step.start_s, abs=1e-3) for step in played.steps] == [4, 9, 15, 30]
    assert played.steps[-1].staleness.tolist() == [3]


def test_a_constant_batch_is_refilled_whatever_the_version() -> None:
    policy = RoundPolicy(ConstantConcurrency(), course="interrupt", keeps=True, trainer_share=0.5, staleness=None)
    where = world([[9]] * 6, 1, 1, instances=2, train_s=1.0)
    one_slot = tuple(replace(instance, max_batch=2) for instance in where.cluster)
    played = run(policy, replace(where, cluster=Cluster(one_slot)))
    # Two slots, six samples of 9: three waves and nothing idles between them, though weights change in every one of them.
    # Synchronous training takes 6 x (9 + 1).
    assert len(played.steps) == 6
    assert 27 + 1 < played.seconds < 27 + 4


AGAINST: dict[str, tuple[list[float], Callable[[float], RoundPolicy]]] = {
    "exactly": ([1], lambda knob: RoundPolicy(Exactly())),
    "tail": ([1.0, 1.25, 2.0], lambda knob: RoundPolicy(TailBatching(knob, knob))),
    "april": ([1.0, 1.5, 2.0], lambda knob: RoundPolicy(PartialRollout(knob), keeps=True, staleness=None)),
    "kimi": ([0.1, 0.5, 1.0], lambda knob: RoundPolicy(TokenBudget(knob), keeps=True, staleness=None)),
    "sorted": ([1, 3], lambda knob: RoundPolicy(GroupOfBatches(int(knob)), unit="sample")),
    "sorted_partial": (
        [1, 3],
        lambda knob: RoundPolicy(GroupOfBatches(int(knob)), unit="sample", keeps=True, staleness=int(knob) - 1),
    ),
}


@pytest.mark.parametrize("rule", AGAINST)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_rule_plays_as_its_slow_plain_reference_does(rule: str, data: st.DataObject) -> None:
    prompts, responses = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    count, draws = data.draw(st.integers(1, 4 * prompts)), data.draw(st.integers(1, 4))
    column = st.lists(st.integers(1, 24), min_size=draws, max_size=draws)
    lengths = data.draw(st.lists(column, min_size=count, max_size=count))
    knobs, policy = AGAINST[rule]
    knob = data.draw(st.sampled_from(knobs))
    slow = play_slowly(rule, knob, lengths, prompts, responses, 64)
    played = run(policy(knob), world(lengths, prompts, responses))
    found = [sorted(zip(s.prompt.tolist(), s.output_tokens.tolist(), strict=True)) for s in played.steps]
    assert found == slow.steps
    assert slow.rounds == seconds(played)
    assert played.wasted_tokens == slow.wasted


ANYTHING: dict[str, Any] = {"course": {"course": "pipeline"}, "unit": {"unit": "token"}}
REFUSED: list[tuple[Callable[[], object], str]] = [
    (lambda: TailBatching(prompts_factor=0.9), "the over-issue of prompts must be at least 1 and finite, got 0.9"),
    (
        lambda: TailBatching(responses_factor=float("inf")),
        "the over-issue of responses must be at least 1 and finite, got inf",
    ),
    (lambda: PartialRollout(0.5), "the over-issue of prompts must be at least 1 and finite, got 0.5"),
    (lambda: PartialRollout(float("nan")), "must be at least 1 and finite, got nan"),
    (lambda: TokenBudget(0.0), "a token budget must be above 0 and at most the whole cap, got 0.0"),
    (lambda: GroupOfBatches(0), "a group must hold at least 1 batch, got 0"),
    (lambda: StalenessBounded(-1), "eta must be finite and not negative, got -1"),
    (lambda: ConstantConcurrency(0.5), "a reserve must be at least 1 step of samples and finite, got 0.5"),
    (lambda: AlternatingShares(steepness=0.0), "the steepness of shares must be positive and finite, got 0.0"),
    (lambda: FirstSamples(0), "a round must wait for at least 1 sample, got 0"),
    (lambda: FirstPrompts(0, 1), "a round must wait for at least 1 of prompts, got 0"),
    (lambda: FirstPrompts(1, 0), "a round must wait for at least 1 of responses, got 0"),
    (
        lambda: RoundPolicy(Exactly(), **ANYTHING["course"]),
        "a course must be barrier, interrupt, handover or drain, got 'pipeline'",
    ),
    (lambda: RoundPolicy(Exactly(), **ANYTHING["unit"]), "a unit must be prompt or sample, got 'token'"),
    (lambda: RoundPolicy(Exactly(), trainer_share=1.0), "from 0 to below 1, got 1.0"),
    (lambda: RoundPolicy(Exactly(), trainer_share=0.5), "got a share of 0.5 for course barrier"),
    (lambda: RoundPolicy(Exactly(), course="drain"), "got a share of 0.0 for course drain"),
    (lambda: RoundPolicy(Exactly(), staleness=-1), "a bound on staleness must not be negative, got -1"),
    (
        lambda: RoundPolicy(Exactly(), course="drain", trainer_share=0.5, unit="sample"),
        "must train on whole prompts as they finish",
    ),
    (lambda: world([[1]], 0, 1), "a training step must want at least 1 of prompts, got 0"),
    (lambda: replace(world([[1]], 1, 1), transfer_s=-1.0), "a transfer must not take negative time, got -1.0 s"),
    (lambda: world([[65]], 1, 1), "an output must not exceed its cap of 64 tokens, got 65"),
    (
        lambda: run(RoundPolicy(Exactly(), course="handover", trainer_share=0.5), world([[1]], 1, 1)),
        "must leave an instance to generation, got 1 of 1",
    ),
]


@pytest.mark.parametrize(("make", "message"), REFUSED, ids=lambda value: value if isinstance(value, str) else "")
def test_a_parameter_outside_its_range_is_refused_with_rule_and_value(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as refused:
        make()
    assert "\n" not in str(refused.value)


class Answers:
    """A rule that gives one answer to every question."""

    def __init__(self, plan: RoundPlan) -> None:
        self.plan = plan

    def next_round(self, backlog: Backlog) -> RoundPlan:
        return self.plan


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (RoundPlan(), "must go on, got one that stops with 0 samples open"),
        (RoundPlan(fresh=3, samples=1), "at most the 2 prompts that are left"),
        (RoundPlan(fresh=1, samples=0), "each at least 1 times, got 1 prompts 0 times"),
        (RoundPlan(np.array([0]), fresh=1, samples=1), "must go on with unfinished samples, each once, got rows [0]"),
        (RoundPlan(fresh=1, samples=1, budget=0), "a token budget must be at least 1, got 0"),
    ],
)
def test_a_rule_that_asks_for_what_cannot_be_done_is_one_error(plan: RoundPlan, message: str) -> None:
    with pytest.raises(PolicyError, match=re.escape(message)):
        run(RoundPolicy(Answers(plan)), world([[1], [2]], 1, 1))


def test_a_round_beside_training_must_not_stop_by_itself() -> None:
    policy = RoundPolicy(PartialRollout(), course="interrupt", trainer_share=0.5, staleness=None)
    with pytest.raises(PolicyError, match="must keep all its requests"):
        run(policy, world([[1], [2]], 1, 1, instances=2))
