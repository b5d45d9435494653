"""The result of one experiment, as it is written to disk: one JSON object, schema `makespan.experiment/1`."""

from dataclasses import dataclass, fields
from typing import Any

SCHEMA = "makespan.experiment/1"


@dataclass(frozen=True, slots=True)
class Record:
    """One experiment: workload x cluster x policy x information, and what came of it.

    Parameters
    ----------
    workload, policy, information, profile, engine
        Names.
    instances, max_batch, requests, groups, seed
        Sizes of the experiment.
    makespan_s, lower_bound_s, gap
        Seconds from the start to the last end, what no policy can beat, and their ratio.
    tail_time_s
        Seconds during which at most a tenth of the requests are unfinished.
    bubble
        Share of instance time that is idle or spent on computing again.
    preemptions, recomputed_tokens, wasted_tokens, generated_tokens, delivered_tokens
        Counts; generated = delivered + wasted.
    decide_s, simulate_s
        Wall seconds of the policy's decisions and of the rest.
    events
        Arrivals, hand-overs, moves and ends.
    requests_per_slot, tail_ratio, headroom
        The regime: requests per batch slot, longest over mean output, and the largest share of the makespan of `fifo`
        that any policy could save (1 - lower bound / makespan of fifo).
    speedup_over_fifo
        Makespan of `fifo` over this makespan.
    time_share
        Shares of instance time: prefill, decode, recompute, idle.
    completion
        Times (seconds) at which the shares 0, 1/100 ... 1 of the requests had ended.
    batch_timeline
        For each instance its mean batch size in equal slices of the makespan.
    repetition
        Which of several runs of the same experiment, on a real engine.
    coverage_80
        Of an information source that gives intervals and holds them against what came: the share of lengths that lay within
        the 80 % interval that stood when their request began.
    simulated_makespan_s, measured_makespan_s, error
        On a real engine: the makespan of the same experiment in simulation, that of the run, and the first over the second
        minus 1.
    """

    workload: str
    policy: str
    information: str
    profile: str
    engine: str
    instances: int
    max_batch: int
    requests: int
    groups: int
    seed: int
    makespan_s: float
    lower_bound_s: float
    gap: float
    tail_time_s: float
    bubble: float
    preemptions: int
    recomputed_tokens: int
    wasted_tokens: int
    generated_tokens: int
    delivered_tokens: int
    decide_s: float
    simulate_s: float
    events: int
    requests_per_slot: float
    tail_ratio: float
    headroom: float
    speedup_over_fifo: float
    time_share: dict[str, float]
    completion: tuple[float, ...]
    batch_timeline: tuple[tuple[float, ...], ...]
    coverage_80: float | None = None
    repetition: int = 0
    simulated_makespan_s: float | None = None
    measured_makespan_s: float | None = None
    error: float | None = None
    schema: str = SCHEMA

    def as_json(self) -> dict[str, Any]:
        """Return the object that is written; what is None is left out."""
        # Not `asdict`, which copies every number of the curves: writing would take a fifth of the time of a sweep.
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    @property
    def key(self) -> str:
        """A file name that tells experiments of one run apart."""
        cluster = f"{self.profile}__{self.instances}x{self.max_batch}"
        key = key_of(self.workload, self.requests, self.engine, cluster, self.policy, self.information, self.seed)
        return f"{key}__{self.repetition}" if self.repetition else key


def key_of(workload: str, requests: int, engine: str, cluster: str, policy: str, information: str, seed: int) -> str:
    """Return the file name of an experiment; `cluster` is ``PROFILE__INSTANCESxBATCH``."""
    return f"{workload}__{requests}__{engine}__{cluster}__{policy}__{information}__seed{seed}".replace("/", "-")
