"""The command line as a user meets it: what it prints, and how it refuses."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_model import make_tiny_model

REQUIRED = {
    *("workload", "policy", "information", "profile", "instances", "requests", "makespan_s", "lower_bound_s", "gap"),
    *(
        "tail_time_s",
        "bubble",
        "preemptions",
        "wasted_tokens",
        "generated_tokens",
        "decide_s",
        "simulate_s",
        "seed",
        "schema",
    ),
}


def makespan(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from makespan.harness.cli import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_simulate_prints_one_object_with_everything_that_is_promised() -> None:
    sizes = ["--instances", "2", "--max-batch", "8", "--requests", "64", "--seed", "3"]
    done = makespan(
        "simulate", "--workload", "lognormal_1.0", "--policy", "lpt", "--information", "oracle", *sizes, "--json"
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert set(found) >= REQUIRED
    assert (found["policy"], found["instances"], found["requests"], found["seed"]) == ("lpt", 2, 64, 3)
    assert found["gap"] == pytest.approx(found["makespan_s"] / found["lower_bound_s"])


def test_the_lists_are_tables_for_people_and_json_for_machines() -> None:
    assert "fifo" in [row["policy"] for row in json.loads(makespan("policies", "--json").stdout)]
    assert "smollm2" in [row["workload"] for row in json.loads(makespan("workloads", "--json").stdout)]
    assert "Algorithm 2" in makespan("policies").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--policy", "ltp"], "unknown policy 'ltp'; did you mean 'lpt'?"),
        (["--information", "orakle"], "unknown information source 'orakle'; did you mean 'oracle'?"),
        (["--workload", "codemath_20kk"], "codemath_20k"),
        (["--instances", "0"], "a cluster needs at least one instance, got 0"),
        (["--max-batch", "0"], "batch limit must be at least 1, got 0"),
        (["--requests", "0"], "got"),
        (["--profile", "nowhere"], "streamrl-7b-h800"),
        (["--workload", "mine=nowhere.jsonl"], "nowhere.jsonl"),
        (["--workload", "lognormal_1.0", "--information", "noisy_oracle_11"], "between 0 and 10, got 11"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments: list[str], message: str) -> None:
    default = [] if "--workload" in arguments else ["--workload", "lognormal_1.0"]
    done = makespan("simulate", *default, *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert message in done.stderr


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('{"prompt": "a", "output_tokens": -3}', "line 2"),
        ('{"prompt": "a", "output_tokens": NaN}', "line 2"),
        ('{"prompt": "a"}', "line 2"),
        ('{"prompt": "a", "output_tokens": 3', "line 2"),
    ],
)
def test_a_malformed_row_names_file_and_line(row: str, message: str, tmp_path) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "mine.jsonl"
    file.write_text('{"prompt": "a", "output_tokens": 5}\n' + row + "\n")
    done = makespan("simulate", "--workload", f"mine={file}")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert str(file) in done.stderr
    assert message in done.stderr


def test_an_empty_workload_and_a_request_that_fits_nowhere_are_refused(tmp_path) -> None:  # type: ignore[no-untyped-def]
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    assert makespan("simulate", "--workload", f"mine={empty}").returncode == 2
    huge = tmp_path / "huge.jsonl"
    huge.write_text('{"prompt": "a", "prompt_tokens": 10, "output_tokens": 90000000}\n')
    done = makespan("simulate", "--workload", f"mine={huge}")
    assert done.returncode == 2
    assert "must fit the KV capacity of every instance" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--pipeline", "steam"], "unknown pipeline 'steam'; did you mean 'stream'?"),
        (["--information", "sibling"], "did you mean 'siblings'?"),
        (["--policy", "ltp"], "unknown policy 'ltp'; did you mean 'lpt'?"),
        (["--model", "nowhere"], "--model must be a Hugging Face folder with a config.json, got nowhere"),
        (["--task", "chain_summ"], "chain_sum"),
        (["--reward", "nowhere:function"], "a reward must be importable, got --reward nowhere:function"),
        (["--data", "nowhere.jsonl", "--reward", "math:sqrt"], "nowhere.jsonl: no such file"),
        (["--data", "prompts.jsonl"], "--data needs --reward"),
        (["--cap", "0"], "cap must be at least 1, got 0"),
        (["--samples", "1"], "samples must be at least 2"),
        (["--kv-gib", "1e6"], "--kv-gib must be positive and fit the memory of the machine"),
        (["--ray-address", "127.0.0.1:1"], "--ray-address must name a Ray cluster that answers, got 127.0.0.1:1"),
        (["--ray-address", "nonsense"], "--ray-address must be HOST:PORT or auto, got nonsense"),
        (["--steps", "0"], "steps must be at least 1, got 0"),
    ],
)
def test_training_refuses_in_one_line(
    arguments: list[str], message: str, tiny: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    model = [] if "--model" in arguments else ["--model", tiny]
    done = makespan("train", "--out", str(tmp_path_factory.mktemp("run") / "run"), *model, *arguments)
    assert done.returncode == 2, done.stderr
    [line] = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert message in line


def test_a_data_set_smaller_than_a_batch_is_refused(tiny: str, tmp_path: Path) -> None:
    data = tmp_path / "prompts.jsonl"
    data.write_text('{"prompt": "x"}\n' * 3)
    done = makespan("train", "--model", tiny, "--data", str(data), "--reward", "math:sqrt", "--prompts", "4")
    assert done.returncode == 2
    assert "--data must hold at least 4 prompts to train on, as many as --prompts, got 3" in done.stderr


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_tiny_model(tmp_path_factory.mktemp("model") / "tiny"))
