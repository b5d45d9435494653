"""The trained ranker as an information source: by text alone, with history, and updated while the stage runs.

Each takes the folder of a trained ranker, ``ranker=DIR``. Without one, ``warm`` and ``live`` know nothing about text: they
start from shapes that any job may have, and learn from the earlier epoch, where there is one, and the siblings alone;
``live`` then also learns from the stage how common each shape is.
"""

from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import ClassVar

import numpy as np

from makespan.harness.encoder_choice import make_encoder, vectors
from makespan.harness.workload import Workload
from makespan.ranker.calibrated import Calibrated
from makespan.ranker.conformal import ConformalWindow
from makespan.ranker.evidence import Drift
from makespan.ranker.length_ranker import LengthRanker
from makespan.ranker.length_shapes import LengthShapes
from makespan.ranker.live_belief import LiveBelief
from makespan.ranker.model_folder import load_ranker
from makespan.ranker.shadow import Shadowed
from makespan.schedulers import sources
from makespan.schedulers.estimates import Estimates, Information
from makespan.schedulers.types import FloatArray, IntArray

_LEVELS = (0.1, 0.5, 0.9)

# How many groups of a stage weigh as much as knowing nothing about how common the shapes are; training is believed.
_UNTRAINED = 1.0


@dataclass(frozen=True, slots=True)
class Prior:
    """What is believed about each request before the stage starts.

    Parameters
    ----------
    shapes
        What lengths look like.
    text, all
        Log probability of each shape by the text alone, and with history. Shape (n, K) each.
    trusted
        Whether the text was shown to tell more than chance.
    """

    shapes: LengthShapes
    text: FloatArray
    all: FloatArray
    trusted: bool

    @property
    def score(self) -> FloatArray:
        """Mean log length of each request, shape (n,)."""
        score: FloatArray = self.shapes.posterior(self.all) @ self.shapes.log_mean
        return score


@dataclass(frozen=True, slots=True)
class RankerSource:
    """Makes the information source of one name.

    Parameters
    ----------
    name
        In results.
    history, live
        Whether it uses earlier epochs, and whether it learns during the stage.
    """

    name: str
    history: bool
    live: bool
    takes_path: ClassVar[bool] = True

    def __call__(self, workload: Workload, seed: int, path: str | None = None) -> Information:
        """Return the source for a workload; a ranker that was not shown to beat chance is not heard until it is."""
        if path is None and not self.history:
            raise ValueError(f"{self.name} needs the folder of a trained ranker, {self.name}=DIR, got none")
        prior = untrained_prior(workload) if path is None else trained_prior(workload, load_ranker(Path(path)))
        if self.live:
            groups = _UNTRAINED if path is None else inf
            believed: Information = LiveBelief(workload.requests, prior.shapes, prior.all, groups)
            heard = believed if path is None else self._shadowed(workload, prior, believed)
            return Calibrated(workload.requests, heard, ConformalWindow(_LEVELS[-1] - _LEVELS[0]))
        log_prior = prior.all if self.history else prior.text
        fixed = sources.Fixed(fixed_estimates(workload, prior.shapes, log_prior, self.name))
        return fixed if path is None else self._shadowed(workload, prior, fixed)

    def _shadowed(self, workload: Workload, prior: Prior, ranker: Information) -> Information:
        """Let the ranker be heard only where its text is proven; history and siblings speak for themselves."""
        blind = np.repeat(prior.shapes.log_weight[None, :], len(workload), axis=0)
        fallback = LiveBelief(workload.requests, prior.shapes, blind) if self.live else sources.none(workload.requests)
        return Shadowed(workload.requests, ranker, fallback, prior.score, prior.trusted)


ranker = RankerSource("ranker", history=False, live=False)
warm = RankerSource("warm", history=True, live=False)
live = RankerSource("live", history=True, live=True)


def trained_prior(workload: Workload, model: LengthRanker) -> Prior:
    """Return what a trained ranker believes about the prompts of a workload, each encoded once."""
    if workload.prompts is None:
        raise ValueError(f"a ranker needs the text of the prompts, got none in workload {workload.name}")
    encoder = make_encoder(model.encoder)
    model.check_encoder(encoder.name)
    _, first, group = np.unique(workload.requests.group, return_index=True, return_inverse=True)
    texts = [workload.prompts[row] for row in first]
    tokens = workload.requests.prompt_tokens[first]
    text = model.log_prior(model.scores_of(texts, tokens, vectors(encoder, texts)))
    known = model.history.knows(texts)
    remembered = model.history.log_prior(texts, model.shapes, model.drift, text)
    told = with_previous(workload, model.shapes, model.drift, text, first)
    both = np.where(known[:, None], remembered, told)
    return Prior(model.shapes, text[group], both[group], model.verdict.proven)


def untrained_prior(workload: Workload) -> Prior:
    """Return what can be believed without any training: the cap, and the earlier epoch where there is one."""
    shapes = LengthShapes.untrained(int(workload.requests.max_new_tokens.max()))
    _, first, group = np.unique(workload.requests.group, return_index=True, return_inverse=True)
    text = np.repeat(shapes.log_weight[None, :], len(first), axis=0)
    return Prior(shapes, text[group], with_previous(workload, shapes, Drift.usual(shapes), text, first)[group], True)


def with_previous(workload: Workload, shapes: LengthShapes, drift: Drift, text: FloatArray, first: IntArray) -> FloatArray:
    """Return the log prior of each group with its length in the previous epoch, taken as one sample, added."""
    if workload.previous_tokens is None:
        return text
    previous = workload.previous_tokens[first]
    known = np.flatnonzero(np.isfinite(previous))
    tokens = np.maximum(np.rint(previous[known]), 1).astype(np.int64)
    cut = tokens >= workload.requests.max_new_tokens[first][known]
    place = shapes.bins.of(tokens)
    said = np.where(cut[:, None], shapes.log_beyond.T[place], shapes.log_mass.T[place])
    prior = text.copy()
    if len(known):
        prior[known] = drift.log_prior(shapes, text[known] + said)
    return prior


def fixed_estimates(workload: Workload, shapes: LengthShapes, log_prior: FloatArray, name: str) -> Estimates:
    """Return expected lengths and quantiles that do not change while the stage runs."""
    belief = LiveBelief(workload.requests, shapes, log_prior)
    share = shapes.posterior(log_prior)
    quantiles = shapes.quantiles(share, _LEVELS, workload.requests.max_new_tokens.astype(np.float64))
    return Estimates(belief.expected_tokens(), name, _LEVELS, quantiles)
