"""Requests that a bound may treat alike, and where on the axis of KV their tokens lie."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from makespan.schedulers.types import FloatArray, IntArray

_ONE_BY_ONE = 4096
_OUTPUT_BINS = 1024
_PROMPT_BINS = 8
_NODES = 40


@dataclass(frozen=True, slots=True, eq=False)
class RequestCells:
    """Cells of requests with one price of time each.

    Sums over the tokens of a cell are replaced by sums over nodes of KV. For a function of KV that is concave and
    increasing they are never too large: a chord lies below the function.

    Parameters
    ----------
    count, prompt_tokens, arrival
        Sums over the requests of each cell, shape (cells,).
    nodes
        Tokens of KV, increasing, shape (nodes,).
    tokens
        How many tokens count as made at each node, shape (cells, nodes).
    kv_left
        Token-steps of KV of all requests that the nodes do not account for, not negative.
    least_kv, most_kv
        Fewest and most tokens of KV that a request holds when it makes a token.
    """

    count: FloatArray
    prompt_tokens: FloatArray
    arrival: FloatArray
    nodes: FloatArray
    tokens: FloatArray
    kv_left: float
    least_kv: float
    most_kv: float

    @classmethod
    def of(cls, prompts: FloatArray, outputs: FloatArray, arrival: FloatArray) -> Self:
        """Put requests into cells, each into its own where they are few.

        A cell takes the least of its prompts and the mean of its outputs: a request makes its tokens at increasing KV,
        so what they cost is convex in its output and increasing in its prompt, and the sum only falls (Jensen).
        """
        least, most = float(prompts.min()), float((prompts + outputs).max()) - 1
        kv = float((outputs * prompts + outputs * (outputs - 1) / 2).sum())
        count = np.ones(len(prompts))
        if len(prompts) > _ONE_BY_ONE:
            cell = _bin(outputs, _OUTPUT_BINS) * _PROMPT_BINS + _bin(prompts, _PROMPT_BINS)
            used, cell = np.unique(cell, return_inverse=True)
            first = np.full(len(used), np.inf)
            np.minimum.at(first, cell, prompts)
            columns = np.stack([count, outputs, prompts, arrival])
            count, outputs, prompt_tokens, arrival = np.stack([np.bincount(cell, weights=column) for column in columns])
            outputs = outputs / count
        else:
            first = prompt_tokens = prompts
        nodes = _nodes(least, most)
        tokens = count[:, None] * _tokens_at(nodes, first, outputs)
        left = max(kv - float((tokens @ nodes).sum()), 0.0)
        return cls(count, prompt_tokens, arrival, nodes, tokens, left, least, most)


def _bin(values: FloatArray, bins: int) -> IntArray:
    low, high = float(values.min()), float(values.max())
    index: IntArray = np.minimum((values - low) * (bins / max(high - low, 1.0)), bins - 1).astype(np.int64)
    return index


def _nodes(least: float, most: float) -> FloatArray:
    """Return nodes that cover the axis, denser where KV is small; every token count where there are few."""
    if most - least < _NODES:
        return np.arange(least, most + 2, dtype=np.float64)
    nodes: FloatArray = np.unique(np.round(np.linspace(least**0.5, (most + 1) ** 0.5, _NODES) ** 2)).astype(np.float64)
    return nodes


def _tokens_at(nodes: FloatArray, first: FloatArray, outputs: FloatArray) -> FloatArray:
    """Return how many of the tokens made at first, first + 1 … count at each node, shape (requests, nodes).

    A token between two nodes counts at both, more at the nearer; part of a token is the part of the last one.
    """
    whole = np.floor(outputs)
    last = first + whole
    part = outputs - whole
    at = np.zeros((len(first), len(nodes)))
    for i in range(len(nodes) - 1):
        low, high = nodes[i], nodes[i + 1]
        begin, end = np.clip(first, low, high), np.clip(last, low, high)
        many = end - begin
        above = (many * (begin + end - 1) / 2 - low * many) / (high - low)
        here = (last >= low) & (last < high)
        many = many + part * here
        above += part * here * (last - low) / (high - low)
        at[:, i] += many - above
        at[:, i + 1] += above
    return at
