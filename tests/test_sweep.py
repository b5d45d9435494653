"""A sweep: every combination once, the same results in any order, and none run twice."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from makespan.harness.store import read_records
from makespan.harness.sweep import Wanted, combinations, key, run_sweep
from makespan.runtime import side_by_side
from makespan.schedulers.registry import UnknownName

WALL = ("decide_s", "simulate_s")


def small(policies: tuple[str, ...] = ("fifo", "lpt", "pull"), seeds: int = 2) -> list[Wanted]:
    return combinations(
        ("lognormal_1.0",), policies, ("oracle",), ("streamrl-7b-h800",), (2, 4), (8,), seeds=seeds, requests=64
    )


def results(folder: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for record in read_records(folder):
        found[record.key] = {name: value for name, value in record.as_json().items() if name not in WALL}
    return found


def test_every_combination_is_run_once_and_blind_policies_without_information() -> None:
    wanted = small()
    assert len(wanted) == len(set(wanted)) == 3 * 2 * 2
    assert {(one.policy, one.information) for one in wanted} == {("fifo", "none"), ("lpt", "oracle"), ("pull", "none")}


def test_the_order_of_completion_does_not_show(tmp_path: Path) -> None:
    wanted = small()
    assert run_sweep(wanted, tmp_path / "a", cpus=1) == len(wanted)
    assert run_sweep(wanted[::-1], tmp_path / "b", cpus=1) == len(wanted)
    assert results(tmp_path / "a") == results(tmp_path / "b")
    assert set(results(tmp_path / "a")) == {key(one) for one in wanted}


def test_what_has_a_record_is_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = small()

    class Stopped(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done >= total // 2:
            raise Stopped

    with pytest.raises(Stopped):
        run_sweep(wanted, tmp_path, cpus=1, progress=stop)
    there = len(read_records(tmp_path))
    assert 0 < there < len(wanted)
    assert run_sweep(wanted, tmp_path, cpus=1) == len(wanted) - there
    assert run_sweep(wanted, tmp_path, cpus=1) == 0


def test_a_killed_sweep_goes_on_where_it_was(tmp_path: Path) -> None:
    command = [
        *(sys.executable, "-c", "from makespan.harness.cli import main; main()", "sweep", "--cpus", "1", "--seeds", "40"),
        *("--out", str(tmp_path), "--workload", "lognormal_1.0", "--requests", "64", "--policy", "fifo", "--json"),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not list(tmp_path.glob("records/*.json")) and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    there = len(list(tmp_path.glob("records/*.json")))
    assert there >= 1
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {"out": str(tmp_path), "experiments": 40, "run": 40 - there}
    assert len(read_records(tmp_path)) == 40


@pytest.mark.parametrize("at_once", [False, True])
def test_ray_gives_what_one_process_gives(at_once: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # This process works too until Ray has started, which so few experiments do not outlast.
    if at_once:
        monkeypatch.setattr(side_by_side, "head_start", lambda *_: [])
    wanted = small()
    run_sweep(wanted, tmp_path / "here", cpus=1)
    assert run_sweep(wanted, tmp_path / "ray", cpus=2) == len(wanted)
    assert results(tmp_path / "ray") == results(tmp_path / "here")
    assert os.environ.get("RAY_USAGE_STATS_ENABLED") == "0"


def test_impossible_sweeps_are_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="did you mean 'lpt'"):
        small(("ltp",))
    with pytest.raises(ValueError, match="at least one seed"):
        small(seeds=0)
    with pytest.raises(ValueError, match="at least one processor"):
        run_sweep(small(), tmp_path, cpus=0)
    assert not list(tmp_path.iterdir())
