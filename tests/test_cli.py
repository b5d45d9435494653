"""The command line as a user meets it: what it prints, and how it refuses."""

import json
import subprocess
import sys

import pytest

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
