"""The simulated cluster gives exactly the times of one that makes every step, whatever a policy does to its requests."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_cluster import ReferenceCluster
from restless import Restless, RestlessOnTime
from strategies import Case, cases

from makespan.harness.laws import assert_laws
from makespan.harness.workload import Workload
from makespan.runtime.dispatcher import Dispatcher
from makespan.runtime.engine import Engine
from makespan.runtime.simulated_cluster import SimulatedCluster
from makespan.schedulers.bounds import lower_bound
from makespan.schedulers.policy import Policy
from makespan.schedulers.sources import none
from makespan.schedulers.step_time import PICOSECONDS

SHARES = st.sampled_from([0.0, 0.05, 0.4])


@st.composite
def restless(draw: st.DrawFn) -> Policy:
    seed, moving, holding, ending = draw(st.integers(0, 10**6)), draw(SHARES), draw(SHARES), draw(st.sampled_from([0, 0.01]))
    part = Restless(seed, moving, holding, ending)
    if draw(st.booleans()):
        part = RestlessOnTime(seed, moving, holding, ending, every_s=draw(st.sampled_from([0.003, 0.05, 1])))
    chunk = draw(st.none() | st.integers(1, 40))
    return Policy(placement=part, rebalance=part, issue=part, chunk_tokens=chunk)


def drive(engine: Engine, case: Case, policy: Policy) -> None:
    policy.placement.asked = 0  # type: ignore[attr-defined]
    Dispatcher(case.requests, engine, policy, none(case.requests)).run()


def assert_alike(engine: SimulatedCluster, reference: ReferenceCluster) -> None:
    timeline = engine.timeline()
    got = {
        "ended_ps": np.rint(timeline.ended * PICOSECONDS),
        "admitted_ps": np.where(np.isnan(timeline.admitted), -1, np.rint(timeline.admitted * PICOSECONDS)),
        "first_ps": np.where(np.isnan(timeline.first_token), -1, np.rint(timeline.first_token * PICOSECONDS)),
        "generated": timeline.generated,
        "preemptions": timeline.preemptions,
        "recomputed": timeline.recomputed,
        "moved": timeline.moved_tokens,
    }
    for name, column in got.items():
        np.testing.assert_array_equal(column, reference.column(name), err_msg=name)
    assert timeline.steps.tolist() == [place.steps for place in reference.places]
    np.testing.assert_array_equal(timeline.peak_blocks, [place.peak_blocks for place in reference.places])


@given(case=cases(arrivals=True, kv_travels=True, late_orders=True, agentic=True, shares=True), policy=restless())
@settings(max_examples=300, deadline=None)
def test_moves_holds_aborts_chunks_turns_and_travelling_kv_change_no_time(case: Case, policy: Policy) -> None:
    engine = SimulatedCluster(case.cluster, case.requests, case.output_tokens, turns=case.turns)
    reference = ReferenceCluster(case.cluster, case.requests, case.output_tokens, case.turns)
    drive(engine, case, policy)
    drive(reference, case, policy)
    assert_alike(engine, reference)
    finished = engine.timeline().finished
    done = np.flatnonzero(finished)
    bound = lower_bound(case.requests.take(done), case.output_tokens[done], case.cluster) if len(done) else 0.0
    assert_laws(Workload("drawn", case.requests, case.output_tokens, ""), case.cluster, engine.timeline(), bound)
