"""Workloads drawn from a shape: groups of siblings, their prompts, and an earlier epoch."""

from dataclasses import dataclass
from math import sqrt

import numpy as np

from makespan.harness.shapes import LogNormal, Shape
from makespan.harness.workload import Workload
from makespan.schedulers.requests import Requests

BETWEEN_PROMPTS = 0.83
"""Share of the variance of log lengths that lies between prompts: DeepSeek-R1 on 108 ARC-AGI-1 prompts (414 samples)."""

PROMPTS = LogNormal(median=250, sigma=0.6, cap=2048)
"""Prompt tokens: 1 % above 1,000. StreamRL's are mostly below 1K; the other sources publish none."""


@dataclass(frozen=True, slots=True)
class Generator:
    """A workload with a published shape; called as a registered workload is, with no path.

    Parameters
    ----------
    name
        What the workload is called.
    shape
        How long its outputs are.
    requests
        How many there are in one stage, at least 1; another number may be asked for.
    group_size
        Samples of each prompt, at least 1.
    source
        One sentence: where shape and sizes come from.

    Notes
    -----
    Equal seeds give equal workloads, and a smaller number of requests gives the first ones of a larger number. Siblings and
    the earlier epoch of a prompt share `BETWEEN_PROMPTS` of the variance of their scores.
    """

    name: str
    shape: Shape
    requests: int
    group_size: int
    source: str

    def __post_init__(self) -> None:
        for field in ("requests", "group_size"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field} must be at least 1, got {getattr(self, field)}")

    def __call__(self, path: str | None = None, requests: int | None = None, seed: int = 0) -> Workload:
        """Draw the workload."""
        if path is not None:
            raise ValueError(f"workload {self.name} is drawn from a distribution and takes no path, got {path}")
        count = self.requests if requests is None else requests
        if count < 1:
            raise ValueError(f"workload {self.name} needs at least one request, got a wish for {count}")
        groups = -(-count // self.group_size)
        group = np.arange(count) // self.group_size
        prompts, between, within, earlier = map(np.random.default_rng, np.random.SeedSequence(seed).spawn(4))
        shared = sqrt(BETWEEN_PROMPTS) * between.standard_normal(groups)
        own = sqrt(1 - BETWEEN_PROMPTS)
        previous = self.shape.lengths(shared + own * earlier.standard_normal(groups))
        return Workload(
            name=self.name,
            requests=Requests.of(
                PROMPTS.lengths(prompts.standard_normal(groups))[group],
                np.full(count, self.shape.cap),
                group=group,
            ),
            output_tokens=self.shape.lengths(shared[group] + own * within.standard_normal(count)),
            source=self.source,
            previous_tokens=previous[group].astype(np.float64),
        )
