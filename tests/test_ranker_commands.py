"""The command line of the ranker as a user meets it, and the ranker as an information source."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ranker_cases import drawn

from makespan.harness.informations import make_information
from makespan.harness.length_workload import length_workload
from makespan.harness.ranker_commands import train
from makespan.harness.ranker_measurement import measure, measure_training
from makespan.harness.ranker_table import probe_rows, rows
from makespan.harness.workload import Workload
from makespan.ranker.assessment import MEASURES
from makespan.ranker.evaluation import RANKING, TARGETS
from makespan.ranker.length_ranker import LengthRanker
from makespan.ranker.metrics import tau
from makespan.ranker.prompt_groups import PromptGroups
from makespan.schedulers.estimates import Finished


def makespan(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from makespan.harness.cli import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def written(file: Path, groups: PromptGroups) -> Path:
    parts = np.split(groups.output_tokens, groups.starts[1:])
    with file.open("w") as out:
        for row in range(len(groups)):
            said = {"prompt": groups.prompt[row], "output_tokens": parts[row].tolist(), "task": groups.task[row]}
            out.write(json.dumps(said | {"cap": 3000, "version": groups.version[row] or "1"}) + "\n")
    return file


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained ranker and its data."""
    folder = tmp_path_factory.mktemp("ranker")
    data = written(folder / "train.jsonl", drawn(100, 4, 0, cap=3000)[0])
    done = makespan("ranker", "train", str(data), "--out", str(folder / "model"), "--encoder", "none", "--json")
    assert done.returncode == 0, done.stderr
    (folder / "train.json").write_text(done.stdout)
    return folder


def test_training_reports_every_measure_for_ranker_ceiling_and_baselines(folder: Path) -> None:
    found = json.loads((folder / "train.json").read_text())
    assert set(found["targets"]) == set(TARGETS)
    for target in found["targets"].values():
        assert set(target["model"]) == set(target["ceiling"]) == set(MEASURES)
        assert {"random", "prompt_length", "task_mean", "ridge"} <= set(target["baselines"])
        assert all(set(each) == set(MEASURES) for each in target["baselines"].values())
        low, high = target["interval"]["tau"]
        assert low <= target["model"]["tau"] <= high
    assert found["proven"]
    assert found["targets"]["group_mean"]["model"]["tau"] > found["targets"]["group_mean"]["baselines"]["random"]["tau"]
    assert set(found["after_probes"]) == {"1", "2"}
    for sources in found["after_probes"].values():
        assert set(sources) == {"belief", "probes", "seer", "ceiling"}
        assert all(set(each) == set(RANKING) for each in sources.values())


def test_the_page_opens_offline(folder: Path) -> None:
    page = (folder / "model" / "training.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page
    assert page.count("<svg") == 3
    assert "mathdefault" not in page


def test_a_saved_ranker_is_measured_on_unseen_prompts_and_on_another_version(folder: Path, tmp_path: Path) -> None:
    unseen = written(tmp_path / "unseen.jsonl", drawn(60, 4, 5, cap=3000)[0])
    found = json.loads(makespan("ranker", "evaluate", str(folder / "model"), str(unseen), "--json").stdout)
    assert (found["unseen"], found["known"], found["left_out"]) == (60, 0, 0)
    later = written(tmp_path / "later.jsonl", replace(drawn(100, 4, 0, cap=3000)[0], version=["2"] * 100))
    warm = json.loads(makespan("ranker", "evaluate", str(folder / "model"), str(later), "--json").stdout)
    assert (warm["unseen"], warm["known"], warm["left_out"]) == (0, 100, 0)
    of = warm["targets"]["group_mean"]
    assert of["model"]["tau"] > of["baselines"]["text_only"]["tau"]
    table = makespan("ranker", "evaluate", str(folder / "model"), str(unseen))
    assert "R@20" in table.stdout
    assert "ceiling" in table.stdout


def test_what_it_was_trained_on_is_no_test(folder: Path) -> None:
    done = makespan("ranker", "evaluate", str(folder / "model"), str(folder / "train.jsonl"))
    assert done.returncode == 2
    assert "must be measured on groups that it was not trained on" in done.stderr
    assert done.stderr.count("\n") == 1 or "prompts encoded" in done.stderr


def nearly_all_capped(groups: PromptGroups) -> PromptGroups:
    capped = np.arange(len(groups.output_tokens)) > 0
    return replace(groups, output_tokens=np.where(capped, 3000, groups.output_tokens), capped=capped)


def nearly_all_alike(groups: PromptGroups) -> PromptGroups:
    return replace(groups, output_tokens=np.where(np.arange(len(groups.output_tokens)) > 0, 7, 8))


@pytest.mark.parametrize("change", [nearly_all_capped, nearly_all_alike])
@pytest.mark.filterwarnings("error")
def test_what_the_data_does_not_define_is_null_and_no_error(change: Callable[[PromptGroups], PromptGroups]) -> None:
    groups = change(drawn(40, 3, 0, cap=3000)[0])
    ranker = LengthRanker.fit(groups, np.empty((40, 0)))
    trained = measure_training(ranker, groups, "data", 0.0)
    unseen = change(drawn(30, 3, 1, cap=3000)[0])
    for found in (trained, measure(ranker, unseen, np.empty((30, 0)), "data", 0.0)):
        assert (
            json.loads(json.dumps(found.as_json(), allow_nan=False))["targets"]["sample"]["model"]["recall_20"] is not None
        )
        assert all("nan" not in cell for target in TARGETS for line in rows(found, target) for cell in line)
        assert all("nan" not in cell for line in probe_rows(found) for cell in line)


def test_a_single_prompt_cannot_be_ranked() -> None:
    groups, _ = drawn(40, 3, 0)
    ranker = LengthRanker.fit(groups, np.empty((40, 0)))
    with pytest.raises(ValueError, match="a ranking needs at least two groups, got 1 of data"):
        measure(ranker, drawn(1, 3, 1)[0], np.empty((1, 0)), "data", 0.0)


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"", "at least one row of length data is needed"),
        (b'{"prompt": "\xff", "output_tokens": 3}\n', "utf-8"),
        (b'{"prompt": "a", "output_tokens": [3, 4]}\n' * 3, "at least 20 different prompts, got 1"),
        (
            b'{"prompt": "a", "output_tokens": 3, "model": "x"}\n{"prompt": "b", "output_tokens": 3, "model": "y"}\n',
            "one model",
        ),
        (b"".join(b'{"prompt": "%d", "output_tokens": 9, "cap": 9}\n' % k for k in range(30)), "before its cap, got 30"),
        (b"".join(b'{"prompt": "%d", "output_tokens": 9}\n' % k for k in range(30)), "lengths must differ"),
    ],
)
def test_data_that_cannot_be_used_is_one_line_and_exit_code_2(content: bytes, rule: str, tmp_path: Path) -> None:
    file = tmp_path / "lengths.jsonl"
    file.write_bytes(content)
    done = makespan("ranker", "train", str(file), "--out", str(tmp_path / "model"), "--encoder", "none")
    assert done.returncode == 2
    assert rule in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "model").exists()


