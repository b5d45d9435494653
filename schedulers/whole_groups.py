"""Groups that stay together: all requests of a prompt on one instance, and next to each other in the queue."""

from dataclasses import dataclass
from heapq import heapify, heapreplace
from typing import ClassVar

import numpy as np

from makespan.schedulers.types import FloatArray, IntArray
from makespan.schedulers.view import NOWHERE, View


@dataclass(frozen=True, slots=True)
class WholeGroups:
    """The group of the first request in order goes to the instance with the fewest requests in flight, then the next.

    Requests of a group that is already somewhere follow it.
    """

    places_at_once: ClassVar[bool] = True

    def place(self, view: View, rows: IntArray) -> IntArray:
        """Return one choice after the other, a group at a time."""
        order = view.cluster.by_sequence
        _, group = np.unique(view.requests.group, return_inverse=True)
        home = np.full(int(group.max()) + 1, NOWHERE, dtype=np.int64)
        settled = np.flatnonzero(view.instance != NOWHERE)
        # Of several homes, as after the loss of one, the one of the request with the smallest sequence number counts.
        settled = settled[np.argsort(-view.requests.sequence[settled])]
        home[group[settled]] = view.instance[settled]
        size = np.bincount(group[rows], minlength=len(home))
        following = size.copy()
        following[home == NOWHERE] = 0
        load = view.in_flight + np.bincount(home[following > 0], following[following > 0], len(order)).astype(np.int64)
        heap = list(zip(load[order].tolist(), range(len(order)), strict=True))
        heapify(heap)
        new, first = np.unique(group[rows], return_index=True)
        for g in new[np.argsort(first)]:
            if home[g] == NOWHERE:
                requests, turn = heap[0]
                home[g] = order[turn]
                heapreplace(heap, (requests + int(size[g]), turn))
        placed: IntArray = home[group[rows]]
        return placed


@dataclass(frozen=True, slots=True)
class DecodeHeavyGroupsFirst:
    """Groups by believed output over prompt tokens, highest first, so that decoding fills steps that prefill the next.

    BatchLLM (arXiv 2412.03594), whose prefix groups are the prompts here; its tree over prefixes that several prompts
    share is left out, for the columns do not tell what prompts share.
    """

    def keys(self, view: View, rows: IntArray) -> FloatArray:
        """Return minus the ratio of the group, over those of its requests that have arrived."""
        group, sequence = view.requests.group, view.requests.sequence
        groups, place = np.unique(group[rows], return_inverse=True)
        members = np.flatnonzero(view.arrived & np.isin(group, groups))
        # Summed in the order of the counters, so that rounding does not depend on labels.
        members = members[np.argsort(sequence[members])]
        position = np.searchsorted(groups, group[members])
        output = np.bincount(position, view.estimates.point[members], len(groups))
        prompt = np.bincount(position, view.requests.prompt_tokens[members], len(groups))
        ratio: FloatArray = output / prompt
        return -ratio[place]
