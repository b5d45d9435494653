"""State of the simulated cluster as flat records, in the form that compiled functions read and write."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from makespan.schedulers.instances import Cluster
from makespan.schedulers.prefill_step_time import PrefillStepTime
from makespan.schedulers.requests import Requests
from makespan.schedulers.step_time import StepTime
from makespan.schedulers.types import IntArray

Records = NDArray[Any]
"""A structured array; fields are read as ``records[i].name`` in compiled code, ``records["name"]`` outside."""

NOTHING: Final = -1
NEVER: Final = 2**62

# What a request does when the present span ends; a number >= 0 is the instance it moves to.
STAY: Final = -1
LEAVE: Final = -2
BACK: Final = -3  # to the dispatcher: its instance leaves the cluster, and its KV is lost
HELD: Final = -4  # to the dispatcher, as the policy wants it

REQUEST = np.dtype(
    [
        ("prompt", np.int64),  # with what tools have added to it
        ("first_prompt", np.int64),  # without
        ("group", np.int64),
        ("shares", np.int64),  # blocks of its prompt in use by others too, if they have the same `copy_of`
        ("copy_of", np.int64),  # the request that computed them
        ("output", np.int64),
        ("key", np.float64),  # smaller is admitted earlier; the largest is preempted first
        ("counter", np.int64),  # breaks ties of `key`
        ("generated", np.int64),
        ("turn_end", np.int64),  # having generated so many its turn is over, or it has ended
        ("stop", np.int64),  # having generated so many it goes back to the dispatcher, or has ended
        ("computed", np.int64),  # tokens whose KV is held
        ("reached", np.int64),  # most tokens ever computed; below it, computing is recomputing
        ("chunk", np.int64),  # tokens scheduled in the present step
        ("state", np.int64),
        ("instance", np.int64),
        ("exit", np.int64),
        ("pooled", np.int64),  # tokens whose KV travels with it until it is admitted again
        ("fetched", np.int64),  # whether this KV comes to the instance, or must be found there
        ("on_its_way", np.int64),  # whether it has yet to come
        ("ready_ps", np.int64),  # when it has
        ("behind", np.int64),  # the request whose KV comes next
        ("moved", np.int64),  # tokens of KV brought so far
        ("kept", np.int64),  # free blocks that still hold its KV, and of how many tokens
        ("kept_tokens", np.int64),
        ("kept_after", np.int64),  # blocks before them that it shared
        ("kept_at", np.int64),  # the instance they are on
        ("older", np.int64),  # neighbours in the queue of such blocks
        ("newer", np.int64),
        ("handed_ps", np.int64),  # when it was handed to its instance
        ("left", np.int64),  # children in the waiting heap
        ("right", np.int64),
        ("admitted_ps", np.int64),  # first admission
        ("first_token_ps", np.int64),
        ("ended_ps", np.int64),
        ("preemptions", np.int64),
        ("recomputed", np.int64),
    ]
)

INSTANCE = np.dtype(
    [
        ("in_turn", np.int64),  # which instance has this place in the order of their counters
        ("table", np.int64),  # row of the step-time tables
        ("max_batch", np.int64),
        ("blocks", np.int64),
        ("budget", np.int64),
        ("kv_ps", np.int64),
        ("prefill_ps", np.int64),
        ("padded_ps", np.int64),
        ("prefill_table", np.int64),  # row of the table of prefill steps, NOTHING where `prefill_ps` says it all
        ("prefill_decode_ps", np.int64),  # of prefill steps: for a decoding request, a KV token, a padded one, a pair
        ("prefill_kv_ps", np.int64),
        ("prefill_padded_ps", np.int64),
        ("prefill_pair_ps", np.int64),
        ("keeps_kv", np.int64),  # whether what is preempted can be found again
        ("shares_prompts", np.int64),  # whether siblings use one copy of their prompt
        ("saved_blocks", np.int64),  # how many more blocks they would have without
        ("blank_blocks", np.int64),  # free blocks that hold nothing to be found
        ("oldest", np.int64),  # ends of the queue of those that do
        ("newest", np.int64),
        ("lags", np.int64),  # whether steps are scheduled one step ahead
        ("last_start", np.int64),  # when the last step that has ended began
        ("held_slots", np.int64),  # what the end of that step has freed, unknown to the step that follows if it lags
        ("held_blocks", np.int64),
        ("move_ps", np.int64),  # to bring the KV of a token, NOTHING where KV does not travel
        ("move_latency_ps", np.int64),
        ("link_free", np.int64),  # when the next KV can start to come
        ("order_ps", np.int64),  # until a request that is sent to it is there
        ("first_coming", np.int64),  # ends of the queue of requests that are on their way, by when they are there
        ("last_coming", np.int64),
        ("running", np.int64),  # how many
        ("someone_leaves", np.int64),  # whether one of them is to leave although it has not finished
        ("queued", np.int64),
        ("root", np.int64),  # of the waiting heap
        ("used_blocks", np.int64),
        ("span_start", np.int64),
        ("span_last", np.int64),  # when its last step begins
        ("span_end", np.int64),  # NEVER when no span is under way
        ("span_steps", np.int64),
        ("span_taken", np.int64),  # of how many of them the blocks have been taken
        ("span_decodes_only", np.int64),
        ("span_batch", np.int64),
        ("span_kv", np.int64),  # tokens at the end of the first step
        ("span_padded", np.int64),  # how much shorter contexts are than the longest, the same in every step
        ("span_fixed", np.int64),  # length of a prefill step that has a law of its own, else 0
        ("span_prefill", np.int64),
        ("span_recompute", np.int64),
        ("decode_ps", np.int64),
        ("prefill_spent_ps", np.int64),
        ("recompute_ps", np.int64),
        ("steps", np.int64),
        ("batch_ps", np.int64),  # integral of the batch over time
        ("peak_batch", np.int64),
        ("peak_blocks", np.int64),
    ]
)

SPAN = np.dtype(
    [
        ("instance", np.int64),
        ("start_ps", np.int64),
        ("end_ps", np.int64),
        ("batch", np.int64),
        ("steps", np.int64),
        ("prefill", np.int64),
        ("recompute", np.int64),
    ]
)


def request_records(requests: Requests, output_tokens: IntArray) -> Records:
    """Return the records of requests that have not been handed to any instance."""
    records: Any = np.zeros(len(requests), dtype=REQUEST)
    records["prompt"] = requests.prompt_tokens
    records["first_prompt"] = requests.prompt_tokens
    records["group"] = requests.group
    records["output"] = output_tokens
    records["turn_end"] = output_tokens
    records["stop"] = output_tokens
    records["exit"] = STAY
    for name in (
        "instance",
        "behind",
        "kept_at",
        "older",
        "newer",
        "left",
        "right",
        "admitted_ps",
        "first_token_ps",
        "ended_ps",
    ):
        records[name] = NOTHING
    made: Records = records
    return made


def instance_records(cluster: Cluster) -> tuple[Records, IntArray, IntArray]:
    """Return idle instances, their tables (one row per law of steps) and the lists of running requests."""
    records: Any = np.zeros(len(cluster), dtype=INSTANCE)
    widest = int(cluster.max_batch.max())
    budgets = [i.max_batched_tokens for i in cluster if i.step_time.prefill_steps is not None]
    width = max([widest, *budgets])
    kinds: dict[StepTime | PrefillStepTime, int] = {}
    for i, instance in enumerate(cluster):
        step, prefill = instance.step_time, instance.step_time.prefill_steps
        records[i]["table"] = kinds.setdefault(step, len(kinds))
        records[i]["kv_ps"] = step.ps_per_kv_token
        records[i]["prefill_ps"] = step.ps_per_prefill_token
        records[i]["padded_ps"] = step.ps_per_padded_token
        records[i]["budget"] = instance.max_batched_tokens
        records[i]["keeps_kv"] = instance.keeps_kv
        records[i]["shares_prompts"] = instance.shares_prompts
        records[i]["lags"] = instance.async_scheduling
        records[i]["prefill_table"] = NOTHING
        if prefill is not None:
            records[i]["prefill_table"] = kinds.setdefault(prefill, len(kinds))
            records[i]["prefill_decode_ps"] = prefill.ps_per_decode
            records[i]["prefill_kv_ps"] = prefill.ps_per_kv_token
            records[i]["prefill_padded_ps"] = step.prefill_ps_per_padded_token
            records[i]["prefill_pair_ps"] = prefill.ps_per_pair
    records["in_turn"] = cluster.by_sequence
    records["max_batch"] = cluster.max_batch
    records["blocks"] = cluster.kv_blocks
    records["blank_blocks"] = cluster.kv_blocks
    moves = cluster.kv_moves
    records["move_ps"] = NOTHING if moves is None else moves.ps_per_token
    records["move_latency_ps"] = 0 if moves is None else moves.latency_ps
    records["order_ps"] = cluster.dispatch_latency_ps
    for name in ("root", "oldest", "newest", "first_coming", "last_coming"):
        records[name] = NOTHING
    records["span_end"] = NEVER
    tables = np.array([law.table_ps(width) for law in kinds])
    return records, tables, np.zeros((len(cluster), widest), dtype=np.int64)
