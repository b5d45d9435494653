"""One function for many items over Ray: each done once, in pieces of neighbours that shrink towards the end."""

from itertools import chain, pairwise
from math import factorial
from threading import Event, Lock
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from makespan.runtime import side_by_side as side_by_side_module
from makespan.runtime.side_by_side import head_start, pieces, side_by_side

items = st.lists(st.integers(0, 4), max_size=200).map(lambda kinds: list(enumerate(sorted(kinds))))


def nobody_before(*_: Any) -> list[Any]:
    """Leave everything to the workers, as if Ray started at once."""
    return []


def kind(item: tuple[int, int]) -> int:
    return item[1]


@settings(deadline=None, derandomize=True)
@given(items, st.integers(1, 8))
def test_pieces_hold_every_item_once_and_in_order(given_items: list[tuple[int, int]], workers: int) -> None:
    cut = pieces(given_items, kind, workers)
    assert list(chain.from_iterable(cut)) == given_items
    assert all(len({kind(item) for item in piece}) == 1 for piece in cut)


@settings(deadline=None, derandomize=True)
@given(items, st.integers(1, 8))
def test_a_piece_is_at_most_half_a_workers_share_of_what_is_left(given_items: list[tuple[int, int]], workers: int) -> None:
    left = len(given_items)
    for piece in pieces(given_items, kind, workers):
        assert len(piece) <= -(-left // (2 * workers))
        left -= len(piece)


@settings(deadline=None, derandomize=True)
@given(st.integers(1, 300), st.integers(1, 8))
def test_pieces_of_alike_items_never_grow_and_end_with_single_ones(count: int, workers: int) -> None:
    cut = pieces(range(count), lambda _: None, workers)
    assert all(len(one) >= len(next_one) for one, next_one in pairwise(cut))
    assert len(cut[-1]) == 1


def test_until_ray_has_started_items_are_taken_off_the_end() -> None:
    left, started = list(range(9)), Event()

    def work(number: int) -> int:
        if number == 5:
            started.set()
        return number

    assert head_start(started, Lock(), work, left) == [8, 7, 6, 5]
    assert left == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("alone", [False, True])
def test_every_item_is_done_once(alone: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if alone:
        monkeypatch.setattr(side_by_side_module, "head_start", nobody_before)
    done = list(side_by_side(factorial, range(200), lambda number: number // 50, cores=2))
    assert sorted(done) == [factorial(number) for number in range(200)]


def test_what_a_worker_raises_is_raised_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(side_by_side_module, "head_start", nobody_before)
    with pytest.raises(ValueError, match="negative"):
        list(side_by_side(factorial, [3, -1, 3], lambda number: number, cores=1))
