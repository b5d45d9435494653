"""Many iterations while output lengths grow, with and without elastic generation (StreamRL, Figure 11)."""

from dataclasses import dataclass
from functools import partial

from makespan.harness.streamrl_world import Assumptions, World, batch_of, tokens_of
from makespan.runtime.generated import Generated
from makespan.runtime.iteration import Iteration
from makespan.runtime.pipelines import Pipeline, simulate_pipeline
from makespan.schedulers.elastic import ElasticRule
from makespan.schedulers.training_order import stage_seconds

MODEL = "qwen2.5-7b"
FIRST, LAST = 10_000, 20_000
START_GPUS, MOST_GPUS = 32, 64


@dataclass(frozen=True, slots=True)
class Drift:
    """A run while lengths grow linearly from the 10K to the 20K set.

    Parameters
    ----------
    iterations
        Their records.
    gpus
        GPUs of generation for each batch.
    """

    iterations: tuple[Iteration, ...]
    gpus: tuple[int, ...]

    @property
    def samples_per_s(self) -> float:
        """Throughput over the whole run."""
        return sum(i.samples for i in self.iterations) / sum(i.seconds for i in self.iterations)


def drifting(given: Assumptions, rule: ElasticRule | None, pipeline: str = "fully_async", iterations: int = 25) -> Drift:
    """Run a pipeline while lengths grow; `rule` decides about machines after each iteration, None keeps them.

    The run starts in balance: the trainer has as many GPUs as take nearest to what generation takes on its first machines;
    the paper does not publish how many it had. A batch that is already being generated keeps its machines.
    """
    unit = given.granularity
    caps = [FIRST + round((LAST - FIRST) * i / max(1, iterations - 1)) for i in range(iterations)]
    worlds = [World(MODEL, cap, given) for cap in caps]
    start = worlds[0].generation(START_GPUS, given.dispatch, given.information).seconds
    trainer = worlds[0].training(min(range(4, 65), key=lambda gpus: abs(worlds[0].training(gpus)[1] - start)))[0]
    units, gpus = START_GPUS // unit, []

    def seconds(i: int, count: int) -> float:
        return worlds[i].generation(count * unit, given.dispatch, given.information).seconds

    def generate(j: int) -> Generated:
        gpus.append(units * unit)
        laid_out = worlds[j].generation(units * unit, given.dispatch, given.information)
        return Generated.of(laid_out.timeline, batch_of(caps[j], 0).requests)

    found = []
    for record in simulate_pipeline(Pipeline(pipeline), iterations, generate, lambda _: trainer, lambda _: 0.0):
        found.append(record)
        i = record.iteration
        if rule is not None:
            training = stage_seconds(trainer, tokens_of(batch_of(caps[i], 0)))
            units = rule.next_units(units, seconds(i, units), training, partial(seconds, i))
    return Drift(tuple(found), tuple(gpus))
