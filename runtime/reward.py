"""Rewards: the scorer of a reasoning-gym task, or a user's own function, both held to finite numbers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from math import isfinite
from numbers import Real
from typing import Any

from makespan.runtime.task import TaskPrompt

RewardFunction = Callable[[str, str, Mapping[str, Any]], float]
"""From the prompt, the output and the entry of the data set (question, answer, metadata) to a reward."""

PASS = 1.0
"""The score of a right answer in reasoning-gym; less is partial credit."""


class RewardError(ValueError):
    """A reward function raised or gave something else than a finite number."""


@dataclass(frozen=True)
class Reward:
    """A checked reward function.

    Parameters
    ----------
    function
        What is asked.
    origin
        The option it came from, for messages.
    """

    function: RewardFunction
    origin: str

    def __call__(self, prompt: TaskPrompt, output: str) -> float:
        """Score an output.

        Raises
        ------
        RewardError
            If the function raises, or gives NaN, an infinity or no number at all.
        """
        try:
            reward = self.function(prompt.text, output, prompt.entry)
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise RewardError(f"the reward function of {self.origin} must not raise, got {reason}") from error
        if not isinstance(reward, Real) or not isfinite(reward):
            raise RewardError(f"the reward function of {self.origin} must give a finite number, got {reward!r}")
        return float(reward)


def task_reward(name: str) -> Reward:
    """Give the scorer of a reasoning-gym task; the answer is what stands between ``<answer>`` and ``</answer>``.

    An output without the tags scores 0.
    """
    gym: Any = import_module("reasoning_gym")
    extract_answer = import_module("reasoning_gym.utils").extract_answer
    score = gym.get_score_answer_fn(name)

    def function(_: str, output: str, entry: Mapping[str, Any]) -> float:
        answer = extract_answer(output)
        return 0.0 if answer is None else score(answer, entry)

    return Reward(function, f"--task {name}")


def load_reward(path: str) -> Reward:
    """Import a user's reward function from ``module:function``.

    Raises
    ------
    ValueError
        If there is no such thing; the message names the option.
    """
    origin = f"--reward {path}"
    module, colon, name = path.partition(":")
    if not (module and colon and name):
        raise ValueError(f"a reward must be written module:function, got {origin}")
    try:
        function = getattr(import_module(module), name)
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"a reward must be importable, got {origin}: {reason}") from error
    if not callable(function):
        raise ValueError(f"a reward must be a function, got {type(function).__name__} from {origin}")
    return Reward(function, origin)
