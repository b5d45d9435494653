"""Layer tables become a step time, measured runs are replayed by it; what is wrong with a file is said in one line."""

import gzip
import json
import os
import re
from pathlib import Path
from typing import Any

import layer_files as made
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_cli import makespan as run_command

from makespan.harness.experiment import simulate
from makespan.harness.measured_runs import read_measured_runs
from makespan.harness.replay import MODELS, Replay, read_replays
from makespan.harness.replay_report import profile_of, replay_all, write_replay
from makespan.harness.workload import Workload
from makespan.runtime.architectures import Architecture, architecture_of
from makespan.runtime.deployments import Deployment, Link
from makespan.runtime.layer_step_time import Limits, layered_step_time
from makespan.runtime.layer_tables import LayerTables, read_layer_tables
from makespan.runtime.profiles import Profile, load_profile
from makespan.schedulers.catalog import fifo
from makespan.schedulers.instances import Cluster, Instance
from makespan.schedulers.requests import Requests
from makespan.schedulers.sources import none
from makespan.schedulers.step_time import StepTime

DATA = os.environ.get("MAKESPAN_DATA")
LIMITS = Limits(128, 80_000, 4096)
REQUEST = {
    "request_id": "a",
    "input_toks": 20,
    "output_toks": 3,
    "arrival_time": 1000.0,
    "queued_ts": 5.0,
    "scheduled_ts": 5.0,
    "first_token_ts": 5.1,
    "last_token_ts": 5.2,
}


def made_step_time(folder: Path) -> StepTime:
    made.write_tables(folder)
    tables = read_layer_tables(folder, made.GPU, made.MODEL, 1)
    return layered_step_time(Deployment(tables, architecture_of(made.MODEL)), LIMITS)


def test_the_fit_finds_the_engine_that_the_tables_were_made_of(tmp_path: Path) -> None:
    step = made_step_time(tmp_path)
    prefill = step.prefill_steps
    assert prefill is not None
    layers = made.LAYERS * 1e-6
    assert step.seconds_per_kv_token == pytest.approx(made.KV * layers, rel=1e-6)
    assert prefill.seconds_per_kv_token == pytest.approx(made.PREFILL_KV * layers, rel=1e-6)
    assert prefill.seconds_per_pair == pytest.approx(made.PAIR * layers, rel=1e-4)
    assert prefill.seconds_per_decode == pytest.approx(made.DECODE * layers + made.HEAD_REQUEST * 1e-6, rel=1e-3)
    assert step.padded_kv_share == 0.05
    once = (made.HEAD + 1) * 1e-6
    alone = (made.WEIGHTS + made.TOKEN + made.DECODE) * layers + once + made.HEAD_REQUEST * 1e-6
    assert step(1) == pytest.approx(alone, rel=1e-6)
    assert prefill.seconds[-1] == pytest.approx(
        (made.WEIGHTS + 2048 * made.TOKEN) * layers + once + made.HEAD_REQUEST * 1e-6, rel=1e-4
    )


def test_a_profile_that_was_never_measured_uneven_costs_nothing_extra(tmp_path: Path) -> None:
    made.write_tables(tmp_path, share=None)
    assert read_layer_tables(tmp_path, made.GPU, made.MODEL, 1).padded_kv_share == 0


def written_run(folder: Path, instance: Instance, *, count: int = 40, clock: float = 123.456) -> Workload:
    """Write as measured what the simulator makes of an instance; the engine's clock is off by `clock`."""
    rng = np.random.default_rng(0)
    prompts, outputs = rng.integers(10, 900, count), rng.integers(5, 200, count)
    requests = Requests.of(prompts, outputs, arrival=np.sort(rng.uniform(0, 3, count)))
    workload = Workload("made", requests, outputs, "drawn")
    timeline = simulate(workload, Cluster.uniform(instance, 1), fifo, none(requests)).timeline
    start = requests.arrival.min()
    rows = [
        {
            "input_toks": int(prompts[row]),
            "output_toks": int(outputs[row]),
            "arrival_time": 1e9 + requests.arrival[row] - start,
            "queued_ts": clock + (requests.arrival[row] - start),
            "scheduled_ts": clock + (max(timeline.admitted[row], requests.arrival[row]) - start),
            "first_token_ts": clock + (timeline.first_token[row] - start),
            "last_token_ts": clock + (timeline.ended[row] - start),
        }
        for row in rng.permutation(count)
    ]
    made.write_run(folder, rows)
    return workload


