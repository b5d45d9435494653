"""The race over many iterations: rules that decide how many requests each issues and what becomes of the unfinished.

Every run is held to the laws of the books: nobody is lost or trained on twice, no token is lost, no sample is older than
promised. Where training has instances of its own, how many is chosen for each policy and world on the first seed.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import pytest

from makespan.harness.reproduction import Reproduction
from makespan.harness.round_claims import round_claims
from makespan.harness.round_measures import RoundResult, measure
from makespan.harness.round_table import BASE, RoundRow
from makespan.harness.round_worlds import WORLDS, Setup, inform
from makespan.runtime.round_record import Played
from makespan.runtime.rounds import RoundWorld, play
from makespan.schedulers.catalog import fifo, lpt, pull, work_stealing
from makespan.schedulers.policy import Policy
from makespan.schedulers.registry import load_round_policy, round_policies
from makespan.schedulers.round_policy import RoundPolicy

pytestmark = pytest.mark.bench
SEEDS = 3
SHARES = (0.25, 0.5)
WITHIN: dict[str, tuple[Policy, str]] = {
    "fifo": (fifo, "none"),
    "work_stealing": (work_stealing, "none"),
    "pull": (pull, "none"),
    "lpt": (lpt, "oracle"),
}
"""Orders and placements within a stage that plain synchronous training is raced with as well."""


@lru_cache
def world_of(setup: Setup, seed: int) -> RoundWorld:
    """Return a world, made once."""
    return setup.world(seed)


@lru_cache
def result_of(setup: Setup, name: str, policy: RoundPolicy, information: str, seed: int) -> RoundResult:
    """Play a policy and hold the run to its laws."""
    world = world_of(setup, seed)
    played = play(policy, world, inform(information, world.stream))
    assert_books(policy, world, played)
    return measure(setup.name, name, information, seed, world, played, policy.course == "barrier")


def assert_books(policy: RoundPolicy, world: RoundWorld, played: Played) -> None:
    """Hold a whole epoch to L1, L2 and L12."""
    assert played.open_samples == 0
    assert played.samples == (len(world.stream) - len(played.dropped)) * world.responses
    assert played.generated_tokens == played.delivered_tokens + played.wasted_tokens
    assert policy.staleness is None or max(step.staleness.max() for step in played.steps) <= policy.staleness


@pytest.mark.parametrize("setup", WORLDS, ids=lambda setup: setup.name.split(":")[0])
@pytest.mark.parametrize("name", [*round_policies.names(), *(f"{BASE}: {name}" for name in WITHIN)])
def bench_rounds(setup: Setup, name: str, round_rows: Callable[[RoundRow], None]) -> None:
    """Race one policy in one world against plain synchronous training of the same seeds."""
    base = load_round_policy(BASE)
    stage, known = WITHIN.get(name.removeprefix(f"{BASE}: "), (base.stage, "none"))
    policy = replace(base, stage=stage) if ":" in name else load_round_policy(name)
    has_history = world_of(setup, 0).stream.previous is not None
    for information in (known,) if ":" in name else policy.information or ("none",):
        if information == "history" and not has_history:
            continue
        chosen = policy
        if policy.trainer_share:
            choices = [replace(policy, trainer_share=share) for share in SHARES]
            chosen = max(choices, key=lambda p: result_of(setup, name, p, information, 0).samples_per_s)
        runs = tuple(result_of(setup, name, chosen, information, seed) for seed in range(SEEDS))
        plain = tuple(result_of(setup, BASE, base, "none", seed) for seed in range(SEEDS))
        round_rows(RoundRow(runs, plain, chosen.trainer_share))


def bench_round_claims(reproductions: Callable[[Reproduction], None]) -> None:
    """Put what the papers claim beside what the same rules give here; agreement is reported, not asserted."""
    found = round_claims()
    assert all(figure.ours > 0 for figure in found.figures)
    reproductions(found)
