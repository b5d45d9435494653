"""Intervals that overlap: their union, and the most at once, against counting on a grid."""

from hypothesis import given
from hypothesis import strategies as st

from makespan.runtime.busy_time import busy_seconds, most_at_once

INTERVALS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)).map(lambda pair: (min(pair), max(pair))), max_size=12)


@given(INTERVALS)
def test_the_union_is_what_a_grid_counts(intervals: list[tuple[int, int]]) -> None:
    covered = {moment for begin, end in intervals for moment in range(begin, end)}
    assert busy_seconds(intervals) == len(covered)


@given(INTERVALS)
def test_the_most_at_once_is_what_a_grid_counts(intervals: list[tuple[int, int]]) -> None:
    long = [(begin, end) for begin, end in intervals if begin < end]
    assert most_at_once(long) == max((sum(b <= m < e for b, e in long) for m in range(30)), default=0)
