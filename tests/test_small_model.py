"""Small models: their tokenizer, their folder, and the recipe that trains one."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_model import make_tiny_model

from makespan.runtime.small_llama import LlamaShape
from makespan.runtime.small_tokenizer import train_tokenizer

SHAPE = LlamaShape(layers=1, width=64, heads=1, kv_heads=1, inner=64)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return train_tokenizer(["What is 12 + 3?\n"] * 2, vocabulary=300, context=64)


@given(st.text())
def test_a_small_tokenizer_gives_back_any_text(tokenizer: Any, text: str) -> None:
    encodable = text.encode(errors="ignore").decode()
    assert tokenizer.decode(tokenizer.encode(encodable, add_special_tokens=False)) == encodable


def test_digits_and_answer_tags_are_one_token_each(tokenizer: Any) -> None:
    assert len(tokenizer.encode("<answer>127</answer>", add_special_tokens=False)) == 5
    assert tokenizer.decode(tokenizer.encode("<answer>7</answer>"), skip_special_tokens=True) == "<answer>7</answer>"


def test_the_chat_template_ends_where_the_assistant_begins(tokenizer: Any) -> None:
    messages = [{"role": "user", "content": "1"}, {"role": "assistant", "content": "2"}]
    asked = tokenizer.apply_chat_template(messages[:1], tokenize=False, add_generation_prompt=True)
    answered = tokenizer.apply_chat_template(messages, tokenize=False)
    assert answered == asked + "2" + tokenizer.eos_token


def test_a_vocabulary_without_room_for_the_bytes_is_refused() -> None:
    with pytest.raises(ValueError, match="vocabulary must be at least 262, got 100"):
        train_tokenizer([], vocabulary=100, context=64)


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("layers", 0, "layers must be at least 1, got 0"),
        ("heads", 3, "width must be a multiple of heads, got 64 and 3"),
        ("kv_heads", 2, "kv_heads must divide heads, got 2 and 1"),
        ("spread", 0.0, "spread must be positive and finite, got 0.0"),
    ],
)
def test_a_shape_states_the_rule_that_a_value_breaks(field: str, value: Any, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        dataclasses.replace(SHAPE, **{field: value})


def test_the_same_seed_gives_the_same_model_file(tmp_path: Path) -> None:
    first, again, other = (make_tiny_model(tmp_path / name, seed) for name, seed in (("a", 0), ("b", 0), ("c", 1)))
    weights = [(folder / "model.safetensors").read_bytes() for folder in (first, again, other)]
    assert weights[0] == weights[1] != weights[2]
    assert (first / "tokenizer.json").read_bytes() == (other / "tokenizer.json").read_bytes()


def test_a_model_folder_is_never_overwritten_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "model")
    with pytest.raises(FileExistsError, match="never overwritten"):
        make_tiny_model(folder)
    assert list(tmp_path.iterdir()) == [folder]
