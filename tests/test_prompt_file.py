"""A user's own prompts: every one is trained on once an epoch, held-out ones never."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from makespan.runtime.prompt_file import PromptFile


def rows(count: int) -> tuple[dict[str, str], ...]:
    return tuple({"prompt": f"question {k}"} for k in range(count))


@given(st.integers(10, 60), st.integers(1, 9), st.integers(0, 5))
def test_an_epoch_has_every_prompt_once(count: int, batch: int, seed: int) -> None:
    source = PromptFile(rows(count), batch, seed)
    texts = [prompt.text for step in range(2 * source.trained) for prompt in source.prompts(step, batch)]
    for epoch in range(2):
        some = texts[epoch * source.trained : (epoch + 1) * source.trained]
        assert len(set(some)) == len(some)
    held = {prompt.text for prompt in source.held_out(count)}
    assert not held & set(texts)
    assert len(held) == count - source.trained


def test_a_step_is_a_function_of_its_number() -> None:
    one, other = PromptFile(rows(40), 4, 1), PromptFile(rows(40), 4, 1)
    assert [p.text for p in one.prompts(7, 4)] == [p.text for p in other.prompts(7, 4)]


def test_a_set_smaller_than_a_batch_names_the_option() -> None:
    with pytest.raises(ValueError, match="--data must hold at least 8 prompts to train on, as many as --prompts, got 5"):
        PromptFile(rows(5), 8)


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("{", ":2: a row must be a JSON object"),
        ('{"text": "x"}', ":2: prompt must be a text"),
        ("[1]", ":2: prompt must be"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, line: str, rule: str) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text(json.dumps({"prompt": "x"}) + "\n" + line + "\n")
    with pytest.raises(ValueError, match=rule):
        PromptFile.read(file, 1)
