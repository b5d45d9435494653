"""Step-time profiles: the shipped ones, and files of one's own."""

import csv
import gzip
import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from makespan.runtime.profiles import SHIPPED, Profile, load_profile, profile_names

OURS = {
    "streamrl-7b-h800",
    "llama2-70b-h100-tp8",
    "llama2-70b-a100-tp8",
    "qwen3-32b-rtxpro6000-tp2",
    "llama3.1-8b-rtxpro6000",
}
GOOD = {
    "name": "mine",
    "running": [1, 8],
    "seconds": [0.01, 0.02],
    "seconds_per_kv_token": 1e-8,
    "seconds_per_prefill_token": 1e-5,
    "kv_capacity_tokens": 1600,
    "max_batch": 8,
    "max_batched_tokens": 64,
    "block_tokens": 16,
    "source": "a test",
}
DATA = os.environ.get("MAKESPAN_DATA")


def written(folder: Path, **changes: Any) -> Path:
    path = folder / "mine.json"
    path.write_text(json.dumps({key: value for key, value in (GOOD | changes).items() if value != "absent"}))
    return path


def test_the_published_profiles_ship() -> None:
    assert set(profile_names()) >= OURS


@pytest.mark.parametrize("name", profile_names())
def test_a_shipped_profile_is_whole_and_says_where_it_comes_from(name: str) -> None:
    profile = load_profile(name)
    assert profile.name == name
    assert len(profile.source) > 40
    assert f"`{name}`" in (SHIPPED / "README.md").read_text()


@pytest.mark.parametrize("name", profile_names())
def test_a_larger_batch_never_takes_less_time_and_never_gives_less_throughput(name: str) -> None:
    profile = load_profile(name)
    batch = np.arange(1, profile.max_batch + 1)
    seconds = profile.step_time(batch)
    assert (np.diff(seconds) >= 0).all()
    assert seconds[-1] / batch[-1] < seconds[0]


@pytest.mark.parametrize("name", profile_names())
def test_a_full_context_of_the_longest_published_request_fits_in_one_instance(name: str) -> None:
    assert load_profile(name).kv_capacity_tokens > 2048


def test_a_profile_gives_its_instance_and_takes_other_limits() -> None:
    profile = Profile.of_json(GOOD)
    assert profile.instance().max_batch == 8
    wider = profile.instance(max_batch=100, kv_capacity_tokens=320)
    assert (wider.max_batch, wider.kv_blocks, wider.max_batched_tokens) == (100, 20, 100)
    assert profile.mape is None


def test_a_file_is_read_by_its_path(tmp_path: Path) -> None:
    path = written(tmp_path, mape=0.02)
    assert load_profile(path) == load_profile(str(path)) == Profile.of_json(GOOD | {"mape": 0.02})


def test_an_unknown_name_lists_the_known_ones_and_the_nearest() -> None:
    with pytest.raises(LookupError, match="unknown profile 'streamrl-7b-h80'; did you mean 'streamrl-7b-h800'\\? Known: "):
        load_profile("streamrl-7b-h80")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"absent\.json: no such file"):
        load_profile(tmp_path / "absent.json")


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"running": "absent"}, "running must be a list of numbers, got None"),
        ({"running": [1, "8"]}, "running[1] must be a whole number, got '8'"),
        ({"running": [8, 1]}, "batch sizes must increase from at least 1, got (8, 1)"),
        ({"seconds": [0.01]}, "a step-time table needs as many seconds as batch sizes, got 1 and 2"),
        ({"seconds": [0.01, float("nan")]}, "step times must be positive and finite"),
        ({"seconds": [0.01, True]}, "seconds[1] must be a number, got True"),
        ({"seconds_per_kv_token": -1.0}, "seconds_per_kv_token must be finite and not negative, got -1.0"),
        ({"seconds_per_prefill_token": "absent"}, "seconds_per_prefill_token must be a number, got None"),
        ({"kv_capacity_tokens": 1.5}, "kv_capacity_tokens must be a whole number, got 1.5"),
        ({"kv_capacity_tokens": 3}, "KV capacity must be at least one block of 16 tokens, got 3"),
        ({"max_batch": 0}, "the batch limit must be at least 1, got 0"),
        ({"max_batched_tokens": 4}, "the token budget of a step must be at least the batch limit 8, got 4"),
        ({"block_tokens": 32}, "block_tokens must be 16, got 32"),
        ({"source": ""}, "source must not be empty, got ''"),
        ({"name": 3}, "name must be a text, got 3"),
        ({"mape": -0.1}, "mape must be finite and not negative, got -0.1"),
        ({"speed": 3}, "speed is no field of a profile; they are block_tokens, "),
    ],
)
def test_a_malformed_profile_names_its_file_the_field_and_the_rule(
    tmp_path: Path, changes: dict[str, Any], rule: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(f"mine.json: {rule}")) as caught:
        load_profile(written(tmp_path, **changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["{", "[]", ""])
def test_a_file_that_is_no_json_object_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"mine\.json: a profile must be"):
        load_profile(path)


@pytest.mark.skipif(DATA is None, reason="MAKESPAN_DATA names no folder of evaluation data")
@pytest.mark.parametrize("card", ["h100", "a100"])
def test_the_llama2_profiles_are_the_least_squares_fit_of_their_source(card: str) -> None:
    with gzip.open(Path(str(DATA)) / "gpu_profiles" / "splitwise-sim" / "perf_model.csv.gz", "rt") as stream:
        rows = [
            row
            for row in csv.DictReader(stream)
            if (row["model"], row["hardware"], row["tensor_parallel"]) == ("llama2-70b", f"{card}-80gb", "8")
        ]
    batch, prompt, seconds = (
        np.array([float(row[name]) for row in rows]) for name in ("batch_size", "prompt_size", "token_time")
    )
    design = np.stack([np.ones_like(batch), batch, batch * prompt], axis=1)
    fitted = np.linalg.lstsq(design, seconds / 1000, rcond=None)[0]
    profile = load_profile(f"llama2-70b-{card}-tp8")
    first, last = profile.step_time.seconds
    np.testing.assert_allclose([fitted[0] + fitted[1], fitted[0] + 64 * fitted[1]], [first, last], rtol=1e-4)
    np.testing.assert_allclose(fitted[2], profile.step_time.seconds_per_kv_token, rtol=1e-4)
