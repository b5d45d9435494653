"""A workload: requests together with the truth about them."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from makespan.schedulers.requests import Requests
from makespan.schedulers.types import FloatArray, IntArray, at_least


@dataclass(frozen=True, slots=True, eq=False)
class Workload:
    """What is to be generated, and how long each output turns out to be.

    Parameters
    ----------
    name
        What it is called in results.
    requests
        What a policy may see.
    output_tokens
        True output lengths, at least 1, at most the cap. Shape (n,).
    source
        One sentence: where the lengths come from.
    previous_tokens
        Length of the same prompt in an earlier epoch, NaN where unknown; None when there is no earlier epoch. Shape (n,).
    prefix_hashes
        Per request the ids of its 512-token prompt blocks (equal ids share a prefix), or None.
    prompts
        Text of the prompt of each request, or None where there are no texts.
    """

    name: str
    requests: Requests
    output_tokens: IntArray
    source: str
    previous_tokens: FloatArray | None = None
    prefix_hashes: tuple[tuple[int, ...], ...] | None = None
    prompts: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        count = len(self.requests)
        for name in ("output_tokens", "previous_tokens", "prefix_hashes", "prompts"):
            column = getattr(self, name)
            if column is not None and len(column) != count:
                raise ValueError(f"{name} must have {count} rows, got {len(column)}")
        at_least(self.output_tokens, 1, "output_tokens")
        over = self.output_tokens > self.requests.max_new_tokens
        if over.any():
            row = int(over.argmax())
            raise ValueError(
                f"an output must not exceed its cap of {self.requests.max_new_tokens[row]} tokens, "
                f"got {self.output_tokens[row]} in row {row}"
            )

    def __len__(self) -> int:
        return len(self.requests)

    @property
    def tail_ratio(self) -> float:
        """Longest output over mean output."""
        return float(self.output_tokens.max() / self.output_tokens.mean())

    def choose(self, count: int, seed: int) -> Self:
        """Return `count` requests: whole groups in a seeded random order, the last one cut where it must be."""
        if not 1 <= count <= len(self):
            raise ValueError(f"workload {self.name} has {len(self)} requests, got a wish for {count}")
        if count == len(self):
            return self
        groups, position = np.unique(self.requests.group, return_inverse=True)
        turn = np.random.default_rng(seed).permutation(len(groups))[position]
        rows = np.lexsort((self.requests.sequence, turn))[:count]
        # Files are often sorted, by task or by data set, which a policy must not profit from; arrivals stay in order.
        chosen = self._take(rows[np.argsort(self.requests.arrival[rows], kind="stable")])
        return replace(chosen, requests=replace(chosen.requests, sequence=np.arange(count)))

    def shortened(self, cap: int) -> Self:
        """Return the same requests with a lower cap: what was longer ends there."""
        if cap < 1:
            raise ValueError(f"a cap must be at least 1, got {cap}")
        requests = self.requests
        return replace(
            self,
            requests=replace(requests, max_new_tokens=np.minimum(requests.max_new_tokens, cap)),
            output_tokens=np.minimum(self.output_tokens, cap),
            previous_tokens=None if self.previous_tokens is None else np.minimum(self.previous_tokens, cap),
        )

    def shrunk(self, factor: float) -> Self:
        """Return the same requests with outputs and caps times `factor`, rounded up: a shorter run with the same tail."""
        if not 0 < factor <= 1:
            raise ValueError(f"a factor must be above 0 and at most 1, got {factor}")
        if factor == 1:
            return self
        requests = self.requests
        return replace(
            self,
            requests=replace(requests, max_new_tokens=_shrunk(requests.max_new_tokens, factor)),
            output_tokens=_shrunk(self.output_tokens, factor),
            previous_tokens=None if self.previous_tokens is None else np.ceil(self.previous_tokens * factor),
            source=f"{self.source} Lengths times {factor:g}.",
        )

    def with_lengths(self, prompt_tokens: IntArray, output_tokens: IntArray) -> Self:
        """Return the same requests with prompts counted by another tokenizer and outputs as they turned out."""
        return replace(self, requests=replace(self.requests, prompt_tokens=prompt_tokens), output_tokens=output_tokens)

    def _take(self, rows: IntArray) -> Self:
        return replace(
            self,
            requests=self.requests.take(rows),
            output_tokens=self.output_tokens[rows],
            previous_tokens=None if self.previous_tokens is None else self.previous_tokens[rows],
            prefix_hashes=None if self.prefix_hashes is None else tuple(self.prefix_hashes[j] for j in rows),
            prompts=None if self.prompts is None else tuple(self.prompts[j] for j in rows),
        )


def _shrunk(tokens: IntArray, factor: float) -> IntArray:
    shrunk: IntArray = np.ceil(tokens * factor).astype(np.int64)
    return shrunk
