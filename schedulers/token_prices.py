"""What making one token costs at least, when the time of its request and the time of its instance have prices.

This is the inner minimum of the theorem in `bounds`, over all steps that an instance could make.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from makespan.schedulers.instance_kinds import Kind
from makespan.schedulers.prefill_bound import base_ps, either_ps, least_kv_ps, prefill_rate_ps
from makespan.schedulers.supporting_lines import supporting_lines
from makespan.schedulers.types import FloatArray, IntArray

_SLOPES = 9
_FEW = 48
_CHUNK = 2**18
_TINY = 1e-250


@dataclass(frozen=True, slots=True, eq=False)
class StepCharge:
    """How a step of one kind of instance is charged to the tokens it makes.

    A token made by a request that holds k tokens of KV, in a step that makes b tokens of requests that hold S, is charged
    ``slope + gamma * k + (by_count + by_kv * k) * (table(b) - slope * b) / (by_count * b + by_kv * S)``, so that the
    charges of a step add up to ``table(b) + gamma * S``, which it lasts at least besides its prefill.

    Parameters
    ----------
    kind
        The instances.
    table
        Least picoseconds of a step that makes 1 … B tokens, never falling, shape (B,).
    kv_ps, prefill_ps
        Picoseconds per token of KV and per prompt token.
    slope, by_count, by_kv
        As above; none negative.
    """

    kind: Kind
    table: FloatArray
    kv_ps: float
    prefill_ps: float
    slope: float
    by_count: float
    by_kv: float

    @classmethod
    def all_of(cls, kind: Kind) -> list[Self]:
        """Return the ways that are worth trying: by count, by KV, and by what a line below the table says of each token."""
        base = base_ps(kind.instance)
        table = np.minimum.accumulate(base[:0:-1].astype(np.float64))[::-1]
        kv = float(least_kv_ps(kind.instance))
        lines = _thinned(supporting_lines(base))
        law = kind.instance.step_time.prefill_steps
        if law is not None:
            # Below those lines a prompt token may cost nothing, for a step of few made tokens has room for it; below these
            # it costs what a made one does.
            lines += _thinned(supporting_lines(either_ps(kind.instance, law)))
        charges: list[Self] = []
        for alpha, beta in lines:
            prefill = prefill_rate_ps(kind.instance, alpha, beta)
            # What a prompt token beside a step costs is known for a line only, where prefill steps have their own law.
            below: FloatArray = table if law is None else alpha + beta * np.arange(1, len(table) + 1, dtype=np.float64)
            directions = [(1.0, 0.0), (0.0, 1.0), (beta, kv)]
            # By count a slope says nothing: the whole table is shared evenly. Without KV a line shares by count, too.
            directions = directions[bool(charges) and law is None : 3 if beta * kv else 2]
            charges += [cls(kind, below, kv, float(prefill), beta, *direction) for direction in directions]
        return charges

    def least(
        self, nodes: FloatArray, times: FloatArray, price: float, least_kv: float, most_kv: float, *, few: bool
    ) -> FloatArray:
        """Return the least cost of a token made at each node of KV, shape (nodes, prices).

        As a function of KV it is concave and never falls: where a step could not be made for want of KV, it is allowed.

        Parameters
        ----------
        nodes
            Tokens of KV that its request holds, shape (nodes,).
        times
            Prices of a picosecond of the request's time, not negative, shape (prices,).
        price
            Price of a picosecond of the instance's time, positive.
        least_kv, most_kv
            Fewest and most tokens of KV that any request holds.
        few
            Look at some batch sizes only: quick, and no bound.
        """
        batch = np.arange(1, len(self.table) + 1)
        if few and len(batch) > _FEW:
            batch = np.unique(np.geomspace(1, len(batch), _FEW).astype(int))
        step = max(_CHUNK // (len(batch) * len(times)), 1)
        parts = np.split(nodes, range(step, len(nodes), step))
        return np.concatenate([self._least(part, batch, times, price, least_kv, most_kv) for part in parts])

    def _least(
        self, held: FloatArray, batch: IntArray, times: FloatArray, price: float, least_kv: float, most_kv: float
    ) -> FloatArray:
        table, held = self.table[batch - 1], held[:, None, None]
        fewest = (batch - 1) * least_kv
        fits = batch * most_kv <= self.kind.kv_tokens
        most = np.where(fits, (batch - 1) * most_kv, np.maximum(self.kind.kv_tokens - held, fewest))
        shared = price * (self.by_count + self.by_kv * held) * (table - self.slope * batch)
        size = self.by_count * batch + self.by_kv * held
        worth = times[:, None]
        if self.by_kv == 0:
            others = fewest
        elif self.kv_ps == 0:
            others = most
        else:
            # More KV of others makes the step longer and the share smaller; the best is where both change alike.
            balance = np.sqrt(np.maximum(shared, 0) / np.maximum(worth * (self.kv_ps * self.by_kv), _TINY))
            others = np.clip(balance - size / self.by_kv, fewest, most)
        cost = worth * (table + self.kv_ps * (held + others)) + shared / (size + self.by_kv * others)
        least: FloatArray = cost.min(axis=2) + price * (self.slope + self.kv_ps * held[:, :, 0])
        return least


def _thinned(lines: list[tuple[float, float]]) -> list[tuple[float, float]]:
    if len(lines) <= _SLOPES:
        return lines
    return [lines[k] for k in np.linspace(0, len(lines) - 1, _SLOPES).astype(int)]
