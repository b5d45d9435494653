"""Exchanges between instances: the plan gets no worse, what is on an instance stays, and the seed decides."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from makespan.schedulers.exchange_search import ExchangeSearch
from makespan.schedulers.instances import Cluster, Instance
from makespan.schedulers.requests import Requests
from makespan.schedulers.sources import oracle
from makespan.schedulers.stage_plan import StagePlan
from makespan.schedulers.step_time import StepTime
from makespan.schedulers.types import IntArray
from makespan.schedulers.view import View


def plan_of(outputs: IntArray, slots: tuple[int, ...], kv_tokens: int = 10**6) -> StagePlan:
    step = StepTime((1, 2, 8), (0.01, 0.012, 0.02), 1e-7, 1e-5)
    cluster = Cluster(tuple(Instance(step, kv_tokens, max_batch=b, sequence=i) for i, b in enumerate(slots)))
    requests = Requests.of(np.full(len(outputs), 3), np.full(len(outputs), 4096))
    return StagePlan.of(View.at_start(cluster, requests, oracle(outputs).estimate(requests)), np.arange(len(outputs)))


@given(
    outputs=st.lists(st.integers(1, 300), min_size=1, max_size=40),
    slots=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    seed=st.integers(0, 9),
    data=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_no_plan_gets_worse_and_what_is_on_an_instance_stays(
    outputs: list[int], slots: list[int], seed: int, data: st.DataObject
) -> None:
    plan = plan_of(np.array(outputs), tuple(slots))
    places = st.integers(0, len(slots) - 1)
    where = np.array(data.draw(st.lists(places, min_size=len(outputs), max_size=len(outputs))))
    held = np.array(data.draw(st.lists(st.booleans(), min_size=len(outputs), max_size=len(outputs))))
    plan = replace(plan, fixed=np.where(held, where, -1))
    found = ExchangeSearch(200, seed).improve(plan, where)
    assert plan.ends(found).max() <= plan.ends(where).max()
    assert (found[held] == where[held]).all()
    assert (found == ExchangeSearch(200, seed).improve(plan, where)).all()


def test_it_finds_the_split_that_first_fit_misses() -> None:
    # In one slot each, {3, 3} and {2, 2, 2} end together; longest first gives 7 and 5.
    plan = plan_of(np.array([30, 30, 20, 20, 20]), (1, 1))
    assert plan.ends(plan.least_end()).max() > 1.1 * plan.ends(np.array([0, 0, 1, 1, 1])).max()
    found = ExchangeSearch(200).improve(plan, plan.least_end())
    assert plan.ends(found).max() == pytest.approx(plan.ends(np.array([0, 0, 1, 1, 1])).max())


def test_it_stops_when_all_end_soon_enough() -> None:
    plan = plan_of(np.array([30, 30, 20, 20, 20]), (1, 1))
    start = plan.least_end()
    assert (ExchangeSearch(200).improve(plan, start, float(plan.ends(start).max())) == start).all()


def test_a_negative_number_of_tries_is_refused() -> None:
    with pytest.raises(ValueError, match="tries must not be negative, got -1"):
        ExchangeSearch(-1)
