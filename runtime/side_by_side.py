"""One function for many items, in this process and on workers of Ray: long pieces of neighbours first, short ones last."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import takewhile
from threading import Event, Lock
from time import monotonic
from typing import Any, TypeVar

import ray

from makespan.runtime.engine_slots import cores as usable
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
        Processes side by side on this machine, this one included; None for one per core.
    address
        Ray cluster to run on instead, as many at once as it has cores.

    Raises
    ------
    ValueError
        As `ray_session` does; and whatever `work` raises.
    """
    here = address is None
    left, started, taking = list(items), Event(), Lock()
    with ThreadPoolExecutor(1) as beside, ExitStack() as session:
        # Ray takes seconds to start and one core is enough for that, so the other one begins with the end of the list.
        first = beside.submit(head_start, started, taking, work, left)
        try:
            session.enter_context(ray_session(address, cores=(cores or len(usable())) - 1 if here else None))
        finally:
            with taking:
                started.set()
        yield from first.result()
        yield from shared(work, left, alike, here=here)


def shared(work: Callable[[T], R], left: list[T], alike: Callable[[T], Hashable], *, here: bool) -> Iterator[R]:
    """Have Ray's workers do what is left from the front on, and this process, if it is `here`, from the end."""
    workers = int(ray.cluster_resources().get("CPU", 0 if here else 1))  # type: ignore[no-untyped-call]
    # Stubs say nothing of streams of results.
    stream: Any = ray.remote(num_cpus=1, num_returns="streaming")(_handed_over)
    streams: list[Any] = []
    while left or streams:
        # One piece waits behind the one that a worker does, for this process may be busy when that ends.
        while left and len(streams) < 2 * workers:
            piece = next_piece(left, alike, workers + here)
            del left[: len(piece)]
            streams.append(stream.remote(work, piece))
        own = here and bool(left)
        if own:
            yield work(left.pop())
        ready: list[Any] = ray.wait(streams, num_returns=1, timeout=0 if own else None)[0] if streams else []
        for one in ready:
            try:
                yield from ray.get(next(one))
            except StopIteration:
                streams.remove(one)


def next_piece(left: Sequence[T], alike: Callable[[T], Hashable], processes: int) -> list[T]:
    """Return what to do next of what is left: neighbours that are alike, at most half of a process's share.

    This is guided self-scheduling (Polychronopoulos and Kuck, IEEE Transactions on Computers C-36, 1987), but with half of
    the share as in factoring (Hummel, Schonberg and Flynn, Communications of the ACM 35, 1992), since some items may take
    several times as long as others.
    """
    size = -(-len(left) // (2 * processes))
    return list(takewhile(lambda item: alike(item) == alike(left[0]), left[:size]))


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
