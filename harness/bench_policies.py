"""The race: every policy on every load, its laws asserted, its own decisions timed."""

from typing import Any

import numpy as np
import pytest

from makespan.harness.errors import USER_ERRORS, one_line
from makespan.harness.informations import make_information
from makespan.harness.race_options import Contest, RaceOptions
from makespan.harness.store import write_record
from makespan.schedulers.optimal import Optimal
from makespan.schedulers.policy import Policy
from makespan.schedulers.registry import load_policy
from makespan.schedulers.types import IntArray
from makespan.schedulers.view import View


@pytest.mark.bench
def bench_race(contest: Contest, race_options: RaceOptions, benchmark: Any) -> None:
    """Race one policy; what is timed is its first decision about all requests."""
    try:
        policy = load_policy(contest.policy)
        cell = race_options.cell(contest)
        record = cell.race(contest.policy, policy, contest.information)
    except USER_ERRORS as error:
        race_options.refused = True
        pytest.fail(f"{contest.policy}: {one_line(error)}", pytrace=False)
    write_record(record, race_options.out)
    benchmark.extra_info["gap"] = record.gap
    information = make_information(contest.information, cell.workload, contest.seed)
    view = View.at_start(cell.cluster, cell.workload.requests, information.estimate(cell.workload.requests))
    rounds = 1 if isinstance(policy.placement, Optimal) else 3
    placed = benchmark.pedantic(decide, args=(policy, view), rounds=rounds)
    assert len(placed) <= len(cell.workload)


def decide(policy: Policy, view: View) -> IntArray:
    """Return where the policy places the requests of a whole stage."""
    return policy.placement.place(view, policy.ordered(view, np.arange(len(view.requests))))
