"""How long something was under way and how much of it at once, from intervals that overlap."""

from collections.abc import Iterable


def busy_seconds(intervals: Iterable[tuple[float, float]]) -> float:
    """Return the length of the union of intervals."""
    total, reached = 0.0, float("-inf")
    for begin, end in sorted(intervals):
        total += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return total


def most_at_once(intervals: Iterable[tuple[float, float]]) -> int:
    """Return the largest number of intervals that overlap; one that ends where another begins does not."""
    most = open_now = 0
    for _, change in sorted(edge for begin, end in intervals for edge in ((begin, 1), (end, -1))):
        open_now += change
        most = max(most, open_now)
    return most
