"""Sorting in what comes back gives the order that sorting everything gives."""

from dataclasses import dataclass

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from makespan.runtime.free_list import FreeList
from makespan.schedulers.estimates import Estimates
from makespan.schedulers.instances import Cluster, Instance
from makespan.schedulers.orders import LongestFirst
from makespan.schedulers.policy import Policy
from makespan.schedulers.requests import Requests
from makespan.schedulers.step_time import StepTime
from makespan.schedulers.types import FloatArray, IntArray
from makespan.schedulers.view import View

CLUSTER = Cluster.uniform(Instance(StepTime((1,), (0.01,)), 4096), 2)


@dataclass(frozen=True)
class AsksAnew:
    """The same order, without the promise that lets new requests be sorted in."""

    def keys(self, view: View, rows: IntArray) -> FloatArray:
        return LongestFirst().keys(view, rows)


@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_a_list_that_grows_and_shrinks_is_always_in_order(data: st.DataObject) -> None:
    lengths = data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=100))
    count = len(lengths)
    sequence = data.draw(st.permutations(range(count)))
    requests = Requests.of(np.ones(count), np.full(count, 64), sequence=sequence)
    view = View.at_start(CLUSTER, requests, Estimates(np.array(lengths, dtype=np.float64), "drawn"))
    lists = [(Policy(order=LongestFirst()), FreeList()), (Policy(order=AsksAnew()), FreeList())]
    outside = set(range(count))
    for _ in range(8):
        added = data.draw(st.lists(st.sampled_from(sorted(outside)), unique=True)) if outside else []
        outside -= set(added)
        orders = []
        for policy, waiting in lists:
            waiting.add(np.array(added, dtype=np.int64))
            orders.append(waiting.in_order(policy, view).tolist())
        assert orders[0] == orders[1]
        assert len(lists[0][1]) == len(orders[0])
        taken = data.draw(st.integers(0, len(orders[0])))
        held = np.array(data.draw(st.lists(st.booleans(), min_size=taken, max_size=taken)), dtype=np.bool_)
        gone = [waiting.take(taken, held).tolist() for _, waiting in lists]
        assert gone[0] == gone[1] == [row for row, stays in zip(orders[0], held, strict=False) if not stays]
        outside |= set(gone[0])
        dropped = data.draw(st.lists(st.integers(0, count - 1), max_size=2))
        for _, waiting in lists:
            waiting.drop(np.array(dropped, dtype=np.int64))
            if data.draw(st.booleans(), label="believe anew"):
                waiting.believe_anew()
