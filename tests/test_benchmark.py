"""The benchmark run as a user starts it: what it writes, how it refuses, what an interruption leaves."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from makespan.harness.record import SCHEMA
from makespan.harness.store import read_records

ROOT = Path(__file__).parents[1]
SMALL = ["--workload", "lognormal_1.0", "--instances", "2", "--profile", "streamrl-7b-h800"]


def command(out: Path, *options: str) -> list[str]:
    run = [sys.executable, "-m", "pytest", "harness/bench_policies.py", "--benchmark", "-q", "--out", str(out)]
    return [*run, *SMALL, *options]


def race(out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(out, *options), capture_output=True, text=True, cwd=ROOT, check=False)


def test_a_run_leaves_records_tables_and_a_page(tmp_path: Path) -> None:
    done = race(tmp_path, "--requests", "48", "--policy", "fifo", "--policy", "pull_lpt", "--information", "oracle")
    assert done.returncode == 0, done.stdout
    records = read_records(tmp_path)
    assert {(r.policy, r.information) for r in records} == {("fifo", "none"), ("pull_lpt", "oracle")}
    assert len({r.requests_per_slot for r in records}) == 3
    assert all(r.schema == SCHEMA and r.gap >= 1 for r in records)
    assert "Headroom" in (tmp_path / "report.md").read_text()
    assert "pull_lpt" in (tmp_path / "report.html").read_text()
    assert "Headroom" in done.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--policy", "ltp"], "unknown policy 'ltp'; did you mean 'lpt'?"),
        (["--information", "orakle"], "did you mean 'oracle'?"),
        (["--instances", "-1"], "got -1"),
        (["--requests-per-slot", "0"], "requests per slot must be positive, got 0"),
        (["--seeds", "0"], "at least one seed, got 0"),
        (["--workload", "mine=nowhere.jsonl"], "nowhere.jsonl"),
    ],
)
def test_a_mistake_ends_the_run_before_it_starts(options: list[str], message: str, tmp_path: Path) -> None:
    done = race(tmp_path / "out", "--requests", "48", *options)
    assert done.returncode == 2
    assert message in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not (tmp_path / "out").exists()


def test_an_interruption_leaves_the_finished_experiments_readable(tmp_path: Path) -> None:
    running = subprocess.Popen(
        command(tmp_path, "--requests", "512"),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        # What a shell starts in the background is born deaf to interruptions.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 120
    while len(list(tmp_path.glob("records/*.json"))) < 3 and time.monotonic() < deadline:
        assert running.poll() is None, running.communicate()[0]
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=60)
    assert running.returncode == 2
    assert len(read_records(tmp_path)) >= 3
    assert "lognormal_1.0" in (tmp_path / "report.html").read_text()
    assert not list(tmp_path.rglob("*.tmp"))
    assert all(json.loads(file.read_text())["schema"] == SCHEMA for file in tmp_path.glob("records/*.json"))
