"""One function for many items over Ray: each done once, in pieces of neighbours that shrink towards the end."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, pairwise
from math import factorial
from os import getpid
from threading import Event, Lock
from time import sleep
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ray import cloudpickle

from makespan.runtime.ray_session import ray_session
from makespan.runtime.side_by_side import head_start, next_piece, shared, side_by_side

# Workers do not have the folder of the tests on their path.
cloudpickle.register_pickle_by_value(sys.modules[__name__])  # type: ignore[no-untyped-call]

items = st.lists(st.integers(0, 4), max_size=200).map(lambda kinds: list(enumerate(sorted(kinds))))


def kind(item: tuple[int, int]) -> int:
    return item[1]


def pieces(given_items: Sequence[Any], alike: Callable[[Any], Any], processes: int) -> list[list[Any]]:
    """Cut off piece after piece."""
    left, cut = list(given_items), []
    while left:
        cut.append(next_piece(left, alike, processes))
        del left[: len(cut[-1])]
    return cut


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


@pytest.fixture
def one_worker() -> Iterator[None]:
    with ray_session(cores=1):
        yield


@pytest.mark.parametrize("here", [False, True])
def test_every_item_is_done_once(here: bool, one_worker: None) -> None:
    done = list(shared(factorial, list(range(200)), lambda number: number // 50, here=here))
    assert sorted(done) == [factorial(number) for number in range(200)]


def where(seconds: float) -> int:
    """Take some time and tell in which process."""
    sleep(seconds)
    return getpid()


def test_this_process_and_the_worker_share_what_there_is(one_worker: None) -> None:
    done = Counter(shared(where, [0.02] * 200, float, here=True))
    assert len(done) == 2
    assert done[getpid()] > 20


def test_what_a_worker_raises_is_raised_here(one_worker: None) -> None:
    with pytest.raises(ValueError, match="negative"):
        list(shared(factorial, [3, -1, 3], float, here=False))


def test_all_of_it_from_the_start_of_ray_to_its_end() -> None:
    done = list(side_by_side(factorial, range(200), lambda number: number // 50, cores=2))
    assert sorted(done) == [factorial(number) for number in range(200)]
