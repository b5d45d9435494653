"""The race on real engines: every policy drives the same instances, several times in alternating order."""

from typing import Any

import pytest

from makespan.harness.errors import USER_ERRORS, one_line
from makespan.harness.real_bench import RealBench
from makespan.harness.real_options import RealContest, RealOptions
from makespan.harness.store import write_record
from makespan.schedulers.registry import load_policy


@pytest.mark.bench
def bench_real(real_contest: RealContest, real_options: RealOptions, rig: RealBench, benchmark: Any) -> None:
    """Run one policy once; what is timed is the whole stage."""
    if rig.time_is_up:
        # The terminal's summary counts these and says what to do; a policy without any run makes the race fail.
        pytest.skip(f"--minutes {real_options.minutes:g} are over")
    contest = real_contest
    policy = load_policy(contest.policy)
    arguments = (contest.policy, policy, contest.information, contest.engine, contest.repetition)
    try:
        record = benchmark.pedantic(rig.race, args=arguments, rounds=1)
    except USER_ERRORS as error:
        pytest.fail(f"{contest.policy}: {one_line(error)}", pytrace=False)
    write_record(record, real_options.out)
    benchmark.extra_info["error"] = record.error