def test_an_unknown_encoder_and_a_missing_model_are_named(folder: Path, tmp_path: Path) -> None:
    data = str(folder / "train.jsonl")
    done = makespan("ranker", "train", data, "--out", str(tmp_path), "--encoder", "bert")
    assert done.returncode == 2
    assert "an encoder must be none, minilm, minilm-int8, smollm2, a model folder" in done.stderr
    with pytest.raises(ValueError, match="--out must be a folder, got the file"):
        train(data, Path(data), "none")
    with pytest.raises(ValueError, match="a seed must be at least 0, got -1"):
        train(data, tmp_path, "none", seed=-1)
    done = makespan("ranker", "evaluate", str(tmp_path / "nowhere"), data)
    assert done.returncode == 2
    assert "no such file; a ranker is trained by" in done.stderr


@pytest.fixture(scope="module")
def workload(folder: Path) -> Workload:
    file = written(folder / "stage.jsonl", drawn(60, 4, 6, cap=3000)[0])
    return length_workload(file, "stage")


@pytest.mark.parametrize("name", ["ranker", "warm", "live"])
def test_a_trained_ranker_informs_a_policy(folder: Path, workload: Workload, name: str) -> None:
    source = make_information(f"{name}={folder / 'model'}", workload, 0)
    before = source.estimate(workload.requests).point
    assert tau(before, workload.output_tokens.astype(float)) > 0.4
    first = np.flatnonzero(np.diff(workload.requests.group, prepend=-1))
    source.observe(Finished(first, workload.output_tokens[first]))
    after = source.estimate(workload.requests).point
    if name == "live":
        others = np.setdiff1d(np.arange(len(workload)), first)
        truth = workload.output_tokens[others].astype(float)
        assert tau(after[others], truth) > tau(before[others], truth)
    else:
        np.testing.assert_array_equal(before, after)


def test_live_needs_no_training_and_ranker_does(folder: Path, workload: Workload) -> None:
    live = make_information("live", workload, 0)
    assert np.ptp(live.estimate(workload.requests).point) == 0
    warm = make_information("warm", replace(workload, previous_tokens=workload.output_tokens.astype(float)), 0)
    assert tau(warm.estimate(workload.requests).point, workload.output_tokens.astype(float)) > 0.5
    with pytest.raises(ValueError, match="ranker needs the folder of a trained ranker, ranker=DIR, got none"):
        make_information("ranker", workload, 0)
    with pytest.raises(ValueError, match="information source cap takes no path, got x"):
        make_information("cap=x", workload, 0)
    with pytest.raises(ValueError, match="needs the text of the prompts"):
        make_information(f"ranker={folder / 'model'}", replace(workload, prompts=None), 0)


def test_simulate_takes_a_trained_ranker(folder: Path) -> None:
    stage = f"stage={folder / 'stage.jsonl'}"
    sizes = ["--instances", "2", "--max-batch", "8", "--profile", "streamrl-7b-h800"]
    for policy in ("pull_lpt", "ranker_guided"):
        source = f"live={folder / 'model'}"
        done = makespan("simulate", "--workload", stage, "--policy", policy, "--information", source, *sizes, "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["information"] == "live"
