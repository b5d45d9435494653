"""Samples that are open between iterations, one record each: which of them may be issued, and which make a step."""

from dataclasses import dataclass
from math import inf

import numpy as np

from makespan.runtime.engine_state import Records
from makespan.runtime.policy_answers import PolicyError
from makespan.schedulers.backlog import RoundPlan
from makespan.schedulers.requests import Requests
from makespan.schedulers.types import BoolArray, IntArray

SAMPLE = np.dtype(
    [
        ("number", np.int64),  # in the order of issue, never used again
        ("prompt", np.int64),
        ("draw", np.int64),
        ("generated", np.int64),
        ("finished", np.bool_),
        ("ended_s", np.float64),
        ("born", np.int64),  # version that made its first token
    ]
)


@dataclass(frozen=True, slots=True, eq=False)
class Issued:
    """The requests of one round, in the order of the plan.

    Parameters
    ----------
    rows
        Rows of the ledger. Shape (n,).
    requests
        As the stage sees them: what a sample has generated before is part of its prompt.
    output_tokens
        What each generates in this round unless it is stopped. Shape (n,).
    whole
        Whether its output ends with that. Shape (n,).
    """

    rows: IntArray
    requests: Requests
    output_tokens: IntArray
    whole: BoolArray


def check_plan(plan: RoundPlan, samples: Records, left: int, responses: int) -> None:
    """Refuse a plan that cannot be carried out with these samples open and so many prompts left.

    Raises
    ------
    PolicyError
        With the rule and what was asked for.
    """
    if not 0 <= plan.fresh <= left or (plan.fresh and plan.samples < responses):
        raise PolicyError(
            f"a round must issue at most the {left} prompts that are left, each at least {responses} times, "
            f"got {plan.fresh} prompts {plan.samples} times"
        )
    rows = np.asarray(plan.rows)
    inside = len(rows) == 0 or (rows.min() >= 0 and rows.max() < len(samples))
    if not inside or len(np.unique(rows)) < len(rows) or samples["finished"][rows].any():
        raise PolicyError(f"a round must go on with unfinished samples, each once, got rows {rows.tolist()[:5]}")
    if np.isin(samples["prompt"][rows], plan.dropped).any():
        raise PolicyError("a round must not go on with what it gives up, got a prompt that is in both")
    if plan.budget is not None and plan.budget < 1:
        raise PolicyError(f"a token budget must be at least 1, got {plan.budget}")


def ready_s(samples: Records, responses: int, wanted: int) -> float:
    """Return the moment at which `wanted` prompts have so many finished responses, infinite where they have not."""
    ended = samples["ended_s"]
    by_prompt = np.lexsort((ended, samples["prompt"]))
    _, begin, count = np.unique(samples["prompt"][by_prompt], return_index=True, return_counts=True)
    last = begin[count >= responses] + responses - 1
    complete = np.sort(ended[by_prompt[last]])
    return float(complete[wanted - 1]) if 0 < wanted <= len(complete) else inf


def oldest_samples(samples: Records, wanted: int, now_s: float) -> IntArray | None:
    """Return the rows of the first `wanted` samples that have finished by then, None while there are fewer."""
    ready: IntArray = np.flatnonzero(samples["finished"] & (samples["ended_s"] <= now_s))
    return ready[:wanted] if len(ready) >= wanted else None


def oldest_prompts(samples: Records, responses: int, wanted: int, now_s: float, *, in_order: bool) -> IntArray | None:
    """Return the rows of the oldest `wanted` complete prompts, of each the responses that finished first; None if fewer.

    Where it must be `in_order`, they are the oldest of all.
    """
    ready = np.flatnonzero(samples["finished"] & (samples["ended_s"] <= now_s))
    first = ready[np.lexsort((ready, samples["ended_s"][ready], samples["prompt"][ready]))]
    prompts, begin, count = np.unique(samples["prompt"][first], return_index=True, return_counts=True)
    complete = count >= responses
    if in_order:
        complete &= np.isin(prompts, np.unique(samples["prompt"])[:wanted])
    chosen = begin[complete][:wanted]
    if len(chosen) < wanted:
        return None
    rows: IntArray = first[(chosen[:, None] + np.arange(responses)).ravel()]
    return rows
