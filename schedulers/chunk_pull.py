"""Seer's choice of an instance for the next chunk of a request (divided rollout, arXiv 2511.14617)."""

from dataclasses import dataclass
from heapq import heapify, heappop, heapreplace

import numpy as np

from makespan.schedulers.instances import BLOCK_TOKENS
from makespan.schedulers.types import IntArray
from makespan.schedulers.view import NOWHERE, View


@dataclass(frozen=True, slots=True)
class ChunkPull:
    """The next request in order goes to the instance with the most free KV, if that holds it to the end of its chunk.

    What other requests will hold at the end of their chunks is not free, so that none is preempted. If the next request
    fits nowhere, it and all after it wait.

    Parameters
    ----------
    chunk_tokens
        Tokens of a chunk; that of the policy.

    Notes
    -----
    Section 3.2 and Algorithm 2 (``SELECTINSTANCE`` is given there by its arguments, KV use and the tokens of the chunk). A
    request is taken to have begun its chunk at a multiple of the chunk, as one does that was never interrupted. One that
    would not fit an empty instance with a whole chunk, though it does with its real length, is let in alone.
    """

    chunk_tokens: int

    def __post_init__(self) -> None:
        if self.chunk_tokens < 1:
            raise ValueError(f"a chunk must be at least 1 token, got {self.chunk_tokens}")

    def place(self, view: View, rows: IntArray) -> IntArray:
        """Return instances for as many of `rows` as can start now."""
        order, limit = view.cluster.by_sequence, view.cluster.max_batch
        slots = limit - view.in_flight
        open_turns = np.flatnonzero(slots[order] > 0)
        if not len(open_turns):
            return np.empty(0, dtype=np.int64)
        placed = np.flatnonzero((view.instance != NOWHERE) & ~view.ended)
        held = np.bincount(view.instance[placed], self._blocks(view, placed), len(order)).astype(np.int64)
        free = view.cluster.kv_blocks - held
        heap = [(-int(free[i]), turn) for turn, i in zip(open_turns.tolist(), order[open_turns], strict=True)]
        heapify(heap)
        rows = rows[: int(slots[order[open_turns]].sum())]
        chosen: list[int] = []
        for blocks in self._blocks(view, rows).tolist():
            if not heap:
                break
            room, turn = -heap[0][0], heap[0][1]
            instance = int(order[turn])
            alone = slots[instance] == limit[instance]
            if blocks > room and not alone:
                break
            chosen.append(instance)
            slots[instance] -= 1
            if slots[instance]:
                heapreplace(heap, (blocks - room, turn))
            else:
                heappop(heap)
        return np.array(chosen, dtype=np.int64)

    def _blocks(self, view: View, rows: IntArray) -> IntArray:
        """Return the KV blocks of each row at the end of its chunk."""
        ends = (view.generated[rows] // self.chunk_tokens + 1) * self.chunk_tokens
        tokens = view.requests.prompt_tokens[rows] + np.minimum(ends, view.requests.max_new_tokens[rows])
        blocks: IntArray = -(-tokens // BLOCK_TOKENS)
        return blocks
