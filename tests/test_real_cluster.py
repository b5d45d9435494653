"""Real Ray actors driven by the dispatcher; the engines inside are scripted, so that every output is known."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import ray
from hypothesis import given
from hypothesis import strategies as st
from scripted_engine import cannot_start, expected_output
from stage_of_actors import INSTANCE, MAX_BATCH, check_whole, prompts, scripted_pool, service

from makespan.runtime.dispatch_latency import measured_latency
from makespan.runtime.dispatcher import Dispatcher
from makespan.runtime.instance_pool import InstanceFailed, InstancePool
from makespan.runtime.nccl_transfer import InstanceClient
from makespan.runtime.profiles import load_profile
from makespan.runtime.ray_session import ray_session
from makespan.runtime.real_cluster import RealCluster
from makespan.runtime.sample import Prompt
from makespan.runtime.sampling import order_preserving
from makespan.schedulers import catalog, registry, sources
from makespan.schedulers.instances import Cluster
from makespan.schedulers.issues import OverIssue
from makespan.schedulers.parts import HOLD, Moves
from makespan.schedulers.policy import Policy
from makespan.schedulers.pull import Pull
from makespan.schedulers.requests import Requests
from makespan.schedulers.types import IntArray
from makespan.schedulers.view import RUNNING, View

CAP = 60


@pytest.fixture(scope="module")
def pool() -> Iterator[InstancePool]:
    with ray_session(cores=4), scripted_pool(2) as started:
        yield started


@pytest.mark.parametrize("name", registry.policies.names())
def test_every_policy_gets_every_sample_whole(pool: InstancePool, name: str) -> None:
    policy, wanted = registry.load_policy(name), prompts(24, seed=len(name))
    serving = service(pool, policy)
    check_whole(list(serving.generate(wanted, cap=CAP)), wanted, CAP)
    assert serving.timeline is not None
    assert (serving.timeline.peak_batch <= MAX_BATCH).all()


def test_samples_come_while_others_run(pool: InstancePool) -> None:
    wanted = prompts(16)
    serving = service(pool)
    stream = serving.generate(wanted, cap=CAP)
    first = next(stream)
    lengths = [len(expected_output(prompt.tokens, CAP)) for prompt in wanted]
    assert len(first.tokens) < max(lengths)
    assert len(list(stream)) == 15


def test_a_caller_who_stops_early_leaves_idle_instances(pool: InstancePool) -> None:
    serving, wanted = service(pool), prompts(16)
    stream = serving.generate(wanted, cap=CAP)
    next(stream)
    stream.close()
    check_whole(list(serving.generate(wanted, cap=CAP)), wanted, CAP)


def test_lengths_can_be_forced(pool: InstancePool) -> None:
    wanted = np.arange(1, 25)
    done = list(service(pool, catalog.lpt).generate(prompts(24), cap=CAP, forced=wanted))
    assert {sample.row: len(sample.tokens) for sample in done} == dict(enumerate(wanted.tolist()))


def test_what_should_start_first_does(pool: InstancePool) -> None:
    # On one batch slot the order of starting is the order of the keys.
    caps = np.array([5, 40, 10, 30, 20, 25, 15, 35])
    requests = Requests.of(np.full(8, 2), caps)
    cluster = Cluster.uniform(INSTANCE, 2)
    engine = RealCluster(pool, cluster, requests, prompts(8))
    everything = np.arange(8)
    engine.start(everything, np.zeros(8, dtype=np.int64), -caps.astype(float))
    while engine.running.sum() + engine.queued.sum():
        engine.wait(engine.now + 1)
    admitted = engine.timeline().admitted
    longest_first = np.argsort(-caps)
    assert (np.diff(admitted[longest_first][MAX_BATCH:]) >= 0).all()
    assert admitted[longest_first][:MAX_BATCH].max() <= admitted[longest_first][MAX_BATCH:].min()


def test_the_answer_of_the_dispatcher_takes_some_time_and_little(pool: InstancePool) -> None:
    assert 0 < measured_latency(pool, load_profile("streamrl-7b-h800")) < 1


@dataclass(slots=True)
class AFewTimes:
    """Chooses two that run, each request a few times: one that never stayed would never make a token."""

    every: int
    times: Counter[int] = field(default_factory=Counter)

    def choose(self, view: View) -> IntArray:
        rows = np.flatnonzero((view.state == RUNNING) & (view.generated % self.every == 1))
        chosen = np.array([row for row in rows.tolist() if self.times[row] < 5][:2], dtype=np.int64)
        self.times.update(chosen.tolist())
        return chosen


@dataclass(slots=True)
class KeepMoving(AFewTimes):
    """Moves what runs to the other instance."""

    every: int = 3

    def move(self, view: View) -> Moves:
        rows = self.choose(view)
        return Moves(rows, 1 - view.instance[rows])


def test_a_moved_sample_goes_on_where_it_was(pool: InstancePool) -> None:
    wanted = prompts(20, seed=7)
    serving = service(pool, Policy(rebalance=KeepMoving()))
    samples = list(serving.generate(wanted, cap=CAP))
    check_whole(samples, wanted, CAP)
    assert serving.timeline is not None
    assert serving.timeline.preemptions.sum() > 0
    assert serving.timeline.recomputed.sum() > 0


@dataclass(slots=True)
class TakeBack(AFewTimes):
    """Takes back what runs."""

    every: int = 5

    def move(self, view: View) -> Moves:
        rows = self.choose(view)
        return Moves(rows, np.full(len(rows), HOLD))


def test_a_sample_that_is_taken_back_goes_on_where_it_was(pool: InstancePool) -> None:
    wanted = prompts(20, seed=8)
    serving = service(pool, Policy(placement=Pull(), rebalance=TakeBack()))
    check_whole(list(serving.generate(wanted, cap=CAP)), wanted, CAP)


@dataclass(frozen=True, slots=True)
class Clock:
    """Notes when it is asked."""

    asked: list[float]
    every_s: float = 0.001

    def move(self, view: View) -> Moves:
        self.asked.append(view.now)
        return Moves.none()


def test_a_part_is_asked_from_time_to_time_in_real_time_too(pool: InstancePool) -> None:
    asked: list[float] = []
    # All run at once, 2 ms a token, and nothing ends before the last.
    list(
        service(pool, Policy(placement=Pull(), rebalance=Clock(asked))).generate(prompts(8), cap=CAP, forced=np.full(8, CAP))
    )
    assert len(asked) > 20


@pytest.mark.parametrize("chunk", [1, 7, CAP])
def test_samples_in_chunks_are_whole(pool: InstancePool, chunk: int) -> None:
    wanted = prompts(12, seed=9)
    serving = service(pool, Policy(placement=Pull(), chunk_tokens=chunk))
    check_whole(list(serving.generate(wanted, cap=CAP)), wanted, CAP)


def test_forced_lengths_hold_over_chunks(pool: InstancePool) -> None:
    wanted = np.arange(1, 25)
    policy = Policy(placement=Pull(), chunk_tokens=8)
    done = list(service(pool, policy).generate(prompts(24), cap=CAP, forced=wanted))
    assert {sample.row: len(sample.tokens) for sample in done} == dict(enumerate(wanted.tolist()))
    assert {sample.ended for sample in done} == {"length"}


def test_what_was_aborted_is_taken_up_later(pool: InstancePool) -> None:
    wanted = prompts(16, seed=3)
    serving = service(pool, Policy(issue=OverIssue(2.0)))
    first = list(serving.generate(wanted, cap=CAP))
    cut = [sample for sample in first if sample.ended == "abort"]
    assert len(first) == 16
    assert cut
    again = [Prompt(wanted[sample.row].tokens, begun=sample) for sample in cut]
    rest = list(service(pool).generate(again, cap=CAP))
    check_whole(rest, again, CAP)
    for sample in rest:
        begun = again[sample.row].begun
        assert begun is not None
        assert sample.tokens[: len(begun.tokens)].tolist() == begun.tokens.tolist()


def test_a_poison_prompt_fails_with_its_reason_and_harms_no_other(pool: InstancePool) -> None:
    wanted = [*prompts(6), Prompt(()), Prompt((1,), refused="a prompt must be text, got a picture")]
    done = {sample.row: sample for sample in service(pool).generate(wanted, cap=CAP)}
    assert sorted(done) == list(range(8))
    assert done[6].ended == done[7].ended == "failed"
    assert done[6].reason == "a prompt must hold at least 1 token, got 0"
    assert done[7].reason == "a prompt must be text, got a picture"
    check_whole([done[row] for row in range(6)], wanted[:6], CAP)


def test_recalled_requests_come_back_once(pool: InstancePool) -> None:
    requests = Requests.of(np.full(12, 2), np.full(12, CAP))
    engine = RealCluster(pool, Cluster.uniform(INSTANCE, 2), requests, prompts(12))
    engine.start(np.arange(12), np.zeros(12, dtype=np.int64), np.zeros(12))
    engine.recall(np.arange(6, 12))
    ended: list[int] = []
    returned: list[int] = []
    while len(ended) + len(returned) < 12:
        news = engine.wait(engine.now + 1)
        ended += news.rows.tolist()
        returned += news.returned.tolist()
    assert sorted(ended + returned) == list(range(12))
    assert returned
    again = np.array(returned)
    engine.start(again, np.ones(len(again), dtype=np.int64), np.zeros(len(again)))
    while len(ended) < 12:
        ended += engine.wait(engine.now + 1).rows.tolist()
    check_whole([engine.sample(row) for row in range(12)], prompts(12), CAP)


@pytest.mark.parametrize("keep", [True, False])
def test_versions_are_told_token_by_token_and_samples_survive_an_update(pool: InstancePool, keep: bool) -> None:
    serving = service(pool)
    serving.version = 10 if keep else 20
    samples = []
    forced = np.arange(20, 500, 10)
    for sample in serving.generate(prompts(48, seed=5), cap=500, forced=forced):
        samples.append(sample)
        if len(samples) == 4:
            serving.update(None, serving.version + 1, keep=keep, wait=False)
    assert {sample.row: len(sample.tokens) for sample in samples} == dict(enumerate(forced.tolist()))
    assert {sample.end_version for sample in samples} >= {serving.version}
    mixed = [sample for sample in samples if len(sample.versions) > 1]
    assert bool(mixed) == keep


def test_weights_may_be_sent_by_whoever_has_them(pool: InstancePool) -> None:
    serving = service(pool)
    serving.version = 30

    @ray.remote(num_cpus=0)
    def send(actors: list[Any], version: int) -> float:
        # What vLLM's sender does, but for the sending itself.
        client = InstanceClient(actors)
        client.version = version
        client.init_weight_transfer_engine({})
        client.start_weight_update()
        client.update_weights({})
        client.finish_weight_update()
        return 0.25

    before = len(pool.transfer_s)
    serving.update_by(lambda actors, version: send.remote(actors, version), 31)
    while pool.updating:
        pool.wait(1.0)
    assert pool.transfer_s[before:] == [0.25, 0.25]
    wanted = prompts(8, seed=31)
    done = list(serving.generate(wanted, cap=CAP))
    check_whole(done, wanted, CAP)
    assert {sample.versions for sample in done} == {((31, 0),)}


def test_versions_must_increase(pool: InstancePool) -> None:
    serving = service(pool)
    serving.version = 50
    with pytest.raises(ValueError, match="versions must increase, got 50 after 50"):
        serving.update(None, 50)


def test_an_information_source_learns_from_real_samples(pool: InstancePool) -> None:
    serving = service(pool, catalog.pull_lpt)
    serving.information = sources.Siblings
    wanted = prompts(4)
    done = list(serving.generate(wanted, cap=CAP, samples=4))
    assert sorted(sample.row for sample in done) == list(range(16))
    assert {sample.group for sample in done} == {0, 1, 2, 3}


def test_an_engine_that_cannot_start_says_why_at_once(pool: InstancePool) -> None:
    failing = InstancePool(cannot_start, 1)
    with pytest.raises(InstanceFailed, match="model must be a folder, got nothing"):
        failing.wait_until_live()
    failing.shutdown()


@given(st.lists(st.floats(allow_nan=False), min_size=2))
def test_priorities_are_ordered_as_keys(keys: list[float]) -> None:
    numbers = [order_preserving(key) for key in keys]
    for a, b, m, n in zip(keys, keys[1:], numbers, numbers[1:], strict=False):
        assert (a < b) == (m < n)
        assert (a == b) == (m == n)
        assert -(2**63) <= m < 2**63


def test_a_policy_that_moves_nowhere_is_refused(pool: InstancePool) -> None:
    @dataclass(frozen=True, slots=True)
    class Away:
        def move(self, view: View) -> Moves:
            rows = np.flatnonzero(view.state == RUNNING)[:1]
            return Moves(rows, np.full(len(rows), 9))

    requests = Requests.of(np.full(4, 2), np.full(4, CAP))
    engine = RealCluster(pool, Cluster.uniform(INSTANCE, 2), requests, prompts(4))
    with pytest.raises(RuntimeError, match="must hold or name an instance 0 to 1"):
        Dispatcher(requests, engine, Policy(rebalance=Away()), sources.none(requests)).run()
    engine.abort(np.arange(4))


@pytest.mark.parametrize("name", ["lpt", "work_stealing"])
def test_an_instance_joins_and_another_leaves_in_the_middle_and_nothing_is_lost(pool: InstancePool, name: str) -> None:
    # Slow enough for an actor to start while there is work.
    with scripted_pool(1, room=1, step_s=0.05) as growing:
        wanted, samples = prompts(40, seed=11), []
        serving = service(growing, registry.load_policy(name))
        for sample in serving.generate(wanted, cap=CAP):
            samples.append(sample)
            if len(samples) == 3:
                growing.join(1)
            if growing.live == [True, True]:
                growing.leave(0)
        check_whole(samples, wanted, CAP)
        assert growing.live == [False, True]
        assert {sample.instance for sample in samples} == {0, 1}
        assert serving.timeline is not None
        assert (serving.timeline.peak_batch <= MAX_BATCH).all()
        growing.join(0)
        growing.wait_until_live()
        assert growing.live == [True, True]


def test_the_others_go_on_while_an_instance_starts(pool: InstancePool) -> None:
    with scripted_pool(1, room=1, step_s=0.05) as growing:
        alone = 0
        for number, _ in enumerate(service(growing).generate(prompts(60, seed=12), cap=CAP)):
            if number == 0:
                growing.join(1)
            alone += not growing.live[1]
        assert alone > 2


def test_places_are_joined_and_left_by_the_rules(pool: InstancePool) -> None:
    with scripted_pool(1, room=1) as growing:
        with pytest.raises(ValueError, match="must join in a free place, got 0, which is taken"):
            growing.join(0)
        with pytest.raises(ValueError, match="must be live to leave, got 1, which is not"):
            growing.leave(1)


def test_weights_that_follow_each_other_closely_are_taken_one_after_the_other(pool: InstancePool) -> None:
    serving = service(pool)
    serving.version = 60
    for version in (61, 62, 63):
        serving.update(None, version, wait=False)
    while pool.updating:
        pool.wait(1.0)
    assert {sample.versions for sample in service(pool).generate(prompts(4), cap=CAP)} == {((63, 0),)}
