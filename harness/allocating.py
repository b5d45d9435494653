"""`makespan allocate`: how many GPUs for generation and how many for training, on a workload of one's own."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from makespan.harness.informations import make_information
from makespan.harness.workload import Workload
from makespan.runtime.parallelism import Stage, best_generation, best_training, profile_grid
from makespan.schedulers.allocation import Budget, Objective, Split, allocate, frontier
from makespan.schedulers.gpu import Gpu
from makespan.schedulers.layout import Layout
from makespan.schedulers.model_spec import ModelSpec
from makespan.schedulers.registry import load_policy
from makespan.schedulers.roofline import Efficiency
from makespan.schedulers.stage_profile import StageProfile
from makespan.schedulers.training_time import PPO, Passes
from makespan.schedulers.types import FloatArray, IntArray

HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Plan:
    """Every split worth having, and the one that was asked for.

    Parameters
    ----------
    chosen
        The answer.
    frontier
        Splits that no other beats in both time and cost, from the fastest to the cheapest.
    generation_layouts, training_layouts
        The layout of each stage on the numbers of GPUs that were simulated; empty where stage times were given.
    """

    chosen: Split
    frontier: tuple[Split, ...]
    generation_layouts: dict[int, Layout]
    training_layouts: dict[int, Layout]

    def rows(self) -> list[dict[str, Any]]:
        """Return the frontier as a table."""
        return [
            {
                "": "*" if split == self.chosen else "",
                "generation": _stage(split.generation_gpus, self.generation_layouts, split.generation_s),
                "training": _stage(split.training_gpus, self.training_layouts, split.training_s),
                "iteration": f"{split.seconds:,.1f} s",
                "cost": f"{split.cost:.4g}",
            }
            for split in self.frontier
        ]

    def as_json(self) -> dict[str, Any]:
        """Return the object that is printed for machines."""
        return {
            "chosen": _with_totals(self.chosen),
            "frontier": [_with_totals(split) for split in self.frontier],
            "generation_layouts": {str(gpus): asdict(layout) for gpus, layout in self.generation_layouts.items()},
            "training_layouts": {str(gpus): asdict(layout) for gpus, layout in self.training_layouts.items()},
        }


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """What an iteration has to do.

    Parameters
    ----------
    workload
        Prompts and the lengths of their outputs.
    model
        What is trained and generates.
    policy, information
        Names: who dispatches and what it knows.
    generation_gpu, training_gpu
        Kinds of GPU.
    passes
        What the algorithm computes on a sample.
    max_batch
        Most requests that an instance runs at once.
    """

    workload: Workload
    model: ModelSpec
    policy: str
    information: str
    generation_gpu: Gpu
    training_gpu: Gpu
    passes: Passes = PPO
    max_batch: int = 256

    def generation(self, gpus: int) -> tuple[Layout, float]:
        """Return the best layout of generation and its seconds."""
        requests, lengths = self.workload.requests, self.workload.output_tokens
        source = lambda: make_information(self.information, self.workload, 0)  # noqa: E731
        stage = Stage(requests, lengths, load_policy(self.policy), source)
        best = best_generation(self.model, self.generation_gpu, gpus, stage, Efficiency(), self.max_batch)
        return best.layout, best.seconds

    def training(self, gpus: int) -> tuple[Layout, float]:
        """Return the best layout of training and its seconds."""
        tokens = (self.workload.requests.prompt_tokens + self.workload.output_tokens).astype(np.float64)
        layout, _, seconds = best_training(self.model, self.training_gpu, gpus, tokens, Efficiency(), self.passes)
        return layout, seconds


def plan_job(job: Job, budget: Budget, objective: Objective = "time", cost_cap: float | None = None) -> Plan:
    """Return the plan for a job from specifications: each stage is simulated on some numbers of GPUs in every layout."""
    generation, generation_layouts = _profiled(job.generation, budget.choices("generation"), budget.granularity)
    training, training_layouts = _profiled(job.training, budget.choices("training"), budget.granularity)
    return _plan(generation.seconds, training.seconds, budget, objective, cost_cap, generation_layouts, training_layouts)


def plan_measured(
    profiles: tuple[StageProfile, StageProfile],
    batch: int,
    budget: Budget,
    objective: Objective = "time",
    cost_cap: float | None = None,
) -> Plan:
    """Return the plan from measured stage times for iterations of `batch` samples."""
    generation, training = profiles
    return _plan(
        lambda gpus: generation.seconds(gpus, batch),
        lambda gpus: training.seconds(gpus, batch),
        budget,
        objective,
        cost_cap,
        {},
        {},
    )


def draw_plan(plan: Plan, path: Path) -> None:
    """Draw the frontier: seconds of an iteration over its cost, each split named; the suffix of `path` says the format."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.4), layout="constrained")
    axes = figure.subplots()
    axes.plot([s.cost for s in plan.frontier], [s.seconds for s in plan.frontier], "o-", color="#0072B2")
    axes.plot([plan.chosen.cost], [plan.chosen.seconds], "o", markersize=11, fillstyle="none", color="#D55E00")
    named = plan.frontier[:: max(1, len(plan.frontier) // 12)]
    for split in {*named, plan.chosen}:
        words = f"{split.generation_gpus} + {split.training_gpus}"
        axes.annotate(words, (split.cost, split.seconds), xytext=(5, 5), textcoords="offset points", fontsize=9)
    axes.set(xlabel="Cost of an iteration", ylabel="Seconds of an iteration")
    axes.margins(0.12)
    axes.set_title("GPUs of generation + training; no split is faster and cheaper than one of these", fontsize=10)
    axes.grid(color="#DDDDDD", linewidth=0.6)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _profiled(
    stage: Callable[[int], tuple[Layout, float]], choices: IntArray, granularity: int
) -> tuple[StageProfile, dict[int, Layout]]:
    """Return a profile over what fits, and the layouts; the error of the largest size where none fits."""
    found: dict[int, tuple[Layout, float]] = {}
    sizes = profile_grid(int(choices[-1]), granularity)
    for gpus in reversed(sizes):
        try:
            found[gpus] = stage(gpus)
        except ValueError:
            if gpus == sizes[-1]:
                raise
            break
    fitting = sorted(found)
    return StageProfile.of(fitting, [found[n][1] for n in fitting]), {n: found[n][0] for n in fitting}


def _plan(
    generation: Callable[[IntArray], FloatArray],
    training: Callable[[IntArray], FloatArray],
    budget: Budget,
    objective: Objective,
    cost_cap: float | None,
    generation_layouts: dict[int, Layout],
    training_layouts: dict[int, Layout],
) -> Plan:
    chosen = allocate(generation, training, budget, objective, cost_cap)
    return Plan(chosen, tuple(frontier(generation, training, budget)), generation_layouts, training_layouts)


def _stage(gpus: int, layouts: dict[int, Layout], seconds: float) -> str:
    layout = f" ({layouts[gpus]})" if gpus in layouts else ""
    return f"{gpus:,}{layout}: {seconds:,.1f} s"


def _with_totals(split: Split) -> dict[str, Any]:
    return asdict(split) | {"seconds": split.seconds, "cost": split.cost}
