"""What is refused of a model folder before an engine starts."""

import json
from pathlib import Path

import pytest
from tiny_model import CONTEXT, make_tiny_model

from makespan.runtime import servable
from makespan.runtime.servable import kv_bytes_per_token, longest_request, read_config


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


def test_a_small_model_takes_its_whole_context(model: Path) -> None:
    assert longest_request(model, cap=100, kv_gib=0.1) == CONTEXT


def test_the_bytes_of_a_token_are_those_of_its_layers(model: Path) -> None:
    for number_bytes in (2, 4):
        assert kv_bytes_per_token(read_config(model), number_bytes) == 2 * number_bytes * 2 * 1 * 64


@pytest.mark.parametrize(
    ("cap", "kv_gib", "rule"),
    [
        (600, 0.1, "--cap must leave room for a prompt in the model's context of 512 tokens, got 600"),
        (100, 1e-5, "--kv-gib must hold a request of --cap 100 tokens and its prompt, got 1e-05 for 20 tokens"),
        (100, 1e6, "--kv-gib must be positive and fit the memory of the machine"),
        (100, 0.0, "--kv-gib must be positive"),
    ],
)
def test_what_does_not_fit_names_the_option(
    model: Path, cap: int, kv_gib: float, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servable, "fitting_dtype", lambda: "bfloat16")
    with pytest.raises(ValueError, match=rule):
        longest_request(model, cap=cap, kv_gib=kv_gib)


@pytest.mark.parametrize(("dtype", "tokens"), [("bfloat16", 100), ("float32", 50)])
def test_half_as_many_tokens_fit_where_numbers_are_twice_as_long(
    model: Path, dtype: str, tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servable, "fitting_dtype", lambda: dtype)
    assert longest_request(model, cap=1, kv_gib=100 * 512 / 2**30) == tokens


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"--model must be a Hugging Face folder with a config\.json, got"):
        longest_request(tmp_path, cap=1, kv_gib=0.1)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"--model must have a config\.json that is JSON"):
        longest_request(tmp_path, cap=1, kv_gib=0.1)
    (tmp_path / "config.json").write_text(json.dumps({}))
    with pytest.raises(ValueError, match="--model must name its architecture"):
        longest_request(tmp_path, cap=1, kv_gib=0.1)
