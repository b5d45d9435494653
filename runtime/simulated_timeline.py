"""What the records of a simulation say of every request and instance."""

from typing import Any

import numpy as np

from makespan.runtime.engine import Timeline
from makespan.runtime.engine_state import NOTHING
from makespan.schedulers.step_time import PICOSECONDS
from makespan.schedulers.types import FloatArray, IntArray
from makespan.schedulers.view import FINISHED


def timeline_of(requests: Any, instances: Any) -> Timeline:
    """Return the timeline that the records of a simulation hold."""

    def seconds(column: IntArray) -> FloatArray:
        return np.where(column == NOTHING, np.nan, column / PICOSECONDS)

    return Timeline(
        instance=requests["instance"].copy(),
        admitted=seconds(requests["admitted_ps"]),
        first_token=seconds(requests["first_token_ps"]),
        ended=seconds(requests["ended_ps"]),
        finished=requests["state"] == FINISHED,
        generated=requests["generated"].copy(),
        preemptions=requests["preemptions"].copy(),
        recomputed=requests["recomputed"].copy(),
        moved_tokens=requests["moved"].copy(),
        prefill_s=instances["prefill_spent_ps"] / PICOSECONDS,
        decode_s=instances["decode_ps"] / PICOSECONDS,
        recompute_s=instances["recompute_ps"] / PICOSECONDS,
        batch_s=instances["batch_ps"] / PICOSECONDS,
        steps=instances["steps"].copy(),
        peak_batch=instances["peak_batch"].copy(),
        peak_blocks=instances["peak_blocks"].copy(),
    )
