"""How many GPUs for generation and how many for training (StreamRL, arXiv 2504.15930, Algorithm 1)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from makespan.schedulers.types import FloatArray, IntArray

Seconds = Callable[[IntArray], FloatArray]
"""Seconds of a stage on each number of GPUs: infinite where it does not fit, never longer on more."""
Objective = Literal["time", "cost"]


def objective_of(name: str) -> Objective:
    """Return the objective of that name."""
    if name == "time":
        return "time"
    if name == "cost":
        return "cost"
    raise ValueError(f"an objective must be time or cost, got {name!r}")


@dataclass(frozen=True, slots=True)
class Split:
    """GPUs of each stage and what an iteration then takes when the stages run side by side.

    Parameters
    ----------
    generation_gpus, training_gpus
        At least 1 each.
    generation_s, training_s
        Seconds of the stages.
    price
        Price of all these GPUs per second, in the unit of the prices given.
    """

    generation_gpus: int
    training_gpus: int
    generation_s: float
    training_s: float
    price: float

    @property
    def seconds(self) -> float:
        """Seconds of an iteration: those of the slower stage."""
        return max(self.generation_s, self.training_s)

    @property
    def cost(self) -> float:
        """Price of an iteration."""
        return self.price * self.seconds


@dataclass(frozen=True, slots=True)
class Budget:
    """What may be used.

    Parameters
    ----------
    total
        GPUs in all; None for two data centres, where only the two limits hold.
    generation, training
        Most GPUs of each stage; None for no limit but the total.
    granularity
        GPUs come in multiples of this, for example 8 for whole machines.
    generation_price, training_price
        Price of one GPU of each kind per second, not negative.
    """

    total: int | None = None
    generation: int | None = None
    training: int | None = None
    granularity: int = 1
    generation_price: float = 1.0
    training_price: float = 1.0

    def __post_init__(self) -> None:
        if self.total is None and (self.generation is None or self.training is None):
            raise ValueError("a budget must be a total, or a limit for each of both stages, got neither")
        if self.granularity < 1:
            raise ValueError(f"the granularity of a budget must be at least 1 GPU, got {self.granularity}")
        for name, least in (("total", 2), ("generation", 1), ("training", 1)):
            value = getattr(self, name)
            if value is not None and value < least * self.granularity:
                words = f"{least * self.granularity} GPUs ({least} x {self.granularity})"
                raise ValueError(f"the {name} budget must be at least {words}, got {value}")
        if min(self.generation_price, self.training_price) < 0:
            raise ValueError(f"a price must not be negative, got {min(self.generation_price, self.training_price)}")

    def choices(self, stage: Literal["generation", "training"]) -> IntArray:
        """Return the numbers of GPUs that a stage may get, increasing."""
        limits = [
            limit for limit in (getattr(self, stage), None if self.total is None else self.total - 1) if limit is not None
        ]
        return np.arange(self.granularity, min(limits) + 1, self.granularity)


def frontier(generation: Seconds, training: Seconds, budget: Budget) -> list[Split]:
    """Return every split that no other beats in both seconds and cost, from the fastest to the cheapest.

    Exact. An iteration of T seconds needs at least the smallest x with generation(x) <= T and the smallest y with
    training(y) <= T; a split on the frontier is of this form for some T among the stage times. So O(n log n) splits are
    looked at, not n².

    Parameters
    ----------
    generation, training
        P_gen and P_train.
    budget
        What may be used.

    Raises
    ------
    ValueError
        When no split within the budget has room for both stages.
    """
    x, y = budget.choices("generation"), budget.choices("training")
    generation_s, training_s = _non_increasing(generation(x)), _non_increasing(training(y))
    goals = np.unique(np.concatenate([generation_s, training_s]))
    goals = goals[np.isfinite(goals) & (goals >= max(generation_s[-1], training_s[-1]))]
    # On a non-increasing column, how many entries exceed the goal.
    least_x = len(x) - np.searchsorted(generation_s[::-1], goals, side="right")
    least_y = len(y) - np.searchsorted(training_s[::-1], goals, side="right")
    fits = np.ones(len(goals), dtype=np.bool_) if budget.total is None else x[least_x] + y[least_y] <= budget.total
    if not fits.any():
        raise ValueError("a budget must hold both stages at once, got no split in which both fit")
    found: list[Split] = []
    for a, b in zip(least_x[fits].tolist(), least_y[fits].tolist(), strict=True):
        price = float(x[a] * budget.generation_price + y[b] * budget.training_price)
        split = Split(int(x[a]), int(y[b]), float(generation_s[a]), float(training_s[b]), price)
        if not found or split.cost < found[-1].cost:
            found.append(split)
    return found


def allocate(
    generation: Seconds,
    training: Seconds,
    budget: Budget,
    objective: Objective = "time",
    cost_cap: float | None = None,
) -> Split:
    """Return the fastest split, or the cheapest, perhaps among those that cost at most `cost_cap` per iteration.

    Of equally fast splits the cheapest is taken: the faster stage gives back GPUs that it does not need.

    Raises
    ------
    ValueError
        When nothing is cheap enough.
    """
    objective = objective_of(objective)
    splits = frontier(generation, training, budget)
    affordable = [s for s in splits if cost_cap is None or s.cost <= cost_cap]
    if not affordable:
        raise ValueError(f"the cost cap must be at least that of the cheapest split, {splits[-1].cost:g}, got {cost_cap:g}")
    return affordable[0] if objective == "time" else affordable[-1]


def algorithm_1(generation: Seconds, training: Seconds, gpus: int, granularity: int = 1) -> tuple[int, int]:
    """Return (x, y) of Algorithm 1 for one data centre exactly as printed: every pair, the first of the best."""
    choices = np.arange(granularity, gpus, granularity)
    generation_s, training_s = generation(choices), training(choices)
    best, found = np.inf, (0, 0)
    for k in range(len(choices)):
        rest = int(np.searchsorted(choices, gpus - choices[k], side="right"))
        if rest:
            latency = np.maximum(generation_s[k], training_s[:rest])
            if latency.min() < best:
                best, found = float(latency.min()), (int(choices[k]), int(choices[latency.argmin()]))
    if best == np.inf:
        raise ValueError(f"a budget must hold both stages at once, got {gpus} GPUs")
    return found


def algorithm_1_two_sites(
    generation: Seconds, training: Seconds, generation_gpus: int, training_gpus: int, granularity: int = 1
) -> tuple[int, int]:
    """Return (x, y) of Algorithm 1 for two data centres exactly as printed: the faster stage shrinks to match the slower.

    It takes the number whose time is nearest, which may be a little slower than the other stage.
    """
    x, y = np.arange(granularity, generation_gpus + 1, granularity), np.arange(granularity, training_gpus + 1, granularity)
    if not len(x) or not len(y):
        raise ValueError(f"both budgets must be at least {granularity} GPUs, got {generation_gpus} and {training_gpus}")
    generation_s, training_s = generation(x), training(y)
    if not (np.isfinite(generation_s[-1]) and np.isfinite(training_s[-1])):
        raise ValueError("each stage must fit its budget, got one that does not")
    if generation_s[-1] < training_s[-1]:
        return int(x[np.argmin(np.abs(generation_s - training_s[-1]))]), int(y[-1])
    return int(x[-1]), int(y[np.argmin(np.abs(training_s - generation_s[-1]))])


def _non_increasing(seconds: FloatArray) -> FloatArray:
    if (np.diff(np.where(np.isinf(seconds), np.finfo(np.float64).max, seconds)) > 0).any():
        raise ValueError("a stage must never take longer on more GPUs, got one that does")
    return seconds
