"""A Ray cluster that was there before: the commands run on it, leave it as it was, and say what keeps them out."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ray_head import RayHead, ray_head
from tiny_model import make_tiny_model

from makespan.runtime import ray_session as session


@pytest.fixture(scope="module")
def head() -> Iterator[RayHead]:
    with ray_head(cores=3) as up:
        yield up


def makespan(environment: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from makespan.harness.cli import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def sweep(head_address: str, out: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    sizes = ["--requests", "32", "--instances", "2", "--max-batch", "4"]
    chosen = ["--workload", "lognormal_1.0", "--policy", "fifo", "--policy", "pull"]
    return makespan(environment, "sweep", "--out", str(out), *chosen, *sizes, "--ray-address", head_address, "--json")


def test_a_sweep_runs_on_a_cluster_that_stays_up(head: RayHead, tmp_path: Path) -> None:
    done = sweep(head.address, tmp_path, head.environment)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["run"] == 2
    assert len(list((tmp_path / "records").glob("*.json"))) == 2
    assert head.process.is_running()


@pytest.mark.engine
def test_a_model_is_trained_on_a_cluster_and_nothing_stays_behind_on_it(head: RayHead, tmp_path: Path) -> None:
    before = {process.pid for process in head.processes()}
    model = make_tiny_model(tmp_path / "tiny")
    sizes = ["--steps", "2", "--prompts", "2", "--samples", "2", "--cap", "24", "--max-batch", "4", "--kv-gib", "0.1"]
    options = ["--model", str(model), "--instances", "1", "--dtype", "float32", "--out", str(tmp_path / "runs")]
    done = makespan(head.environment, "train", *sizes, *options, "--ray-address", head.address, "--json")
    assert done.returncode == 0, done.stderr
    [summary] = json.loads(done.stdout)
    assert (summary["steps"], summary["instances_replaced"], summary["failed_samples"]) == (2, 0, 0)
    rows = [json.loads(line) for line in (tmp_path / "runs/fully_async/steps.jsonl").read_text().splitlines()]
    assert [row["samples"] for row in rows] == [4, 4]
    assert all(tokens > 0 for row in rows for _, _, tokens in row["samples_trained"])
    engines = [process for process in head.processes() if process.pid not in before and "IDLE" not in process.name()]
    assert [process.name() for process in engines] == []


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    """Return the line of complaint, below which there is nothing and above which only Ray's own log."""
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    *_, last = done.stderr.splitlines()
    assert last.startswith("error: ")
    return last


def test_a_cluster_whose_token_is_not_given_is_refused_by_the_setting_that_is_missing(head: RayHead, tmp_path: Path) -> None:
    without = {name: value for name, value in head.environment.items() if not name.startswith("RAY_AUTH")}
    line = refusal(sweep(head.address, tmp_path, without | {"RAY_AUTH_MODE": "disabled"}))
    assert f"--ray-address must name a Ray cluster that can be joined, got {head.address}" in line
    assert "RAY_AUTH_MODE" in line


def test_a_token_that_is_not_there_is_refused(head: RayHead, tmp_path: Path) -> None:
    line = refusal(sweep(head.address, tmp_path, head.environment | {"RAY_AUTH_TOKEN_PATH": str(tmp_path / "none")}))
    assert "RAY_AUTH_TOKEN_PATH" in line


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", None])
def test_what_listens_but_is_no_ray_cluster_is_refused(answer: bytes | None, monkeypatch: pytest.MonkeyPatch) -> None:
    # Ray itself would wait for it for ever.
    monkeypatch.setattr(session, "CONNECT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as aside:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        aside.submit(_answer, server, answer)
        with (
            pytest.raises(ValueError, match=f"must name a Ray cluster that answers, got {address}"),
            session.ray_session(address),
        ):
            pass


def _answer(server: socket.socket, words: bytes | None) -> None:
    """Take one connection; say something, or nothing, and hang up, or say nothing at all until the other side hangs up."""
    there, _ = server.accept()
    with there:
        there.recv(100)
        if words is None:
            there.recv(1)
        else:
            there.sendall(words)