def test_a_run_of_the_engine_of_the_tables_is_replayed_to_the_millisecond(tmp_path: Path) -> None:
    step = made_step_time(tmp_path)
    written_run(tmp_path, Instance(step, 80_000, 128, 2048, async_scheduling=True, keeps_kv=True))
    [replayed] = replay_all(list(read_replays(tmp_path)))
    errors = replayed.errors(list(MODELS)[-1])
    assert max(abs(error) for error in errors.values()) < 5e-3
    assert abs(replayed.errors(next(iter(MODELS)))["makespan"]) > abs(errors["makespan"])


def test_a_run_is_read_in_the_order_of_arrival_on_one_clock(tmp_path: Path) -> None:
    made.write_run(tmp_path, [REQUEST | {"arrival_time": 1000.5, "queued_ts": 5.6, "scheduled_ts": 5.6,
                                         "first_token_ts": 5.7, "last_token_ts": 5.8}, REQUEST])  # fmt: skip
    [run] = read_measured_runs(tmp_path)
    np.testing.assert_allclose(run.arrival, [0, 0.5])
    np.testing.assert_allclose(run.first_token, [0.1, 0.7])
    np.testing.assert_allclose(run.last_token, [0.2, 0.8])
    assert (run.kv_blocks, run.longest_context, run.name) == (5000, 23, "Llama-3.1-8B on RTXPRO6000")


def test_the_command_prints_and_writes_what_it_found(tmp_path: Path) -> None:
    written_run(tmp_path, Instance(made_step_time(tmp_path), 80_000, 128, 2048))
    done = run_command("replay", str(tmp_path), "--out", str(tmp_path / "out"), "--json")
    assert done.returncode == 0, done.stderr
    [record] = json.loads(done.stdout)
    assert record["requests"] == 40
    assert set(record["measured"]) == set(record["simulated"]) == set(record["error"])
    assert list(record["error_by_model"]) == list(MODELS)
    page = (tmp_path / "out" / "replay.md").read_text()
    assert "| Llama-3.1-8B on RTXPRO6000 |" in page
    assert (tmp_path / "out" / "replay.svg").read_text().startswith("<svg")
    [replay] = read_replays(tmp_path)
    assert load_profile(tmp_path / "out" / "llama-3.1-8b-rtxpro6000.json") == profile_of(replay)


def test_equal_replays_write_equal_bytes(tmp_path: Path) -> None:
    written_run(tmp_path, Instance(made_step_time(tmp_path), 80_000, 128, 2048))
    for name in ("first", "second"):
        write_replay(replay_all(list(read_replays(tmp_path))), tmp_path / name)
    for path in (tmp_path / "first").iterdir():
        assert path.read_bytes() == (tmp_path / "second" / path.name).read_bytes()


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"input_toks": None}, "requests.jsonl.gz, line 1: a request needs input_toks, got request_id, "),
        ({"output_toks": 0}, "line 1: output_toks must be a whole number of at least 1, got 0"),
        ({"output_toks": 1.5}, "line 1: output_toks must be a whole number of at least 1, got 1.5"),
        ({"first_token_ts": -1.0}, "line 1: first_token_ts must be a time, finite and not negative, got -1.0"),
        ({"last_token_ts": 5.05}, "line 1: a request must be queued, scheduled, begun and ended in this order"),
    ],
)
def test_a_request_that_cannot_be_names_its_line_and_the_rule(tmp_path: Path, change: dict[str, Any], rule: str) -> None:
    made.write_run(tmp_path, [{name: value for name, value in (REQUEST | change).items() if value is not None}])
    with pytest.raises(ValueError, match=re.escape(rule)) as caught:
        read_measured_runs(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "text", "rule"),
    [
        (
            "attention",
            "prefill_chunk,n_decode,kv_decode,time_us\n0,1,16,9\n",
            "needs a column kv_prefill, got prefill_chunk, ",
        ),
        ("attention", "prefill_chunk,kv_prefill,n_decode,kv_decode,time_us\n", "needs at least one row, got 0"),
        ("dense", "layer,tokens,time_us\nqkv_proj,1,-3\n", "line 2: time_us must be finite and not negative, got -3"),
        ("dense", "layer,tokens,time_us\nqkv_proj,one,3\n", "line 2: tokens must be a number, got 'one'"),
        ("dense", "tokens,time_us\n1,3\n", "needs a column layer, got tokens, time_us"),
    ],
)
def test_a_malformed_table_names_its_file_and_the_rule(tmp_path: Path, kind: str, text: str, rule: str) -> None:
    made.write_tables(tmp_path)
    [path] = tmp_path.glob(f"*{kind}.csv.gz")
    with gzip.open(path, "wt") as stream:
        stream.write(text)
    with pytest.raises(ValueError, match=re.escape(rule)) as caught:
        read_layer_tables(tmp_path, made.GPU, made.MODEL, 1)
    assert path.name in str(caught.value)


