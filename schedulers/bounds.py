"""A proven lower bound on the makespan of any policy, clairvoyant ones included.

Model. There are instances of several kinds, N_i of kind i. A step of one that makes b tokens, whose requests hold S tokens
of KV, and computes q prompt tokens lasts at least ``table_i(b) + gamma_i * S + rho_i * q``; always b <= B_i, S <= C_i.
Request j arrives at r_j, has p_j prompt tokens and yields L_j tokens; the one numbered g = 0 ... L_j - 1 comes from a step
in which j holds ``k = p_j + g`` tokens of KV. A request is in at most one step at a time. Preemption, migration, chunking
and perfect foresight are allowed and free.

Charges. For each kind choose a slope and a direction (x, y), not negative, and let a step charge a token at k

    charge_i(k; b, S) = slope + gamma_i * k + (x + y * k) * (table_i(b) - slope * b) / (x * b + y * S).

Over the b tokens of a step, which hold S, the charges sum to ``table_i(b) + gamma_i * S``: all its time but prefill.

Theorem. For all prices mu_j >= 0 of a request's time and nu_i >= 0 of an instance's, every schedule has a makespan T with

    T * (sum_j mu_j + sum_i N_i * nu_i)
        >= r * sum_i N_i * nu_i + sum_j [ mu_j * r_j + p_j * min_i (mu_j + nu_i) * rho_i
           + sum_g min_{i, b, S} ( mu_j * (table_i(b) + gamma_i * S) + nu_i * charge_i(p_j + g; b, S) ) ],

where r is the first arrival and the inner minimum is over the steps that can make that token: 1 <= b <= B_i, and the others
in it hold something, ``k + (b - 1) * min p <= S <= C_i``.

Proof. Let t_s be the length of step s less its prefill time. The steps that contain j are disjoint in time and come after
r_j; together they compute its prompt. So with t(jg) the t_s of the step that makes token g, ``T >= r_j + sum_g t(jg) +`` the
rho_i of its prompt tokens. Steps on one instance are disjoint and come after r. So ``N_i * T >= N_i * r + sum of (t_s +
rho_i * q_s)`` over the steps of kind i, and t_s is at least the sum of its charges. Add the first with weights mu_j and the
second with weights nu_i. Every token then appears once, with mu_j times the length of its step and nu_i times its charge,
and every prompt token with (mu_j + nu_i) * rho_i. Replace each by its least value. QED.

With one kind and no KV costs, charging by count (x = 1, y = 0) leaves nothing out: where fractions of steps are allowed, the
best prices give the optimum of the linear program over (request, batch size), by its duality. With KV costs the direction
matters, and several are tried (`token_prices`). With a supporting line, ``table(b) >= alpha + beta * b``, slope = beta and
(x, y) = (beta, gamma), it becomes a closed form: ``N * T >= W + P + alpha * max(sum_j S_j**2 / (T - a_j), K / C, L / B)``.

The best prices. Both sides scale with the prices, so let the nu_i be given. The right side less the left is then a sum over
requests of functions of mu_j alone, and T is a bound as long as the sum of their maxima is not negative. As a function of T
that sum is convex and falls: Newton's method comes from a known bound below, and each of its iterates is a bound. The mu_j
are taken from a grid, and requests in a cell share one (`request_cells`). The nu_i of several kinds are searched for, from
equal prices, which are no worse than if every instance were as good as the best in every respect, and from prices at which
a mean token costs the same everywhere.

The longest request alone is added separately: T >= arrival_j + prefill of j in steps of at least table(1) each + its decode
steps with b = 1 and all their KV.

Where steps that prefill have a law of their own, or uneven contexts cost extra, the theorem holds with the line, gamma and
rho of `prefill_bound`: every step still lasts at least what the model above says of it.
"""

from dataclasses import dataclass

import numpy as np

from makespan.schedulers.instance_kinds import Kind, kinds_of
from makespan.schedulers.instances import BLOCK_TOKENS, Cluster
from makespan.schedulers.prefill_bound import base_ps, least_kv_ps, prefill_alone_ps
from makespan.schedulers.request_cells import RequestCells
from makespan.schedulers.requests import Requests
from makespan.schedulers.step_time import PICOSECONDS
from makespan.schedulers.token_prices import StepCharge
from makespan.schedulers.types import FloatArray, IntArray

_TIMES = np.geomspace(1e-7, 1e6, 72)
_REFINED = 2
_CHANGES = (2.0, 1.3, 1.1, 1.03)


def lower_bound(requests: Requests, output_tokens: IntArray, cluster: Cluster) -> float:
    """Return seconds that no schedule of these requests on this cluster can beat.

    Parameters
    ----------
    requests
        What is asked for, n requests.
    output_tokens
        How many tokens each yields, shape (n,).
    cluster
        Where they run.

    Returns
    -------
    float
        Seconds from time 0 to the last finish. O(n) and a part that does not depend on n.
    """
    kinds = kinds_of(cluster)
    prompts, outputs = _own_prompts(requests, cluster).astype(np.float64), output_tokens.astype(np.float64)
    arrival = requests.arrival * PICOSECONDS
    best = float((arrival + _alone_ps(prompts, outputs, kinds)).max())
    dual = _Dual(kinds, RequestCells.of(prompts, outputs, arrival), float(arrival.min()), best)
    # The sums above are floating point; their relative error is far below this margin.
    return dual.best() / PICOSECONDS * (1 - 1e-9)


