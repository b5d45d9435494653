"""The elastic rule: it grows, shrinks, and never goes back and forth on constant input."""

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from makespan.schedulers.elastic import ElasticRule

rules = st.builds(
    ElasticRule,
    threshold=st.floats(0.5, 3),
    hysteresis=st.floats(0, 2),
    change_s=st.floats(0, 10),
    horizon=st.integers(1, 20),
    most=st.just(30),
)


@st.composite
def estimates(draw: st.DrawFn) -> Callable[[int], float]:
    seconds = sorted(draw(st.lists(st.floats(0.1, 100), min_size=32, max_size=32)), reverse=True)
    return lambda units: seconds[units]


@given(rule=rules, estimate=estimates(), training=st.floats(0.1, 100), start=st.integers(1, 30))
def test_on_constant_input_it_moves_one_way_and_then_stays(
    rule: ElasticRule, estimate: Callable[[int], float], training: float, start: int
) -> None:
    course = [start]
    for _ in range(40):
        course.append(rule.next_units(course[-1], estimate(course[-1]), training, estimate))
    steps = [b - a for a, b in itertools.pairwise(course)]
    assert set(steps) <= {0, 1} or set(steps) <= {0, -1}
    assert steps[-1] == 0
    assert all(a or not b for a, b in itertools.pairwise(steps)), "it went on after it had stopped"
    assert all(1 <= units <= 30 for units in course)


@given(estimate=estimates(), training=st.floats(0.1, 100), units=st.integers(1, 29), error=st.floats(0.1, 10))
def test_an_estimate_that_is_off_by_a_factor_decides_the_same(
    estimate: Callable[[int], float], training: float, units: int, error: float
) -> None:
    rule, seconds = ElasticRule(), estimate(units)
    exact = rule.next_units(units, seconds, training, lambda n: seconds * 2.0**-n)
    scaled = rule.next_units(units, seconds, training, lambda n: error * seconds * 2.0**-n)
    assert exact == scaled


def halved(units: int) -> float:
    return 120.0 / units


def test_a_unit_is_added_when_the_gap_exceeds_what_it_would_save() -> None:
    # On 4 units generation takes 30 s; a fifth saves 6 s.
    rule = ElasticRule()
    assert rule.next_units(4, 30.0, 23.0, halved) == 5
    assert rule.next_units(4, 30.0, 24.5, halved) == 4


def test_a_unit_is_given_back_only_with_hysteresis() -> None:
    # Without the fourth, generation would take 10 s longer.
    rule = ElasticRule(hysteresis=0.5)
    assert rule.next_units(4, 30.0, 44.0, halved) == 4
    assert rule.next_units(4, 30.0, 46.0, halved) == 3


def test_a_change_that_does_not_pay_is_not_made() -> None:
    assert ElasticRule(change_s=59, horizon=10).next_units(4, 30.0, 10.0, halved) == 5
    assert ElasticRule(change_s=61, horizon=10).next_units(4, 30.0, 10.0, halved) == 4


def test_the_limits_hold() -> None:
    assert ElasticRule(most=4).next_units(4, 30.0, 1.0, halved) == 4
    assert ElasticRule(least=4).next_units(4, 30.0, 1e6, halved) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"threshold": 0.4}, "must be at least 0.5, got 0.4"),
        ({"hysteresis": -1}, "hysteresis must be finite and not negative"),
        ({"change_s": float("nan")}, "change_s must be finite"),
        ({"horizon": 0}, "at least 1 iteration"),
        ({"least": 3, "most": 2}, "got at least 3"),
    ],
)
def test_impossible_rules_are_refused(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ElasticRule(**arguments)  # type: ignore[arg-type]


def test_stages_without_time_are_refused() -> None:
    with pytest.raises(ValueError, match="positive time"):
        ElasticRule().next_units(1, 0.0, 1.0, halved)
