"""One function for many items on the workers of Ray: long pieces of neighbours first, short ones at the end."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import groupby
from threading import Event, Lock
from time import monotonic
from typing import Any, TypeVar

import ray

from makespan.runtime.ray_session import ray_session

T = TypeVar("T")
R = TypeVar("R")
HAND_OVER_S = 0.5
"""A worker hands over what is done about so often: messages cost little, and a kill loses what has not been handed over."""


def side_by_side(
    work: Callable[[T], R],
    items: Sequence[T],
    alike: Callable[[T], Hashable],
    *,
    cores: int | None = None,
    address: str | None = None,
) -> Iterator[R]:
    """Yield what `work` makes of each item, in whatever order that is done.

    Parameters
    ----------
    work
        A function of a module that the workers can import.
    items
        What is to be done, the alike ones side by side.
    alike
        What items have in common for which a worker that has done one is quicker with the next.
    cores
        Processes side by side on a cluster of this machine's own; None for one per core.
    address
        Ray cluster to run on instead.

    Raises
    ------
    ValueError
        As `ray_session` does; and whatever `work` raises.
    """
    left, started, taking = list(items), Event(), Lock()
    with ThreadPoolExecutor(1) as beside, ExitStack() as session:
        # Ray takes seconds to start and one core is enough for that, so the other one begins with the end of the list.
        first = beside.submit(head_start, started, taking, work, left)
        try:
            session.enter_context(ray_session(address, cores=cores))
        finally:
            with taking:
                started.set()
        # Stubs say nothing of streams of results.
        stream: Any = ray.remote(num_cpus=1, num_returns="streaming")(_handed_over)
        workers = int(ray.cluster_resources().get("CPU", 1))  # type: ignore[no-untyped-call]
        streams = [stream.remote(work, piece) for piece in pieces(left, alike, workers)]
        yield from first.result()
        while streams:
            ready: Any = ray.wait(streams, num_returns=1)[0][0]
            try:
                yield from ray.get(next(ready))
            except StopIteration:
                streams.remove(ready)


def pieces(items: Sequence[T], alike: Callable[[T], Hashable], workers: int) -> list[list[T]]:
    """Cut `items` into pieces of neighbours that are alike, in the order in which workers take them.

    A piece is at most half a worker's share of what is left: guided self-scheduling (Polychronopoulos and Kuck, IEEE
    Transactions on Computers C-36, 1987), but with half of the share as in factoring (Hummel, Schonberg and Flynn,
    Communications of the ACM 35, 1992), since some items may take several times as long as others.
    """
    cut: list[list[T]] = []
    left = len(items)
    for _, group in groupby(items, alike):
        rest = list(group)
        while rest:
            size = -(-left // (2 * workers))
            cut.append(rest[:size])
            left -= len(cut[-1])
            rest = rest[size:]
    return cut


def _handed_over(work: Callable[[T], R], piece: Sequence[T]) -> Iterator[list[R]]:
    """Do a piece and yield, from time to time, what has been done since."""
    done: list[R] = []
    since = monotonic()
    for item in piece:
        done.append(work(item))
        if monotonic() - since >= HAND_OVER_S:
            yield done
            done, since = [], monotonic()
    if done:
        yield done


def head_start(started: Event, taking: Lock, work: Callable[[T], R], left: list[T]) -> list[R]:
    """Take items off the end of the list, and do them, until something else has started.

    None is taken once `started` has been set by whoever held `taking`.
    """
    done: list[R] = []
    while True:
        with taking:
            if started.is_set() or not left:
                return done
            item = left.pop()
        done.append(work(item))