def _own_prompts(requests: Requests, cluster: Cluster) -> IntArray:
    """Return the tokens of each prompt that no sibling can have computed, shape (n,).

    Where prompts are shared, a step may hold more contexts than fit, but not more of these tokens; each request prefills
    at least them.
    """
    if not any(instance.shares_prompts for instance in cluster):
        return requests.prompt_tokens
    _, index, counts = np.unique(
        np.stack([requests.group, requests.prompt_tokens]), axis=1, return_inverse=True, return_counts=True
    )
    shared = (requests.prompt_tokens - 1) // BLOCK_TOKENS * BLOCK_TOKENS
    own: IntArray = requests.prompt_tokens - np.where(counts[index.ravel()] > 1, shared, 0)
    return own


def _alone_ps(prompts: FloatArray, outputs: FloatArray, kinds: tuple[Kind, ...]) -> FloatArray:
    """Return picoseconds each request needs on an idle cluster, shape (n,); KV read by early chunks is left out."""
    kv = outputs * prompts + outputs * (outputs - 1) / 2
    step = min(float(base_ps(kind.instance)[1:].min()) for kind in kinds)
    decodes = (outputs - 1) * step + min(least_kv_ps(kind.instance) for kind in kinds) * kv
    alone: FloatArray = decodes + np.min([prefill_alone_ps(kind.instance, prompts) for kind in kinds], axis=0)
    return alone


@dataclass(frozen=True, slots=True, eq=False)
class _Dual:
    """The theorem's right side as a function of prices; `known` is a bound, in picoseconds, as is all time here."""

    kinds: tuple[Kind, ...]
    cells: RequestCells
    start: float
    known: float

    def best(self) -> float:
        """Return the largest bound found over charges and prices."""
        options = [StepCharge.all_of(kind) for kind in self.kinds]
        most = max(len(option) for option in options)
        schemes = [tuple(option[k * len(option) // most] for option in options) for k in range(most)]
        even = np.ones(len(self.kinds))
        found = []
        for scheme in schemes:
            bound, used = self._crossing(scheme, even, _TIMES, few=True)
            if bound > self.known:
                found.append((bound, even, used, scheme))
        found.sort(key=lambda entry: -entry[0])
        best = self.known
        for bound, prices, used, scheme in found[:_REFINED]:
            if len(self.kinds) > 1:
                prices, used = self._search(scheme, bound, used)
            fine = np.append(np.geomspace(used[0] / 2, used[1] * 2, 160), _TIMES[::6])
            best = max(best, self._crossing(scheme, prices, np.sort(fine), few=False)[0])
        return best

    def _search(
        self, scheme: tuple[StepCharge, ...], bound: float, used: tuple[float, float]
    ) -> tuple[FloatArray, tuple[float, float]]:
        """Return prices of instances, by changing one at a time as long as that raises the bound, and the range of mu."""
        cells = self.cells
        work = [
            float((cells.tokens @ charge.least(cells.nodes, np.zeros(1), 1.0, *self._kv, few=True)).sum())
            for charge in scheme
        ]
        best = (bound, np.ones(len(scheme)), used)
        even = work[0] / np.array(work)
        first = self._crossing(scheme, even, _TIMES, few=True)
        if first[0] > bound:
            best = (first[0], even, first[1])
        for change in _CHANGES:
            for i in range(len(scheme)):
                for factor in (change, 1 / change):
                    trial = best[1].copy()
                    trial[i] *= factor
                    found = self._crossing(scheme, trial, _TIMES, few=True)
                    if found[0] > best[0]:
                        best = (found[0], trial, found[1])
        return best[1], best[2]

    @property
    def _kv(self) -> tuple[float, float]:
        return self.cells.least_kv, self.cells.most_kv

    def _crossing(
        self, scheme: tuple[StepCharge, ...], prices: FloatArray, times: FloatArray, *, few: bool
    ) -> tuple[float, tuple[float, float]]:
        """Return the largest bound for these charges and prices of instances, or `known`, and the range of mu it uses."""
        cells = self.cells
        mu = np.append(0.0, times)
        priced = list(zip(scheme, prices.tolist(), strict=True))
        cost = np.min([c.least(cells.nodes, mu, price, *self._kv, few=few) for c, price in priced], axis=0)
        prefill = np.min([(mu + price) * c.prefill_ps for c, price in priced], axis=0)
        own = any(kind.instance.step_time.prefill_steps is not None for kind in self.kinds)
        prompts = cells.prompt_tokens - own * cells.count
        value = cells.tokens @ cost + np.outer(prompts, prefill) + np.outer(cells.arrival, mu)
        capacity = sum(price * charge.kind.count for charge, price in priced)
        fixed = cells.kv_left * min(price * c.kv_ps for c, price in priced) + capacity * self.start
        bound, cell = self.known, np.arange(len(cells.count))
        chosen = np.zeros(len(cell), dtype=np.int64)
        for _ in range(60):
            each = value - np.outer(cells.count, mu * bound)
            chosen = each.argmax(axis=1)
            left = float(each[cell, chosen].sum()) + fixed - capacity * bound
            if left <= 1e-11 * capacity * bound:
                break
            bound += left / (capacity + float((cells.count * mu[chosen]).sum()))
        used = mu[chosen[chosen > 0]]
        return bound, (float(used.min()), float(used.max())) if len(used) else (1.0, 1.0)
