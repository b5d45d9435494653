"""`makespan allocate` as a user meets it."""

import json
from pathlib import Path
from typing import Any

import pytest

from makespan.harness.cli import app, main
from makespan.runtime.stage_profile_file import load_stage_profiles

QUICK = ["--requests", "64", "--workload", "codemath_5k"]


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["makespan", "allocate", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


def test_it_prints_the_frontier_and_draws_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    picture = tmp_path / "pictures" / "plan.svg"
    assert run(monkeypatch, "--gpus", "24", *QUICK, "--out", str(picture), "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["chosen"] == found["frontier"][0]
    assert found["chosen"]["generation_gpus"] + found["chosen"]["training_gpus"] <= 24
    costs = [split["cost"] for split in found["frontier"]]
    assert costs == sorted(costs, reverse=True)
    assert picture.read_text().lstrip().startswith("<?xml")
    assert run(monkeypatch, "--gpus", "24", *QUICK, "--out", str(picture)) == 0
    assert "from the fastest to the cheapest" in capsys.readouterr().out


def test_two_sites_of_different_hardware_are_limited_apart(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    sites = ["--generation-gpus", "16", "--training-gpus", "8", "--generation-gpu", "H20"]
    assert run(monkeypatch, *sites, *QUICK, "--objective", "cost", "--out", str(tmp_path / "p.png"), "--json") == 0
    chosen = json.loads(capsys.readouterr().out)["chosen"]
    assert chosen["generation_gpus"] <= 16
    assert chosen["training_gpus"] <= 8
    price = (chosen["generation_gpus"] * 1.0 / 8 + chosen["training_gpus"] * 2.85 / 8) / 3600
    assert chosen["price"] == pytest.approx(price)


def measured(tmp_path: Path, content: Any) -> Path:
    path = tmp_path / "times.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def points(**changed: Any) -> dict[str, Any]:
    stage = [{"gpus": n, "batch": 256, "seconds": 100.0 / n} for n in (1, 2, 4)]
    return {"generation": [stage[0] | changed, *stage[1:]], "training": stage}


def test_measured_stage_times_take_the_place_of_specifications(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = measured(tmp_path, points())
    arguments = ["--times", str(path), "--batch", "256", "--granularity", "1", "--gpus", "4", "--json"]
    assert run(monkeypatch, *arguments, "--out", str(tmp_path / "p.svg")) == 0
    chosen = json.loads(capsys.readouterr().out)["chosen"]
    assert (chosen["generation_gpus"], chosen["training_gpus"], chosen["seconds"]) == (2, 2, pytest.approx(50.0))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--gpus", "0"], "the total budget must be at least 16 GPUs (2 x 8), got 0"),
        ([], "a budget must be a total, or a limit for each of both stages"),
        (["--gpus", "16", "--gpu", "H8000"], "unknown kind of GPU 'H8000'; did you mean 'H800'"),
        (["--gpus", "16", "--model", "qwen2.5-70b"], "did you mean 'qwen2.5-7"),
        (["--gpus", "16", "--model", "kimi-k2", *QUICK], "kimi-k2 must fit the memory"),
        (["--gpus", "16", "--gpu", "A100", "--objective", "cost"], "needs the price of a machine, got none for A100"),
        (["--gpus", "16", "--objective", "speed"], "an objective must be time or cost, got 'speed'"),
        (["--gpus", "16", "--algorithm", "dpo"], "an algorithm must be ppo or grpo, got 'dpo'"),
        (["--gpus", "16", "--cost-cap", "0", *QUICK], "the cost cap must be at least that of the cheapest split"),
        (["--gpus", "16", "--policy", "ltp", *QUICK], "did you mean 'lpt'"),
        (["--gpus", "16", "--times", "nowhere.json"], "nowhere.json"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, *arguments) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert message in lines[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "must be valid JSON"),
        ({"generation": []}, "with generation and training, got something else"),
        ({"generation": {}, "training": []}, "generation must be a list of points, got dict"),
        ({"generation": [3], "training": []}, r"generation\[0\] must be an object, got int"),
        (
            {"generation": [{"gpus": 1, "seconds": 2}], "training": []},
            r"generation\[0\] must have a whole number as its batch",
        ),
        (points(cards=3), "must have only gpus, batch, seconds, got 'cards'"),
        (points(gpus=1.5), "a whole number as its gpus, got 1.5"),
        (points(seconds=True), "a number as its seconds, got True"),
        (points(seconds=-1), "positive and finite time, got -1 s on 1 GPUs"),
        (points(gpus=2), "got a repeated point"),
        ({"generation": [], "training": []}, "needs at least one point"),
    ],
)
def test_a_bad_file_of_times_is_named_with_its_entry(content: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message) as error:
        load_stage_profiles(measured(tmp_path, content))
    assert str(error.value).startswith(f"{tmp_path / 'times.json'}: ")


def test_a_profile_that_misses_the_batch_size_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = measured(tmp_path, points())
    assert run(monkeypatch, "--times", str(path), "--gpus", "16", "--batch", "1024") == 2
    assert "a profile must hold the batch size 1024, got only 256" in capsys.readouterr().err


def test_the_command_is_listed() -> None:
    assert {"allocate", "sweep"} <= {command.callback.__name__ for command in app.registered_commands if command.callback}
