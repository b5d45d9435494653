"""`pytest harness/ --benchmark --engine vllm` as a user starts it, on a tiny model; and how it refuses."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_model import make_tiny_model

from makespan.harness import bench_real
from makespan.harness.agreement import agreements
from makespan.harness.real_bench import RealBench
from makespan.harness.real_options import FORCED, FREE, Budget, RealContest, RealOptions
from makespan.harness.store import read_records

ROOT = Path(__file__).parents[1]


def race(out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    run = [sys.executable, "-m", "pytest", "harness/", "--benchmark", "-q", "--engine", "vllm", "--out", str(out)]
    return subprocess.run([*run, *options], capture_output=True, text=True, cwd=ROOT, check=False)


@pytest.mark.engine
def test_policies_race_on_real_engines_beside_their_simulation(tmp_path: Path) -> None:
    model = make_tiny_model(tmp_path / "tiny")
    lengths = tmp_path / "lengths.jsonl"
    rows = [{"prompt": f"{k} + {k} =", "output_tokens": [3 + 2 * k, 30 - k]} for k in range(6)]
    lengths.write_text("".join(json.dumps(row) + "\n" for row in rows))
    sizes = ["--requests", "12", "--cap", "24", "--repetitions", "2", "--instances", "2", "--workload", f"mine={lengths}"]
    out = tmp_path / "out"
    done = race(out, "--model", str(model), *sizes, "--policy", "fifo", "--policy", "work_stealing", "--policy", "lpt")
    assert done.returncode == 0, done.stdout
    records = read_records(out)
    forced = [r for r in records if r.engine == "vllm-forced"]
    free = [r for r in records if r.engine == "vllm-free"]
    assert (len(forced), len(free)) == (6, 3)
    assert len({r.generated_tokens for r in forced}) == 1
    for record in records:
        assert record.measured_makespan_s == record.makespan_s
        assert record.simulated_makespan_s is not None
        assert record.error == pytest.approx(record.simulated_makespan_s / record.makespan_s - 1)
    assert [found.engine for found in agreements(records)] == ["vllm-forced", "vllm-free"]
    for text in (done.stdout, (out / "report.md").read_text(), (out / "report.html").read_text()):
        assert "median error" in text


def options_of(**given: Any) -> RealOptions:
    """Give the options of a race of these policies on two instances."""
    names = {"--policy": ["fifo", "pull", "lpt"], "--requests": 12, "--repetitions": 3, "--minutes": 17.0}
    return RealOptions.from_options({**names, "--instances": 2, "--out": "out", **given}.get)


def test_no_run_begins_after_the_deadline() -> None:
    nothing: Any = None
    rig = RealBench(nothing, nothing, nothing, nothing, 0.0, 1, 0)
    assert not rig.time_is_up
    with pytest.raises(pytest.skip.Exception, match="--minutes 17 are over"):
        bench_real.bench_real(RealContest(FORCED, "fifo", "none", 2), options_of(), replace(rig, deadline=0.0), nothing)


@pytest.mark.engine
def test_a_race_that_leaves_a_policy_without_a_run_says_so_and_fails(tmp_path: Path) -> None:
    lengths = tmp_path / "lengths.jsonl"
    lengths.write_text('{"prompt": "1 + 1 =", "output_tokens": [3, 9]}\n')
    sizes = ["--requests", "2", "--requests-per-slot", "1", "--minutes", "0.001", "--instances", "1", "--policy", "fifo"]
    model = make_tiny_model(tmp_path / "tiny")
    done = race(tmp_path / "out", "--model", str(model), "--workload", f"mine={lengths}", *sizes)
    assert done.returncode == 2, done.stdout
    assert "4 runs did not fit into --minutes 0.001, and no run at all was made of fifo" in done.stdout


def test_every_policy_has_a_run_of_either_kind_before_any_has_a_second_one() -> None:
    runs = list(options_of().contests())
    kinds = [(run.engine, run.repetition) for run in runs]
    assert list(dict.fromkeys(kinds)) == [(FORCED, 0), (FREE, 0), (FORCED, 1), (FORCED, 2)]
    assert all(kinds.count(kind) == 3 for kind in kinds)
    assert [run.policy for run in runs[::3]] == ["fifo", "fifo", "pull", "lpt"]


@pytest.mark.parametrize(("spent", "expected"), [(0.0, 10.0), (40.0, 6.0), (90.0, 5.0)])
def test_runs_share_the_time_that_measuring_leaves_but_half_of_all_in_any_case(spent: float, expected: float) -> None:
    assert Budget(seconds=100.0, runs=10).run_s(spent) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"--policy": ["ltp"]}, "unknown policy 'ltp'; did you mean 'lpt'?"),
        ({"--repetitions": 0}, "--repetitions must be at least 1, got 0"),
        ({"--cap": 0}, "a cap must be at least 1, got 0"),
        ({"--minutes": 0.0}, "--minutes must be positive, got 0"),
        ({"--model": "nowhere"}, "--model must be a Hugging Face folder with a config.json, got nowhere"),
        ({"--workload": ["a", "b"]}, "races on one --workload at a time, got 2"),
        ({"--requests-per-slot": [1.0, 2.0]}, "races at one --requests-per-slot at a time, got 2"),
    ],
)
def test_a_mistake_is_found_before_an_engine_starts(options: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, LookupError, FileNotFoundError)) as refused:
        options_of(**options)
    assert message in str(refused.value)


def test_a_mistake_ends_the_run_in_one_line(tmp_path: Path) -> None:
    done = race(tmp_path / "out", "--policy", "ltp")
    assert done.returncode == 2
    assert "unknown policy 'ltp'; did you mean 'lpt'?" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not (tmp_path / "out").exists()
