"""A training run beside its simulation, on runs that were made by a simulation: what comes out is then known."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from makespan.harness.cli import main
from makespan.harness.foretold_pipeline import FEWEST, fit_trainer, foretell
from makespan.runtime.generated import Generated
from makespan.runtime.iteration import PIPELINES
from makespan.runtime.pipelines import Pipeline, simulate_pipeline
from makespan.runtime.stage import simulate_stage
from makespan.schedulers import catalog, sources
from makespan.schedulers.instances import Cluster, Instance
from makespan.schedulers.requests import Requests
from makespan.schedulers.step_time import StepTime
from makespan.schedulers.training_order import stage_seconds
from makespan.schedulers.training_time import TrainingTime
from makespan.schedulers.types import IntArray

CLUSTER = Cluster.uniform(Instance(StepTime((1, 4), (0.01, 0.02), 0.0, 1e-4), 1 << 16, 4), 2)
TRAINER = TrainingTime(token_s=2e-3, step_s=0.3, micro_batch_tokens=200)
TRANSFER_S = 0.25
SAMPLES = 8


def lengths(iterations: int, *, alike: bool) -> list[IntArray]:
    """Draw prompt and output tokens of the samples of each iteration, shape (n, 2)."""
    drawn = [np.random.default_rng(0 if alike else i).integers(5, 60, (SAMPLES, 2)) for i in range(iterations)]
    return [np.asarray(one, dtype=np.int64) for one in drawn]


def generated(tokens: IntArray) -> Generated:
    requests = Requests.of(tokens[:, 0], tokens[:, 1])
    run = simulate_stage(requests, tokens[:, 1], CLUSTER, catalog.least_in_flight, sources.none(requests))
    return Generated.of(run.timeline, requests)


def rows_of(pipeline: Pipeline, drawn: list[IntArray]) -> list[dict[str, Any]]:
    """Return what a run whose engines and trainer are as foretold would have written."""
    batches = [generated(tokens) for tokens in drawn]
    ran = simulate_pipeline(pipeline, len(drawn), batches.__getitem__, lambda _: TRAINER, lambda _: TRANSFER_S)
    return [
        iteration.as_json()
        | {
            "training": {"busy_s": stage_seconds(TRAINER, batch.tokens)},
            "samples_trained": [[number, *map(int, pair)] for number, pair in enumerate(tokens)],
        }
        for iteration, batch, tokens in zip(ran, batches, drawn, strict=True)
    ]


def write(folder: Path, rows: list[dict[str, Any]]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "steps.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def foretold(folder: Path, parts: int = 1) -> tuple[float, float, int]:
    found = foretell(
        folder, CLUSTER, catalog.least_in_flight, micro_batch_tokens=TRAINER.micro_batch_tokens, mini_batches=parts
    )
    return found.measured_s, found.simulated_s, found.iterations


@pytest.mark.parametrize("name", ["colocated", "sync", "stream"])
def test_a_run_that_is_as_simulated_is_foretold_to_the_second(name: str, tmp_path: Path) -> None:
    # The trainer is fitted on the first half, whose batches are others than those of the second.
    rows = rows_of(Pipeline(name, mini_batches=3), lengths(14, alike=False))
    measured, simulated, iterations = foretold(write(tmp_path, rows), 3)
    assert iterations == 6
    assert measured == pytest.approx(np.median([row["seconds"] for row in rows[8:]]))
    assert simulated == pytest.approx(measured, rel=1e-6)


@pytest.mark.parametrize("name", PIPELINES)
def test_a_steady_run_is_foretold_by_every_pipeline(name: str, tmp_path: Path) -> None:
    # Iterations that are alike do not tell a token's time from a step's, so that the trainer's parts overlap otherwise.
    measured, simulated, _ = foretold(write(tmp_path, rows_of(Pipeline(name, mini_batches=2), lengths(12, alike=True))), 2)
    assert simulated == pytest.approx(measured, rel=0.1)


def test_an_iteration_that_was_repeated_after_a_death_counts_once(tmp_path: Path) -> None:
    rows = rows_of(Pipeline("stream"), lengths(12, alike=False))
    once = foretold(write(tmp_path / "once", rows))
    killed = rows[8] | {"seconds": 100.0}
    assert foretold(write(tmp_path / "twice", [*rows[:8], killed, *rows[8:]])) == once


def test_an_engine_twice_as_slow_as_its_profile_is_found_out(tmp_path: Path) -> None:
    rows = rows_of(Pipeline("colocated"), lengths(12, alike=False))
    for row, tokens in zip(rows, lengths(12, alike=False), strict=True):
        row["seconds"] += generated(tokens).seconds
    measured, simulated, _ = foretold(write(tmp_path, rows))
    assert simulated < 0.9 * measured


@given(st.floats(1e-5, 1e-2), st.floats(0.01, 5), st.integers(0, 99))
def test_the_trainer_of_steps_of_unlike_size_is_found_again(token_s: float, step_s: float, seed: int) -> None:
    totals = np.random.default_rng(seed).integers(50, 5000, 8)
    rows = [
        {"training": {"busy_s": token_s * int(tokens) + step_s}, "samples_trained": [[0, 10, int(tokens) - 10]]}
        for tokens in totals
    ]
    fitted = fit_trainer(rows, 100)
    assert fitted.token_s == pytest.approx(token_s, rel=1e-6)
    assert fitted.step_s == pytest.approx(step_s, rel=1e-3, abs=1e-6)


def test_steps_of_equal_size_are_put_down_to_their_tokens() -> None:
    fitted = fit_trainer([{"training": {"busy_s": 2.0}, "samples_trained": [[0, 10, 30]]}] * 4, 100)
    assert fitted.token_s == pytest.approx(0.05)
    assert fitted.step_s == 0


def refusal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run `makespan foretell` and return its one line of complaint."""
    monkeypatch.setattr("sys.argv", ["makespan", "foretell", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capsys.readouterr()
    assert ended.value.code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err


PROFILE = ["--profile", "smollm2-135m-cpu-core"]


def test_a_folder_without_a_run_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert f"got none in {tmp_path}" in refusal(monkeypatch, capsys, str(tmp_path), *PROFILE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[: FEWEST - 1], f"at least {FEWEST} iterations to be foretold, got {FEWEST - 1}"),
        (lambda rows: [*rows[:-1], rows[-1] | {"samples": SAMPLES + 1}], "as many samples as lengths"),
        (lambda rows: [*rows[:-1], rows[-1] | {"samples": 0, "samples_trained": []}], "at least one, got 0 samples"),
        (lambda rows: [{"pipeline": "stream"}, *rows], "got none of iteration, seconds, transfer_s"),
        (lambda rows: [rows[0] | {"pipeline": "streem"}, *rows[1:]], "got 'streem'"),
    ],
)
def test_a_run_that_cannot_be_foretold_is_refused(
    change: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, change(rows_of(Pipeline("stream"), lengths(FEWEST, alike=False))))
    assert message in refusal(monkeypatch, capsys, str(tmp_path), *PROFILE)


@pytest.mark.parametrize(
    ("option", "message"), [("--instances", "at least one instance, got 0"), ("--micro-batch-tokens", "got 0")]
)
def test_a_size_of_nothing_is_refused(
    option: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, rows_of(Pipeline("stream"), lengths(FEWEST, alike=False)))
    assert message in refusal(monkeypatch, capsys, str(tmp_path), *PROFILE, option, "0")


def test_a_torn_line_is_refused_by_its_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(tmp_path, rows_of(Pipeline("stream"), lengths(FEWEST, alike=False)))
    file = folder / "steps.jsonl"
    file.write_text(file.read_text(encoding="utf-8")[:-40], encoding="utf-8")
    assert f"line {FEWEST} of {file}" in refusal(monkeypatch, capsys, str(folder), *PROFILE)