def test_what_is_missing_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    done = run_command("replay", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "no measured run here" in done.stderr
    made.write_run(tmp_path, [REQUEST])
    with pytest.raises(FileNotFoundError, match=r"tp1__attention\.csv\.gz: no such file"):
        list(read_replays(tmp_path))


@given(size=st.floats(1, 1e9), tokens=st.integers(1, 2048))
@settings(max_examples=50, deadline=None)
def test_a_pair_pays_for_its_collectives_and_for_nothing_else(size: float, tokens: int) -> None:
    empty = LayerTables(np.empty((0, 5)), {}, {}, np.empty((0, 3)), 0)
    model = Architecture(layers=10, hidden=64, vocabulary=1000, parameters=1, kv_heads=1, head_size=64)
    link, at = Link(1e-6, size), np.array([float(tokens)])
    assert Deployment(empty, model, 2).shared(at) == 0
    assert Deployment(empty, model, 1, link=link).shared(at) == 0
    assert Deployment(empty, model, 2, link=link).shared(at) == pytest.approx(21 * (2e-6 + tokens * 128 / size))
    assert Deployment(empty, model, 2, link=link).head(at) == pytest.approx(2e-6 + tokens * 1000 / size)


def test_ranks_that_share_experts_read_only_their_own() -> None:
    moe = np.array([[tokens, active, active * 1e-6] for tokens in (1, 1024) for active in (1, 4, 8)])
    model = Architecture(2, 64, 1000, 1, 1, 64, experts=8, experts_per_token=1)
    tables = LayerTables(np.empty((0, 5)), {}, {}, moe, 0)
    many = np.array([1000.0])
    assert Deployment(tables, model).shared(many) == pytest.approx(2 * 8e-6)
    assert Deployment(tables, model, ranks=2).shared(many) == pytest.approx(2 * 4e-6)


def test_a_deployment_that_was_not_modelled_is_refused() -> None:
    empty = LayerTables(np.empty((0, 5)), {}, {}, np.empty((0, 3)), 0)
    with pytest.raises(ValueError, match="one GPU or a pair, got tensor parallelism 2 of 2 data-parallel ranks"):
        Deployment(empty, architecture_of(made.MODEL), 2, 2)
    with pytest.raises(
        LookupError, match=r"unknown model 'meta-llama/Llama-3\.1-8'; did you mean 'meta-llama/Llama-3\.1-8B'"
    ):
        architecture_of("meta-llama/Llama-3.1-8")


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"prefill_steps": 3}, "prefill_steps must be an object, got 3"),
        ({"prefill_steps": {"speed": 1}}, "speed is no field of prefill_steps; they are tokens, seconds, "),
        ({"padded_kv_share": 2.0}, "padded_kv_share must be from 0 to 1, got 2.0"),
    ],
)
def test_a_profile_with_a_malformed_law_is_refused(tmp_path: Path, change: dict[str, Any], rule: str) -> None:
    made.write_tables(tmp_path)
    made.write_run(tmp_path, [REQUEST])
    [replay] = read_replays(tmp_path)
    with pytest.raises(ValueError, match=re.escape(rule)):
        Profile.of_json(profile_of(replay).as_json() | change)


@pytest.mark.skipif(DATA is None, reason="MAKESPAN_DATA names no folder of evaluation data")
def test_four_runs_of_vllm_are_replayed_within_ten_percent() -> None:
    replays = list(read_replays(Path(str(DATA)) / "gpu_profiles" / "llmservingsim"))
    assert len(replays) == 4
    whole = list(MODELS.values())[-1]
    errors = [_makespan_error(replay, whole) for replay in replays]
    assert np.median(errors) <= 0.05
    assert max(errors) <= 0.10


def _makespan_error(replay: Replay, model: Any) -> float:
    return abs(replay.simulate(model).figures["makespan"] / replay.measured.figures["makespan"] - 1)
