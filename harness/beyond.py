"""What StreamRL's Algorithm 2 leaves on the table, on the paper's own workloads."""

from statistics import fmean

from makespan.harness.reproduction import Figure
from makespan.harness.streamrl_world import PROFILED, Assumptions, World, batch_of
from makespan.schedulers.bounds import lower_bound

STAGES = (("qwen2.5-7b", 16), ("qwen2.5-32b", 40), ("qwen2.5-72b", 80))
CAPS = (5_000, 10_000, 20_000)
CONTENDERS = (
    ("random", "none"),
    ("skew_aware", "oracle"),
    ("skew_aware_max", "oracle"),
    ("equal_finish", "oracle"),
    ("lpt", "oracle"),
    ("skew_aware", "ranker_7b"),
    ("equal_finish", "ranker_7b"),
    ("lpt", "ranker_7b"),
)


def gaps(model: str, gpus: int, cap: int, given: Assumptions) -> dict[tuple[str, str], float]:
    """Return the mean makespan over the lower bound of every contender on one of the paper's workloads."""
    world = World(model, cap, given)
    found: dict[tuple[str, str], list[float]] = {contender: [] for contender in CONTENDERS}
    for policy, information in CONTENDERS:
        for seed in range(PROFILED):
            stage, workload = world.generation(gpus, policy, information, seed), batch_of(cap, seed)
            bound = lower_bound(workload.requests, workload.output_tokens, stage.cluster)
            found[policy, information].append(stage.seconds / bound)
    return {contender: fmean(values) for contender, values in found.items()}


def beyond_algorithm_2(max_batch: int) -> tuple[Figure, ...]:
    """Return the mean gap of each contender over the nine workloads, and its gap on each of those of 20K."""
    given = Assumptions(max_batch=max_batch)
    nine = {(m, cap): gaps(m, gpus, cap, given) for m, gpus in STAGES for cap in CAPS}
    figures = [
        Figure(f"mean of nine: {policy}, {information}", None, fmean(g[policy, information] for g in nine.values()))
        for policy, information in CONTENDERS
    ]
    for model, _ in STAGES:
        figures += [
            Figure(f"{model[8:]} 20K: {policy}, {information}", None, nine[model, 20_000][policy, information])
            for policy, information in CONTENDERS
        ]
    return tuple(figures)
