"""Small models: their tokenizer, their folder, and the recipe that trains one."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_model import make_tiny_model

from makespan.runtime.causal_lm import load_causal_lm, output_logprobs
from makespan.runtime.demonstrations import solve_chain_sum
from makespan.runtime.pretraining import Pretraining, imitation_loss, pretrain
from makespan.runtime.reward import PASS, task_reward
from makespan.runtime.small_llama import LlamaShape, new_llama
from makespan.runtime.small_tokenizer import train_tokenizer
from makespan.runtime.task import Task
from makespan.runtime.torch_sampling import chat_tokens, sample_outputs
from makespan.runtime.training_sample import TrainingSample

unhurried = settings(deadline=None)
SHAPE = LlamaShape(layers=1, width=64, heads=1, kv_heads=1, inner=64)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return train_tokenizer(["What is 12 + 3?\n"] * 2, vocabulary=300, context=64)


@unhurried
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


@unhurried
@given(st.integers(0, 10**6), st.booleans())
def test_worked_solutions_pass_and_every_running_total_is_right(step: int, negation: bool) -> None:
    [prompt] = Task(name="chain_sum", config={"max_terms": 8, "allow_negation": negation}).prompts(step, 1)
    solution = solve_chain_sum(prompt.entry)
    assert task_reward("chain_sum")(prompt, solution) == PASS
    totals = solution.split("<answer>")[0].split(" = ")
    for total, rest in zip(totals[1:], totals[:-1], strict=True):
        first, sign, term = rest.split()
        assert int(total.split()[0]) == int(first) + (int(term) if sign == "+" else -int(term))


def test_sampled_log_probabilities_are_those_that_the_trainer_computes(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "model")
    model = load_causal_lm(folder, device=torch.device("cpu"), dtype=torch.float32)
    tokenizer = train_tokenizer(["State the"] * 2, vocabulary=262, context=512)
    prompts = [chat_tokens(tokenizer, text) for text in ("12", "State the final 345", "")]
    drawn = sample_outputs(model, tokenizer, prompts, cap=40, seed=1, temperature=0.8)
    again = sample_outputs(model, tokenizer, prompts, cap=40, seed=1, temperature=0.8)
    for k, (prompt, sample) in enumerate(zip(prompts, drawn, strict=True)):
        assert np.array_equal(sample.tokens, again[k].tokens)
        ends = sample.tokens == tokenizer.eos_token_id
        assert len(sample.tokens) == 40 or ends[-1]
        assert not ends[:-1].any()
        whole = TrainingSample(k, 0, np.array(prompt), sample.tokens, sample.logprobs, reward=0.0, version=0)
        with torch.no_grad():
            expected = output_logprobs(model, [whole], temperature=0.8)
        np.testing.assert_allclose(sample.logprobs, expected.numpy(), atol=1e-4)


def test_sampling_follows_the_distribution_and_leaves_the_generator_of_torch_alone(tmp_path: Path) -> None:
    model = load_causal_lm(make_tiny_model(tmp_path / "model"), device=torch.device("cpu"), dtype=torch.float32)
    tokenizer = train_tokenizer(["State the"] * 2, vocabulary=262, context=512)
    prompt = chat_tokens(tokenizer, "7")
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    first = [int(sample.tokens[0]) for sample in sample_outputs(model, tokenizer, [prompt] * 4000, cap=1, seed=0)]
    assert torch.equal(torch.rand(2), expected)
    with torch.no_grad():
        probabilities = model(input_ids=torch.tensor([prompt])).logits[0, -1].softmax(-1).numpy()
    shares = np.bincount(first, minlength=len(probabilities)) / 4000
    # Five standard deviations of a share.
    assert (np.abs(shares - probabilities) < 5 * np.sqrt(probabilities / 4000) + 1e-3).all()


SMALL = Pretraining(shape=SHAPE, batch=4, most_steps=4, check_every=2, check_prompts=4, pass_rate=0.0, most_terms=3)


def test_the_same_recipe_gives_the_same_model_and_says_how_far_it_is(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    for name in ("a", "b"):
        assert pretrain(tmp_path / name, SMALL, lambda done, total: told.append((done, total))) == 0.0
    pretrain(tmp_path / "c", dataclasses.replace(SMALL, seed=1))
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in "abc"]
    assert weights[0] == weights[1] != weights[2]
    assert told == [(1, 4), (2, 4)] * 2
    load_causal_lm(tmp_path / "a", device=torch.device("cpu"), dtype=torch.float32)


def test_a_recipe_that_does_not_get_there_says_so_and_publishes_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"most_steps must suffice for a pass rate of 0\.9, got 0\.000 after 4"):
        pretrain(tmp_path / "model", dataclasses.replace(SMALL, pass_rate=0.9))
    assert not list(tmp_path.iterdir())
    (tmp_path / "model").mkdir()
    with pytest.raises(FileExistsError, match="never overwritten"):
        pretrain(tmp_path / "model", SMALL)


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("most_terms", 1, "most_terms must be at least 2, got 1"),
        ("pass_rate", 1.0, "pass_rate must be at least 0 and below 1, got 1.0"),
        ("learning_rate", float("nan"), "learning_rate must be positive and finite, got nan"),
        ("batch", 0, "batch must be at least 1, got 0"),
    ],
)
def test_a_recipe_states_the_rule_that_a_value_breaks(field: str, value: Any, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        dataclasses.replace(SMALL, **{field: value})


def test_imitation_learns_a_handful_of_solutions_by_heart() -> None:
    prompts = SMALL.task.prompts(0, 4)
    texts = [prompt.text + solve_chain_sum(prompt.entry) for prompt in prompts]
    tokenizer = train_tokenizer(texts, vocabulary=300, context=512)
    model = new_llama(SHAPE, tokenizer, seed=0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(100):
        loss = imitation_loss(model, tokenizer, prompts)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 4
    assert losses[-1] < 0.5
