"""The orders of published systems, each on a worked example of its rule."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from views import view_of

from makespan.schedulers.estimates import Finished
from makespan.schedulers.feedback_levels import FeedbackLevels
from makespan.schedulers.goodput_density import GoodputDensityFirst
from makespan.schedulers.job_average import JobAverage
from makespan.schedulers.orders import ByArrival, LongestCapFirst, LongestFirst, MostProgressFirst
from makespan.schedulers.parts import HOLD, Order
from makespan.schedulers.policy import Policy
from makespan.schedulers.probes_first import ProbesFirst
from makespan.schedulers.pull import Pull
from makespan.schedulers.requests import Requests
from makespan.schedulers.starvation_guard import StarvationGuard
from makespan.schedulers.view import FINISHED, OUTSIDE, RUNNING, View
from makespan.schedulers.whole_groups import DecodeHeavyGroupsFirst, WholeGroups


def ordered(order: Order, view: View) -> list[int]:
    return list(Policy(order=order).ordered(view, np.flatnonzero(view.state == OUTSIDE)))


def test_one_probe_of_every_group_goes_first_least_generated_ahead_then_the_longest_group() -> None:
    # Groups of three. The probe of group 0 has finished after 100 tokens, so its siblings are believed to take 100; the
    # probes of groups 1 and 2 have come back after two chunks and one; nothing is known of their groups but the cap.
    view = view_of(
        [100, 100, 100, 900, 900, 900, 900, 900, 900],
        cap=900,
        group=np.repeat([0, 1, 2], 3),
        state=[FINISHED] + [OUTSIDE] * 8,
        generated=[100, 0, 0, 64, 0, 0, 32, 0, 0],
    )
    assert ordered(ProbesFirst(), view) == [6, 3, 4, 5, 7, 8, 1, 2]


def test_seers_rest_is_longest_first_by_what_remains() -> None:
    view = view_of([50, 400, 400, 900], group=[0, 0, 0, 0], state=[FINISHED] + [OUTSIDE] * 3, generated=[50, 0, 390, 0])
    assert ordered(ProbesFirst(), view) == [3, 1, 2]


@given(seed=st.integers(0, 1000), count=st.integers(1, 4))
def test_probes_are_the_first_of_their_group_by_sequence(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    group, sequence = rng.integers(0, 5, 20), rng.permutation(20)
    requests = Requests.of(np.ones(20), np.full(20, 100), group=group, sequence=sequence)
    view = View.at_start(view_of([1]).cluster, requests, view_of(np.ones(20)).estimates)
    expected = {
        int(row)
        for g in set(group.tolist())
        for row in sorted(np.flatnonzero(group == g), key=lambda r: sequence[r])[:count]
    }
    rows = rng.permutation(20)[:11]
    found = ProbesFirst(count)._is_probe(view, rows)
    assert {int(r) for r, is_probe in zip(rows, found, strict=True) if is_probe} == expected & set(rows.tolist())


def test_levels_are_quanta_of_tokens_and_a_level_goes_by_arrival() -> None:
    view = view_of([1] * 6, generated=[399, 400, 0, 1199, 800, 2800], arrival=[3, 0, 5, 0, 1, 0], now=9)
    assert ordered(FeedbackLevels(400), view) == [0, 2, 1, 3, 4, 5]
    # With growth 2 levels end at 400, 1200 and 2800 tokens.
    levels = FeedbackLevels(400, growth=2)._level(np.array([0, 399, 400, 1199, 1200, 2799, 2800]))
    assert levels.tolist() == [0, 0, 1, 1, 2, 2, 3]


def test_density_is_the_gain_over_what_remains_and_takes_the_upper_quantile() -> None:
    view = view_of([100, 100, 50, 100], prompts=[10, 500, 10, 10], generated=[0, 0, 0, 90])
    # (10 + 800) / 100 = 8.1; (500 + 800) / 100 = 13; (10 + 400) / 50 = 8.2; (10 + 800) / 10 = 81.
    np.testing.assert_allclose(-GoodputDensityFirst().keys(view, np.arange(4)), [8.1, 13, 8.2, 81])
    assert ordered(GoodputDensityFirst(), view) == [3, 1, 2, 0]
    spread = view_of([100, 100], prompts=10, quantiles=np.array([[90, 110], [90, 400]]))
    np.testing.assert_allclose(-GoodputDensityFirst().keys(spread, np.arange(2)), [890 / 110, 3210 / 400])


def test_the_largest_cap_goes_first_and_equal_caps_go_by_arrival() -> None:
    assert ordered(LongestCapFirst(), view_of([5, 1, 9])) == [0, 1, 2]
    requests = Requests.of([1, 1, 1], [10, 30, 20])
    view = View.at_start(view_of([1]).cluster, requests, view_of([1] * 3).estimates)
    assert ordered(LongestCapFirst(), view) == [1, 2, 0]


def test_what_has_done_most_turns_goes_first_and_then_what_has_the_longest_cached_prefix() -> None:
    view = view_of([9] * 3, prompts=[90, 5, 50], generated=[10, 10, 10])
    assert ordered(MostProgressFirst(), replace(view, turns_done=np.array([0, 2, 2]))) == [2, 1, 0]


def test_what_has_the_longest_cached_prefix_goes_first() -> None:
    assert ordered(MostProgressFirst(), view_of([9] * 4, prompts=[90, 5, 50, 1], generated=[0, 10, 0, 30])) == [3, 1, 0, 2]


def test_groups_go_by_output_over_prompt_and_stay_together() -> None:
    # Ratios: (10 + 30) / 40 = 1, 60 / 20 = 3, (20 + 20) / 20 = 2.
    view = view_of([10, 30, 60, 20, 20], prompts=[20, 20, 20, 10, 10], group=[0, 0, 1, 2, 2])
    assert ordered(DecodeHeavyGroupsFirst(), view) == [2, 3, 4, 0, 1]


def test_a_group_goes_to_the_emptiest_instance_and_late_ones_follow() -> None:
    view = view_of([1] * 8, group=[0, 0, 0, 1, 2, 2, 3, 3])
    assert WholeGroups().place(view, np.arange(7)).tolist() == [0, 0, 0, 1, 1, 1, 0]
    state = [RUNNING] * 7 + [OUTSIDE]
    later = view_of([1] * 8, group=[0, 0, 0, 1, 2, 2, 3, 3], state=state, instance=[0, 0, 0, 1, 1, 1, 0, -1])
    assert WholeGroups().place(later, np.array([7])).tolist() == [0]


@given(seed=st.integers(0, 500))
def test_no_group_is_split(seed: int) -> None:
    rng = np.random.default_rng(seed)
    group, rows = rng.integers(0, 6, 30), rng.permutation(30)
    where = WholeGroups().place(view_of(np.ones(30), group=group), rows)
    for g in range(6):
        assert len(set(where[group[rows] == g])) <= 1


def test_a_request_that_has_waited_200_steps_goes_ahead_of_a_shorter_one() -> None:
    def placed(now: float) -> list[int]:
        view = view_of([9, 500], arrival=[2.5, 0], now=now)
        # Of two instances with 8 slots and a step of 0.01 s one slot is left.
        view = replace(view, in_flight=np.array([7, 8]))
        return list(StarvationGuard(idle_steps=200, inner=Pull()).place(view, np.array([0, 1])))

    assert placed(now=1.9) == [0]
    assert placed(now=3.0) == [HOLD, 0]
    assert placed(now=9.0) == [0], "where all have starved the order holds"


def test_a_jobs_average_starts_at_its_first_length_and_follows_the_next_by_a_tenth() -> None:
    requests = Requests.of(np.ones(16), np.full(16, 1000), group=[0] * 13 + [1] * 3)
    belief = JobAverage(requests)
    assert set(belief.estimate(requests).point) == {128}
    belief.observe(Finished(np.array([0]), np.array([500])))
    assert belief.estimate(requests).point[1] == 500
    before = belief.estimate(requests)
    assert belief.estimate(requests) is before
    belief.observe(Finished(np.array([2, 1]), np.array([100, 300])))
    # 0.9 * 500 + 0.1 * 300 = 480, then 0.9 * 480 + 0.1 * 100 = 442.
    assert belief.estimate(requests).point[5] == 442
    assert belief.estimate(requests).point[14] == 128
    for row in range(3, 13):
        belief.observe(Finished(np.array([row]), np.array([442])))
    settled = belief.estimate(requests).point[0]
    belief.observe(Finished(np.array([12]), np.array([1])))
    assert belief.estimate(requests).point[0] == settled, "an eleventh length is not taken note of"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ProbesFirst(0), "at least 1 probe, got 0"),
        (lambda: FeedbackLevels(0), "a quantum must be at least 1 token, got 0"),
        (lambda: FeedbackLevels(growth=0.5), "growth of quanta must lie between 1 and 1024, got 0.5"),
        (lambda: GoodputDensityFirst(-1), "weight of an output token must not be negative, got -1"),
        (lambda: StarvationGuard(0), "at least 1 idle step, got 0"),
        (lambda: JobAverage(Requests.of([1], [1]), weight=0), "must lie above 0 and not above 1, got 0"),
        (lambda: JobAverage(Requests.of([1], [1]), cold_tokens=0), "must be at least 1 token, got 0"),
        (lambda: JobAverage(Requests.of([1], [1]), samples=0), "must take note of at least 1 length, got 0"),
    ],
)
def test_parameters_outside_their_range_are_refused(make, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        make()


def test_probes_may_go_by_another_order() -> None:
    view = view_of([5, 9, 7, 8], group=[0, 0, 1, 1])
    assert ordered(ProbesFirst(probes=ByArrival(), others=LongestFirst()), view) == [0, 2, 1, 3]
