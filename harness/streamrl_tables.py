"""The tables and figures of StreamRL's evaluation (arXiv 2504.15930, section 10), simulated: one function each.

Numbers marked "plot" in the paper's figures were read off them and are good to a few per cent.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from statistics import fmean

from makespan.harness.degraded import tail_recall
from makespan.harness.drift import MOST_GPUS, drifting
from makespan.harness.reproduction import Figure, Reproduction
from makespan.harness.streamrl_world import (
    PROFILED,
    RECALLS,
    SMOOTH,
    Assumptions,
    World,
    batch_of,
    informed,
    samples_per_s,
)
from makespan.runtime.specifications import load_gpu, load_link, load_model
from makespan.schedulers.allocation import algorithm_1_two_sites
from makespan.schedulers.elastic import ElasticRule
from makespan.schedulers.links import Network, Site
from makespan.schedulers.roofline import Efficiency
from makespan.schedulers.training_time import GRPO

GPUS = {"qwen2.5-7b": 32, "qwen2.5-32b": 64, "qwen2.5-72b": 128}
CAPS = (5_000, 10_000, 20_000)
Table = Callable[[Assumptions], tuple[Figure, ...]]

# Figure 8 (plot): samples/s of ColocationRL, Sync, Async.
END_TO_END = {
    "qwen2.5-7b": ((13.0, 16.1, 21.3), (8.0, 8.8, 10.6), (4.8, 5.1, 5.7)),
    "qwen2.5-32b": ((6.1, 6.7, 7.7), (2.9, 3.3, 3.8), (1.85, 2.15, 2.45)),
    "qwen2.5-72b": ((4.2, 5.9, 7.3), (2.4, 3.1, 3.7), (1.5, 1.87, 2.25)),
}
# Figure 9 (plot): ranked and oracle over random FIFO.
RANKED = {"qwen2.5-7b": (0.90, 0.815), "qwen2.5-32b": (0.82, 0.67), "qwen2.5-72b": (0.785, 0.69)}
# Figure 10: the even split, the published one, and what it lowers the slower stage to (plot).
SPLITS = {"qwen2.5-32b": (32, (40, 24), 0.80), "qwen2.5-72b": (64, (80, 48), 0.84)}
# Figure 12 (plot): throughput per cost, 32 H20 + 16 H800 over 32 H800.
PER_COST = {5_000: 22.9 / 18.1, 10_000: 11.9 / 9.0, 20_000: 5.9 / 4.8}

OTHERWISE: Mapping[str, Callable[[Assumptions], Assumptions]] = {
    "fastest tensor parallelism": lambda a: replace(a, tensor=()),
    "at most 64 requests on an instance": lambda a: replace(a, max_batch=64),
    "at most 32": lambda a: replace(a, max_batch=32),
    "at most 24": lambda a: replace(a, max_batch=24),
    "at most 32, longest first for Algorithm 2": lambda a: replace(a, max_batch=32, dispatch="lpt"),
    "at most 32, longest first, smooth ranker": lambda a: replace(a, max_batch=32, dispatch="lpt", information=SMOOTH),
    "longest first for Algorithm 2": lambda a: replace(a, dispatch="lpt"),
    "training at 30 % of peak": lambda a: replace(a, efficiency=Efficiency(training_flops=0.3)),
    "training at 50 % of peak": lambda a: replace(a, efficiency=Efficiency(training_flops=0.5)),
    "one model trained": lambda a: replace(a, passes=GRPO),
    "0.2 ms per layer": lambda a: replace(a, efficiency=Efficiency(layer_s=2e-4)),
    "half the memory bandwidth": lambda a: replace(a, efficiency=Efficiency(bandwidth=0.41)),
    "colocation loses 30 s": lambda a: replace(a, reload_s=30.0),
    "next batch by instance": lambda a: replace(a, handover="instance"),
}


def reproduce(title: str, table: Table, changes: tuple[str, ...] = tuple(OTHERWISE), note: str = "") -> Reproduction:
    """Return a table under the default assumptions and under each changed one."""
    given = Assumptions()
    otherwise = tuple((change, table(OTHERWISE[change](given))) for change in changes)
    return Reproduction(title, table(given), otherwise, note)


def table_3(given: Assumptions) -> tuple[Figure, ...]:
    """What each technique adds: 72B, 20K, 128 GPUs."""
    world, gpus = World("qwen2.5-72b", 20_000, given), GPUS["qwen2.5-72b"]
    base = samples_per_s(world.colocated(gpus, "random", "none"))
    skew = samples_per_s(world.colocated(gpus, given.dispatch, given.information))
    split = world.split(gpus, given.dispatch, given.information)
    stream, asynchronous = (
        samples_per_s(world.run(p, split, given.dispatch, given.information)) for p in ("stream", "fully_async")
    )
    return (
        Figure("+ skew-aware", 1.08, skew / base),
        Figure("+ streaming", 1.23, stream / base),
        Figure("+ asynchronous", 1.48, asynchronous / base),
    )


def figure_8(given: Assumptions) -> tuple[Figure, ...]:
    """Throughput of the synchronous and the asynchronous pipeline over colocation."""
    figures = []
    for model, rows in END_TO_END.items():
        for cap, (colocated, sync, asynchronous) in zip(CAPS, rows, strict=True):
            base, ours_sync, ours_async = throughputs(model, cap, given)
            what = f"{model[8:]} {cap // 1000}K"
            figures.append(Figure(f"{what} sync", sync / colocated, ours_sync / base))
            figures.append(Figure(f"{what} async", asynchronous / colocated, ours_async / base))
    return tuple(figures)


def figure_8_absolute(given: Assumptions) -> tuple[Figure, ...]:
    """Samples per second of the same runs: not asked to agree, but it says where ratios come from."""
    figures = []
    for model, rows in END_TO_END.items():
        for cap, published in zip(CAPS, rows, strict=True):
            for name, paper, ours in zip(
                ("colocated", "sync", "async"), published, throughputs(model, cap, given), strict=True
            ):
                figures.append(Figure(f"{model[8:]} {cap // 1000}K {name}", paper, ours))
    return tuple(figures)


def throughputs(model: str, cap: int, given: Assumptions) -> tuple[float, float, float]:
    """Return samples/s of colocation with random dispatch, of ``stream`` and of ``fully_async``."""
    world, gpus = World(model, cap, given), GPUS[model]
    split = world.split(gpus, given.dispatch, given.information)
    return (
        samples_per_s(world.colocated(gpus, "random", "none")),
        samples_per_s(world.run("stream", split, given.dispatch, given.information)),
        samples_per_s(world.run("fully_async", split, given.dispatch, given.information)),
    )


def figure_9(given: Assumptions) -> tuple[Figure, ...]:
    """Generation time of ranked and oracle dispatch over random FIFO, 20K; on 16, 40 and 80 GPUs.

    40 and 80 are the generation GPUs of Figure 10; for 7B the paper names none, 16 is half of its cluster.
    """
    figures = []
    for (model, published), gpus in zip(RANKED.items(), (16, 40, 80), strict=True):
        world = World(model, 20_000, given)
        base = world.generation_s(gpus, "random", "none")
        for name, information, paper in zip(("ranked", "oracle"), (given.information, "oracle"), published, strict=True):
            ours = world.generation_s(gpus, given.dispatch, information) / base
            figures.append(Figure(f"{model[8:]} {name}", paper, ours))
    return tuple(figures)


def table_4(given: Assumptions) -> tuple[Figure, ...]:
    """Rankers degraded to the published recalls: what they find, and what they give for 72B."""
    world = World("qwen2.5-72b", 20_000, given)
    base = world.generation_s(80, "random", "none")
    figures = []
    for name, recalls in RECALLS.items():
        for share, published in recalls.items():
            found = []
            for seed in range(PROFILED):
                workload = batch_of(20_000, seed)
                point = informed(20_000, name, seed).estimate(workload.requests).point
                found.append(tail_recall(point, workload.output_tokens, share))
            figures.append(Figure(f"{name} recall {share:.0%}", published, fmean(found)))
        ours = world.generation_s(80, given.dispatch, name) / base
        figures.append(Figure(f"{name} generation", 0.785 if name == "ranker_7b" else None, ours))
    return tuple(figures)


def figure_10(given: Assumptions) -> tuple[Figure, ...]:
    """What Algorithm 1 gives generation, and what that leaves of the slower stage of an even split; 20K."""
    figures = []
    for model, (even, published, left) in SPLITS.items():
        world = World(model, 20_000, given)
        generation, training = world.curves(GPUS[model] - given.granularity, given.dispatch, given.information)
        x, y = world.split(GPUS[model], given.dispatch, given.information)

        before = max(generation.at(even), training.at(even))
        after, theirs = (max(generation.at(a), training.at(b)) for a, b in ((x, y), published))
        size = model[8:]
        figures.append(Figure(f"{size} generation GPUs", published[0], x))
        figures.append(Figure(f"{size} slower stage", left, after / before))
        figures.append(Figure(f"{size} at the paper's split", left, theirs / before))
    return tuple(figures)


def figure_12(given: Assumptions) -> tuple[Figure, ...]:
    """Throughput per cost of 32 H20 and 16 H800 at two sites over 32 H800 at one; 7B, fully asynchronous."""
    h20, h800 = load_gpu("H20"), load_gpu("H800")
    single_price, cross_price = 32 * h800.price, 32 * h20.price + 16 * h800.price
    network = Network({"cloud": Site(load_link("dedicated"), load_link("h20-tcp"))})
    figures = []
    for cap, paper in PER_COST.items():
        single = World("qwen2.5-7b", cap, given)
        split = single.split(32, given.dispatch, given.information)
        alone = samples_per_s(single.run("fully_async", split, given.dispatch, given.information))
        cross = replace(single, generation_gpu="H20")
        generation, training = (curve.seconds for curve in cross.curves(32, given.dispatch, given.information))
        x, y = algorithm_1_two_sites(generation, training, 32, 16, given.granularity)
        moved = network.weights_s(load_model("qwen2.5-7b").weight_bytes, {"cloud": x})
        together = samples_per_s(cross.run("fully_async", (x, y), given.dispatch, given.information, transfer_s=moved))
        price = cross_price if (x, y) == (32, 16) else x * h20.price + y * h800.price
        figures.append(Figure(f"{cap // 1000}K", paper, together / price / (alone / single_price)))
    return tuple(figures)


def figure_11(given: Assumptions) -> tuple[Figure, ...]:
    """GPUs of generation while lengths grow from the 10K to the 20K set over 24 iterations; 7B, one machine a step."""
    rule = ElasticRule(most=MOST_GPUS // given.granularity)
    elastic, fixed = (drifting(given, r) for r in (rule, None))
    figures = [
        Figure(f"GPUs of batch {batch}", paper, elastic.gpus[batch])
        for batch, paper in ((0, 32), (13, 40), (19, 48), (24, 56))
    ]
    return (*figures, Figure("throughput over 32 GPUs throughout", None, elastic.samples_per_s / fixed.samples_per_s))
