"""Records side by side: the races that were run, and which of them belong together."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from makespan.harness.contenders import FIFO, NONE, ORACLE, Contender, Spread, spread
from makespan.harness.record import Record

Key = TypeVar("Key", bound=tuple[Any, ...])


@dataclass(frozen=True, slots=True)
class Race:
    """All contenders under one load: the same requests on the same instances.

    Parameters
    ----------
    label
        What tells it from the other races of its section.
    contenders
        By median gap, the best first.
    """

    label: str
    contenders: tuple[Contender, ...]

    @property
    def any_run(self) -> Record:
        """A record to read the sizes of the experiment from."""
        return self.contenders[0].runs[0]

    @property
    def seeds(self) -> list[int]:
        """Every seed that some contender ran."""
        return sorted({run.seed for contender in self.contenders for run in contender.runs})

    def regime(self, quantity: Callable[[Record], float]) -> Spread:
        """Return a quantity that depends on the load only, over the seeds."""
        by_seed = {run.seed: quantity(run) for contender in self.contenders for run in contender.runs}
        return spread(list(by_seed.values()))

    @property
    def tail_ratio(self) -> float:
        """Longest output over mean output."""
        return self.regime(lambda run: run.tail_ratio).median

    @property
    def headroom(self) -> float:
        """Share of the makespan of fifo that no policy can save more than."""
        return self.regime(lambda run: run.headroom).median

    @property
    def fifo_s(self) -> float:
        """Makespan of fifo, also where fifo itself was not recorded."""
        return self.regime(lambda run: run.makespan_s * run.speedup_over_fifo).median

    @property
    def lower_bound_s(self) -> float:
        """Bound on the makespan of all requests; contenders that gave up some have lower ones of their own."""
        return self.regime(lambda run: run.makespan_s * run.speedup_over_fifo * (1 - run.headroom)).median

    @property
    def fifo_gap(self) -> float:
        """Makespan of fifo over the lower bound, also where fifo itself was not recorded."""
        return 1 / (1 - self.headroom)

    def find(self, policy: str, information: str) -> Contender | None:
        """Return the contender of these names, if it took part."""
        return next((c for c in self.contenders if (c.policy, c.information) == (policy, information)), None)

    def best(self, wanted: Callable[[Contender], bool]) -> Contender | None:
        """Return the contender of least gap among those wanted that deliver everything."""
        return next((c for c in self.contenders if c.complete and wanted(c)), None)

    @property
    def best_blind(self) -> Contender | None:
        """The best that knows nothing about lengths."""
        return self.best(lambda c: c.information == NONE)

    @property
    def best_guess(self) -> Contender | None:
        """The best that has some information short of the truth."""
        return self.best(lambda c: c.information not in (NONE, ORACLE))

    @property
    def best_oracle(self) -> Contender | None:
        """The best that knows the lengths."""
        return self.best(lambda c: c.information == ORACLE)

    @property
    def chosen(self) -> list[Contender]:
        """The few that are shown in detail: fifo, and the best with no, with some and with full information."""
        fifo = self.best(lambda c: c.policy == FIFO)
        several = (fifo, self.best_blind, self.best_guess, self.best_oracle)
        return list(dict.fromkeys(c for c in several if c is not None)) or [self.contenders[0]]

    @property
    def shown(self) -> list[tuple[Contender, Record]]:
        """The chosen with the one run of each that is drawn: that of the lowest seed which all of them have."""
        shared = set.intersection(*({run.seed for run in c.runs} for c in self.chosen))
        seed = min(shared, default=None)
        return [(c, next((run for run in c.runs if run.seed == seed), c.runs[0])) for c in self.chosen]

    @property
    def policies(self) -> dict[str, list[Contender]]:
        """The contenders of each policy; policies and contenders from the best to the worst."""
        found: dict[str, list[Contender]] = {}
        for contender in self.contenders:
            found.setdefault(contender.policy, []).append(contender)
        return found


@dataclass(frozen=True, slots=True)
class Section:
    """The races of one workload on one step-time profile, from the lightest load to the heaviest."""

    workload: str
    profile: str
    engine: str
    races: tuple[Race, ...]

    @property
    def title(self) -> str:
        """Its heading."""
        return f"{self.workload} on {self.profile}" + ("" if self.engine == "simulated" else f" ({self.engine})")

    @property
    def names(self) -> list[tuple[str, str]]:
        """Policy and information of every contender, by gap under the heaviest load; those not run there last."""
        every = {(c.policy, c.information): None for race in reversed(self.races) for c in race.contenders}
        return list(every)


def sections(records: Sequence[Record]) -> list[Section]:
    """Sort records into sections, races and contenders.

    Raises
    ------
    ValueError
        When there is no record, or two of the same experiment.
    """
    if not records:
        raise ValueError("a report needs at least one record, got 0")
    return [
        Section(workload, profile, engine, tuple(_races(found)))
        for (workload, profile, engine), found in _grouped(records, lambda r: (r.workload, r.profile, r.engine))
    ]


def _races(records: Sequence[Record]) -> Iterator[Race]:
    def load(r: Record) -> tuple[float, int, int, int]:
        return (r.requests_per_slot, r.requests, r.instances, r.max_batch)

    loads = list(_grouped(records, load))
    labels = [f"{per_slot:.3g} per slot" for (per_slot, *_), _ in loads]
    for label, ((_, requests, instances, max_batch), found) in zip(labels, loads, strict=True):
        alone = labels.count(label) == 1
        yield Race(label if alone else f"{label}, {requests:,} on {instances} x {max_batch}", _contenders(found))


def _contenders(records: Sequence[Record]) -> tuple[Contender, ...]:
    most: dict[int, int] = {}
    for r in records:
        most[r.seed] = max(r.delivered_tokens, most.get(r.seed, 0))
    contenders = []
    for (policy, information), found in _grouped(records, lambda r: (r.policy, r.information)):
        runs = sorted(found, key=lambda r: (r.seed, r.repetition))
        if len({(r.seed, r.repetition) for r in runs}) < len(runs):
            raise ValueError(f"an experiment must be reported once, got {runs[0].key} or another seed of it repeated")
        # A real engine samples, so that its lengths differ from run to run; there only waste tells.
        complete = all(not r.wasted_tokens if r.engine != "simulated" else r.delivered_tokens == most[r.seed] for r in runs)
        contenders.append(Contender(policy, information, tuple(runs), complete))
    return tuple(sorted(contenders, key=lambda c: (c.gap, c.policy, c.information)))


def _grouped(records: Sequence[Record], key: Callable[[Record], Key]) -> list[tuple[Key, list[Record]]]:
    groups: dict[Key, list[Record]] = {}
    for record in records:
        groups.setdefault(key(record), []).append(record)
    return sorted(groups.items(), key=lambda group: group[0])
