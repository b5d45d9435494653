"""The laws with chunks, preemption by the policy, moves, travelling KV, tool calls and shared prompts."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import Case, cases
from test_elastic_cluster import changed

from makespan.harness.laws import assert_laws
from makespan.harness.workload import Workload
from makespan.runtime.elastic_cluster import Change
from makespan.runtime.engine import Timeline
from makespan.runtime.stage import simulate_stage
from makespan.schedulers.bounds import lower_bound
from makespan.schedulers.draws import uniform
from makespan.schedulers.orders import FewestGeneratedFirst, LongestFirst
from makespan.schedulers.parts import HOLD, Moves
from makespan.schedulers.placements import LeastInFlight, LeastTokens
from makespan.schedulers.policy import Policy
from makespan.schedulers.pull import Pull
from makespan.schedulers.sources import none, oracle
from makespan.schedulers.turns import Turns
from makespan.schedulers.types import IntArray
from makespan.schedulers.view import RUNNING, View


@dataclass(frozen=True)
class Shuffle:
    """Moves some running requests to the next instance and takes others back; chosen by sequence and time."""

    share: float

    def move(self, view: View) -> Moves:
        rows = np.flatnonzero(view.state == RUNNING)
        rows = rows[np.argsort(view.requests.sequence[rows])]
        draws = uniform(int(view.now * 1e6), view.requests.sequence[rows], stream=3)
        rows, draws = rows[draws < self.share], draws[draws < self.share]
        turn = np.argsort(view.cluster.by_sequence)[view.instance[rows]]
        target = view.cluster.by_sequence[(turn + 1) % len(view.cluster)]
        return Moves(rows, np.where(draws < self.share / 2, HOLD, target))


POLICIES = {
    "chunks": Policy(order=LongestFirst(), placement=Pull(), chunk_tokens=5),
    "chunks in queues": Policy(order=FewestGeneratedFirst(), placement=LeastInFlight(), chunk_tokens=11),
    "moves": Policy(order=LongestFirst(), placement=LeastTokens(), rebalance=Shuffle(0.1)),
    "chunks and moves": Policy(order=LongestFirst(), placement=Pull(), rebalance=Shuffle(0.1), chunk_tokens=7),
}
everything = cases(arrivals=True, kv_travels=True, late_orders=True, agentic=True, shares=True)
few = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


def run(case: Case, policy: Policy) -> Timeline:
    information = oracle(case.output_tokens)
    return simulate_stage(case.requests, case.output_tokens, case.cluster, policy, information, turns=case.turns).timeline


@pytest.mark.parametrize("name", POLICIES)
@given(case=everything)
@few
def test_l1_l2_l3_l4(name: str, case: Case) -> None:
    timeline = run(case, POLICIES[name])
    bound = lower_bound(case.requests, case.output_tokens, case.cluster)
    assert_laws(Workload("drawn", case.requests, case.output_tokens, ""), case.cluster, timeline, bound)
    assert timeline.finished.all()
    if case.cluster.kv_moves is None:
        assert not timeline.moved_tokens.any()


@pytest.mark.parametrize("name", POLICIES)
@given(drawn=changed())
@few
def test_l11_losing_and_adding_instances_keeps_them(name: str, drawn: tuple[Case, list[Change]]) -> None:
    case, changes = drawn
    run = simulate_stage(
        case.requests, case.output_tokens, case.cluster, POLICIES[name], none(case.requests), changes, case.turns
    )
    assert run.timeline.finished.all()
    assert_laws(Workload("drawn", case.requests, case.output_tokens, ""), case.cluster, run.timeline, 0.0)


def taken(turns: Turns | None, rows: IntArray) -> Turns | None:
    """Return the turns of these requests, in this order."""
    if turns is None:
        return None
    spans = [np.arange(turns.first[row], turns.first[row + 1]) for row in rows]
    index = np.concatenate(spans)
    first = np.concatenate([[0], np.cumsum([len(span) for span in spans])])
    return Turns.of(first, turns.tokens[index], turns.gap_s[index], turns.added_tokens[index])


@pytest.mark.parametrize("name", POLICIES)
@given(data=st.data())
@few
def test_l7_relabelling_changes_nothing_else(name: str, data: st.DataObject) -> None:
    case = data.draw(everything)
    rows = np.array(data.draw(st.permutations(range(len(case.requests)))))
    places = np.array(data.draw(st.permutations(range(len(case.cluster)))))
    relabelled = Case(case.requests.take(rows), case.output_tokens[rows], case.cluster.only(places), taken(case.turns, rows))
    before, after = run(case, POLICIES[name]), run(relabelled, POLICIES[name])
    np.testing.assert_array_equal(after.ended, before.ended[rows])
    np.testing.assert_array_equal(after.moved_tokens, before.moved_tokens[rows])
    np.testing.assert_array_equal(places[after.instance], before.instance[rows])


@dataclass(frozen=True)
class Notes:
    """A placement that notes what it was asked and what it answered."""

    inner: Pull
    seen: list[tuple[float, list[int], list[int]]]

    def place(self, view: View, rows: IntArray) -> IntArray:
        where = self.inner.place(view, rows)
        self.seen.append((view.now, rows.tolist(), where.tolist()))
        return where


@given(
    case=cases(arrivals=True, kv_travels=True, late_orders=True, shares=True),
    extra=st.lists(st.integers(0, 30), min_size=24, max_size=24),
)
@few
def test_l9_decisions_do_not_depend_on_lengths_that_nobody_has_seen(case: Case, extra: list[int]) -> None:
    longer = np.minimum(case.output_tokens + np.array(extra[: len(case.requests)]), 64)
    fits = int((case.requests.prompt_tokens + longer).max()) <= int(case.cluster.kv_blocks.min()) * 16
    longer = longer if fits else case.output_tokens
    seen, news = [], []
    changed = longer != case.output_tokens
    for lengths in (case.output_tokens, longer):
        notes = Notes(Pull(), [])
        policy = Policy(placement=notes, rebalance=Shuffle(0.1), chunk_tokens=7)
        timeline = simulate_stage(case.requests, lengths, case.cluster, policy, none(case.requests)).timeline
        seen.append(notes.seen)
        news.append(float(timeline.ended[changed].min()) if changed.any() else np.inf)
    first = min(news)
    assert [s for s in seen[0] if s[0] < first] == [s for s in seen[1] if s[0] < first]
