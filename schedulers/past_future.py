"""Past-Future admission: a request may start if the peak of KV that is to come still fits (ASPLOS 2025)."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from makespan.schedulers.draws import uniform
from makespan.schedulers.instances import BLOCK_TOKENS
from makespan.schedulers.types import FloatArray, IntArray
from makespan.schedulers.view import FINISHED, QUEUED, RUNNING, View


def peak_tokens(used: IntArray, remaining: IntArray) -> int:
    """Return the most KV tokens that requests hold together at any time, if each grows by a token a step and then leaves.

    Just before the k-th longest ends, the k longest are there and each has grown by what the k-th had left, so the peak
    is the largest ``sum of used + k * remaining`` over the k longest; O(n log n).

    Parameters
    ----------
    used, remaining
        Tokens held now, and tokens still to come, of each request. Shape (n,).
    """
    if not len(used):
        return 0
    longest_first = np.argsort(-remaining)
    held = np.cumsum(used[longest_first])
    return int((held + np.arange(1, len(used) + 1) * remaining[longest_first]).max())


@dataclass(frozen=True, slots=True)
class PastFuture:
    """Admit as many as keep the predicted peak within the KV capacity, and slots.

    Parameters
    ----------
    predict
        Where lengths come from. ``"past"``, as published: a draw from the lengths that have finished so far, given what the
        request has generated; the cap while none is that long. ``"estimate"``: the estimate, 1.1 times what has been
        generated once that is more (as in the released code). ``"cap"`` is the conservative admission it is compared
        with, ``"now"`` the aggressive one, which counts what is held and nothing else.
    slack_tokens
        Added to every prediction (6 in the released code).
    seed
        Of the draws; each belongs to a request.

    Notes
    -----
    Gong et al., Past-Future Scheduler (arXiv 2507.10150), and LightLLM's ``ChunkedPrefillQueue``. The released code has
    "to do" where the paper draws from the past. KV there has no blocks; here each request is counted the most that a partly
    filled block can waste. Its limit on prompt tokens of one step is the engine's business here. An instance with nothing
    inside admits one request whatever is predicted.
    """

    predict: Literal["past", "estimate", "cap", "now"] = "past"
    slack_tokens: int = 6
    seed: int = 0

    def __post_init__(self) -> None:
        if self.predict not in ("past", "estimate", "cap", "now"):
            raise ValueError(f"a prediction must be past, estimate, cap or now, got {self.predict}")
        if self.slack_tokens < 0:
            raise ValueError(f"slack tokens must not be negative, got {self.slack_tokens}")

    def admit(self, view: View, instance: int, rows: IntArray) -> int:
        """Return the longest prefix whose peak, with what is inside, fits."""
        inside = np.flatnonzero((view.instance == instance) & ((view.state == QUEUED) | (view.state == RUNNING)))
        rows = rows[: max(0, int(view.cluster.max_batch[instance]) - len(inside))]
        together = np.concatenate([inside, rows])
        used = view.requests.prompt_tokens[together] + view.generated[together] + BLOCK_TOKENS
        remaining = self._remaining(view, together)
        capacity = int(view.cluster.kv_blocks[instance]) * BLOCK_TOKENS
        few, many = 0, len(rows)
        while few < many:  # a further request never lowers the peak
            middle = (few + many + 1) // 2
            count = len(inside) + middle
            fits = peak_tokens(used[:count], remaining[:count]) <= capacity
            few, many = (middle, many) if fits else (few, middle - 1)
        return few if len(inside) else max(few, min(1, len(rows)))

    def _remaining(self, view: View, rows: IntArray) -> IntArray:
        if self.predict == "now":
            return np.zeros(len(rows), dtype=np.int64)
        generated, cap = view.generated[rows], view.requests.max_new_tokens[rows]
        if self.predict == "past":
            length = self._drawn(view, rows)
        elif self.predict == "estimate":
            length = np.maximum(view.estimates.point[rows], 1.1 * generated)
        else:
            length = cap
        remaining: IntArray = np.maximum(np.ceil(np.minimum(length, cap)).astype(np.int64) - generated - 1, 0)
        return remaining + self.slack_tokens

    def _drawn(self, view: View, rows: IntArray) -> IntArray | FloatArray:
        """Return a length for each row from those of finished requests that are longer than what it has generated."""
        past = np.sort(view.generated[view.state == FINISHED])
        first = np.searchsorted(past, view.generated[rows], side="right")
        longer = len(past) - first
        draws = uniform(self.seed, view.requests.sequence[rows], stream=15)
        lengths: IntArray = view.requests.max_new_tokens[rows].copy()
        some = longer > 0
        lengths[some] = past[first[some] + (draws[some] * longer[some]).astype(np.int64)]
        return lengths
