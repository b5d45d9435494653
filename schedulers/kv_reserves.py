"""Admissions that keep KV back, so that what runs is not preempted."""

from dataclasses import dataclass

import numpy as np

from makespan.schedulers.instances import BLOCK_TOKENS
from makespan.schedulers.types import IntArray
from makespan.schedulers.view import QUEUED, RUNNING, View


@dataclass(frozen=True, slots=True)
class ReserveOutput:
    """Admit while the whole of every request, prompt and believed output, fits the KV (BatchLLM, arXiv 2412.03594).

    Where an estimate has been exceeded, one more token than there is counts. An instance with nothing inside admits one
    request whatever is believed.
    """

    def admit(self, view: View, instance: int, rows: IntArray) -> int:
        """Return the longest prefix that fits, and slots."""
        inside = _inside(view, instance)
        rows = rows[: max(0, int(view.cluster.max_batch[instance]) - len(inside))]
        free = int(view.cluster.kv_blocks[instance]) - int(self._blocks(view, inside).sum())
        fits = int(np.searchsorted(np.cumsum(self._blocks(view, rows)), free, side="right"))
        return fits if len(inside) else max(fits, min(1, len(rows)))

    @staticmethod
    def _blocks(view: View, rows: IntArray) -> IntArray:
        output = np.maximum(np.ceil(view.estimates.point[rows]), view.generated[rows] + 1)
        output = np.minimum(output, view.requests.max_new_tokens[rows])
        return _blocks_of(view.requests.prompt_tokens[rows] + output.astype(np.int64))


@dataclass(frozen=True, slots=True)
class ReserveNextStep:
    """Admit what fits now and leaves the blocks that running requests need next, and a margin.

    Parameters
    ----------
    margin_blocks, most_blocks
        What is added to the need of the next step, and the most that is kept back in all; vllm-ascend's defaults
        (``BatchJobSchedConfig``).
    """

    margin_blocks: int = 2
    most_blocks: int = 8

    def __post_init__(self) -> None:
        if self.margin_blocks < 0:
            raise ValueError(f"a margin of blocks must not be negative, got {self.margin_blocks}")
        if self.most_blocks < 0:
            raise ValueError(f"the most blocks kept back must not be negative, got {self.most_blocks}")

    def admit(self, view: View, instance: int, rows: IntArray) -> int:
        """Return the longest prefix that fits, and slots."""
        inside = _inside(view, instance)
        rows = rows[: max(0, int(view.cluster.max_batch[instance]) - len(inside))]
        held = view.requests.prompt_tokens + view.generated
        next_step = int((held[inside] % BLOCK_TOKENS == 0).sum())
        kept_back = min(next_step + self.margin_blocks, self.most_blocks)
        free = int(view.cluster.kv_blocks[instance]) - int(_blocks_of(held[inside]).sum()) - kept_back
        fits = int(np.searchsorted(np.cumsum(_blocks_of(held[rows])), free, side="right"))
        return fits if len(inside) else max(fits, min(1, len(rows)))


def _inside(view: View, instance: int) -> IntArray:
    rows: IntArray = np.flatnonzero((view.instance == instance) & ((view.state == QUEUED) | (view.state == RUNNING)))
    return rows


def _blocks_of(tokens: IntArray) -> IntArray:
    return -(-tokens // BLOCK_TOKENS)
