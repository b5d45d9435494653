"""Tasks and rewards: prompts as a function of seed and step, held-out ones apart, and errors that name the option."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from makespan.runtime import task as module
from makespan.runtime.reward import PASS, Reward, RewardError, load_reward, task_reward
from makespan.runtime.task import Task, TaskPrompt

SUMS = Task(name="chain_sum", config={"min_terms": 2, "max_terms": 4, "max_digits": 2})


def texts(prompts: list[TaskPrompt]) -> list[str]:
    return [prompt.text for prompt in prompts]


def test_prompts_depend_on_the_seed_and_the_step_alone() -> None:
    first = texts(SUMS.prompts(7, 5))
    SUMS.prompts(3, 2)
    again = Task(name="chain_sum", config={"min_terms": 2, "max_terms": 4, "max_digits": 2})
    assert texts(again.prompts(7, 5)) == first
    assert texts(SUMS.prompts(7, 8))[:5] == first
    assert texts(SUMS.prompts(8, 5)) != first
    assert texts(Task(name="chain_sum", config=SUMS.config, seed=1).prompts(7, 5)) != first


def test_another_process_with_another_hash_seed_draws_the_same_prompts() -> None:
    script = "from makespan.runtime.task import Task; print([p.text for p in Task(name='chain_sum').prompts(3, 4)])"
    ran = [
        subprocess.run(
            [sys.executable, "-c", script], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        )
        for seed in ("1", "2")
    ]
    assert ran[0].stdout == ran[1].stdout
    assert ran[0].stdout.decode().strip() == str(texts(Task(name="chain_sum").prompts(3, 4)))


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 100))
def test_training_never_draws_a_held_out_data_set_seed(seed: int, step: int, index: int) -> None:
    assert module._draw(f"{seed}:{step}:{index}") < module.HELD_OUT


def test_held_out_prompts_are_the_same_for_every_seed_of_training() -> None:
    held_out = texts(SUMS.held_out(6))
    assert texts(Task(name="chain_sum", config=SUMS.config, seed=9).held_out(6)) == held_out
    assert len(set(held_out)) == 6


@pytest.mark.parametrize("name", ["chain_sum", "gcd", "letter_counting", "number_sorting", "spell_backward"])
def test_the_right_answer_in_its_tags_passes_and_nothing_else_does(name: str) -> None:
    reward = task_reward(name)
    for prompt in Task(name=name).prompts(0, 5):
        answer = prompt.entry["answer"]
        assert reward(prompt, f"so it is <answer>{answer}</answer>") == PASS
        assert reward(prompt, f"<answer>wrong</answer> no, <answer>{answer}</answer>") == PASS
        assert reward(prompt, answer) == 0
        assert reward(prompt, "") == 0
        assert reward(prompt, f"<answer>{answer}") == 0
        assert reward(prompt, "<answer></answer>") < PASS


def test_an_instruction_stands_after_the_question() -> None:
    [prompt] = Task(name="gcd", instruction="Put the answer into tags.").prompts(0, 1)
    assert prompt.text == prompt.entry["question"] + "\nPut the answer into tags."


def test_a_task_is_written_with_its_configuration() -> None:
    parsed = Task.parse("chain_sum:min_terms=2, max_terms=4,max_digits=2", seed=3)
    assert parsed == Task(name="chain_sum", config=SUMS.config, seed=3)
    assert Task.parse("gcd") == Task(name="gcd")


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("chain_sums", r"a task must be a reasoning-gym data set, got 'chain_sums'; did you mean chain_sum\?"),
        ("chain_sum:max_terms", "a task must be written name:key=value,key=value, got 'chain_sum:max_terms'"),
        ("chain_sum:terms=3", r"the configuration of task chain_sum must suit it, got \{'terms': 3\}: .*unexpected"),
        ("chain_sum:min_terms=9", r"must suit it, got \{'min_terms': 9\}: max_terms must be >= min_terms"),
        ("chain_sum:max_terms=many", r"must suit it, got \{'max_terms': 'many'\}: .*not supported"),
        ("chain_sum:seed=3", "the configuration of a task must leave seed out, got 3"),
    ],
)
def test_a_task_that_cannot_be_is_refused_in_one_line(text: str, rule: str) -> None:
    with pytest.raises(ValueError, match=rule) as caught:
        Task.parse(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("function", "rule"),
    [
        (lambda *_: float("nan"), "of --reward m:f must give a finite number, got nan"),
        (lambda *_: float("-inf"), "of --reward m:f must give a finite number, got -inf"),
        (lambda *_: None, "of --reward m:f must give a finite number, got None"),
        (lambda *_: "1", "of --reward m:f must give a finite number, got '1'"),
        (lambda *_: 1 / 0, "of --reward m:f must not raise, got ZeroDivisionError: division by zero"),
        (lambda one: 1.0, "of --reward m:f must not raise, got TypeError: .*takes 1 positional argument"),
    ],
)
def test_a_reward_function_that_raises_or_gives_no_number_is_named_in_one_line(function: Any, rule: str) -> None:
    with pytest.raises(RewardError, match=rule) as caught:
        Reward(function, "--reward m:f")(SUMS.prompts(0, 1)[0], "3")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("given_back", "reward"), [(True, 1.0), (2, 2.0), (np.float32(0.5), 0.5), (-1.5, -1.5)])
def test_any_finite_number_is_a_reward(given_back: Any, reward: float) -> None:
    got = Reward(lambda *_: given_back, "--reward m:f")(SUMS.prompts(0, 1)[0], "3")
    assert got == reward
    assert type(got) is float


def test_a_users_reward_is_imported_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_rewards.py").write_text("def short(prompt, output, entry):\n    return -len(output)\nN = 1\n")
    (tmp_path / "broken_rewards.py").write_text("raise RuntimeError('two\\nlines')\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert load_reward("my_rewards:short")(SUMS.prompts(0, 1)[0], "four") == -4
    for path, rule in (
        ("my_rewards", "a reward must be written module:function, got --reward my_rewards"),
        ("my_rewards:long", "a reward must be importable, got --reward my_rewards:long: AttributeError"),
        ("no_rewards:short", "a reward must be importable, got --reward no_rewards:short: ModuleNotFoundError"),
        ("broken_rewards:short", "got --reward broken_rewards:short: RuntimeError: two lines"),
        ("my_rewards:N", "a reward must be a function, got int from --reward my_rewards:N"),
    ):
        with pytest.raises(ValueError, match=rule):
            load_reward(path)
