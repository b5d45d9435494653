"""Placements that settle at once on which instance a request runs (push)."""

from dataclasses import dataclass
from heapq import heapify, heapreplace
from typing import ClassVar

import numpy as np

from makespan.schedulers.draws import uniform
from makespan.schedulers.types import IntArray
from makespan.schedulers.view import NOWHERE, View


@dataclass(frozen=True, slots=True)
class RoundRobin:
    """Request k of the stage goes to instance k modulo N (verl's and NeMo-RL's default)."""

    places_at_once: ClassVar[bool] = True

    def place(self, view: View, rows: IntArray) -> IntArray:
        """Return the instances in turn."""
        return view.cluster.by_sequence[view.requests.sequence[rows] % len(view.cluster)]


@dataclass(frozen=True, slots=True)
class GroupsInTurn:
    """All requests of a prompt go to one instance, prompts in turn (verl's split of a batch over engines)."""

    places_at_once: ClassVar[bool] = True

    def place(self, view: View, rows: IntArray) -> IntArray:
        """Return the instances by the rank of each group among all, which goes by its first sequence number."""
        groups, position = np.unique(view.requests.group, return_inverse=True)
        first = np.full(len(groups), np.iinfo(np.int64).max)
        np.minimum.at(first, position, view.requests.sequence)
        rank = np.empty(len(groups), dtype=np.int64)
        rank[np.argsort(first)] = np.arange(len(groups))
        return view.cluster.by_sequence[rank[position[rows]] % len(view.cluster)]


@dataclass(frozen=True, slots=True)
class AnyInstance:
    """A random instance, drawn once per request."""

    seed: int = 0
    places_at_once: ClassVar[bool] = True

    def place(self, view: View, rows: IntArray) -> IntArray:
        """Return uniform draws."""
        draws = uniform(self.seed, view.requests.sequence[rows], stream=12)
        return view.cluster.by_sequence[(draws * len(view.cluster)).astype(np.int64)]


@dataclass(frozen=True, slots=True)
class LeastInFlight:
    """The instance with the fewest requests in flight (verl's load balancer, vLLM's data-parallel one)."""

    places_at_once: ClassVar[bool] = True

    def place(self, view: View, rows: IntArray) -> IntArray:
        """Return what asking one request after the other would give, computed at once.

        The k-th request takes the k-th smallest pair (requests in flight, instance) that has not been taken.
        """
        load = view.in_flight[view.cluster.by_sequence]
        if len(rows) == 1:
            return view.cluster.by_sequence[[load.argmin()]]
        level = _water_level(load, len(rows))
        room = np.maximum(level + 1 - load, 0)
        turn = np.repeat(np.arange(len(load)), room)
        height = np.arange(len(turn)) - np.repeat(np.cumsum(room) - room, room) + np.repeat(load, room)
        filled = turn[np.lexsort((turn, height))[: len(rows)]]
        chosen: IntArray = view.cluster.by_sequence[filled]
        return chosen


@dataclass(frozen=True, slots=True)
class PowerOfTwo:
    """Of two random instances the one with fewer requests in flight (Mitzenmacher 2001; Ray Serve's default)."""

    seed: int = 0
    places_at_once: ClassVar[bool] = True

    def place(self, view: View, rows: IntArray) -> IntArray:
        """Return one choice after the other."""
        count = len(view.cluster)
        sequence = view.requests.sequence[rows]
        first = (uniform(self.seed, sequence, stream=13) * count).astype(np.int64)
        second = (uniform(self.seed, sequence, stream=14) * max(count - 1, 1)).astype(np.int64)
        second = np.where(count > 1, second + (second >= first), first)
        load = view.in_flight[view.cluster.by_sequence].tolist()
        chosen = []
        for a, b in zip(first.tolist(), second.tolist(), strict=True):
            best = a if load[a] <= load[b] else b
            load[best] += 1
            chosen.append(best)
        return view.cluster.by_sequence[np.array(chosen, dtype=np.int64)]


@dataclass(frozen=True, slots=True)
class LeastTokens:
    """The instance with the fewest tokens outstanding: prompts, and what is believed to remain of the outputs.

    With rows in order of decreasing length this is Graham's LPT list scheduling (SIAM J. Appl. Math. 1969).
    """

    places_at_once: ClassVar[bool] = True

    def place(self, view: View, rows: IntArray) -> IntArray:
        """Return one choice after the other.

        Loads are whole tokens. A heap entry is ``load * N + turn``, so that ties go to the smaller turn and adding
        tokens is one multiplication.
        """
        tokens = np.rint(view.estimates.point + view.requests.prompt_tokens).astype(np.int64)
        count = len(view.cluster)
        running = np.flatnonzero((view.instance != NOWHERE) & ~view.ended)
        load = np.zeros(count, dtype=np.int64)
        np.add.at(load, view.instance[running], np.maximum(tokens[running] - view.generated[running], 0))
        heap = (load[view.cluster.by_sequence] * count + np.arange(count)).tolist()
        heapify(heap)
        chosen = []
        for added in (tokens[rows] * count).tolist():
            top = heap[0]
            chosen.append(top)
            heapreplace(heap, top + added)
        return view.cluster.by_sequence[np.array(chosen, dtype=np.int64) % count]


def _water_level(load: IntArray, poured: int) -> int:
    """Return the height that `poured` units reach when they fill the lowest columns of `load` first."""
    ascending = np.sort(load)
    counts = np.arange(1, len(load) + 1)
    # Pouring enough to bring the k lowest columns to the height of the k-th costs this much.
    cost = ascending * counts - np.cumsum(ascending)
    k = int(np.searchsorted(cost, poured, side="left"))
    k = max(k, 1)
    return int(-(-(poured + int(ascending[:k].sum())) // k))
