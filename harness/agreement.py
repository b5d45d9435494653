"""How well the simulator foretells real runs: errors of the makespan, and whether it ranks the policies alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median

from rich import box
from rich.table import Table

from makespan.harness.contenders import spread
from makespan.harness.markdown_table import markdown_table
from makespan.harness.record import Record


@dataclass(frozen=True, slots=True)
class Foretold:
    """One policy: its real makespans and the simulated one, medians over the repetitions, in seconds.

    Parameters
    ----------
    policy, information
        Names.
    measured, low, high
        Median and range of the real makespans.
    simulated
        Median of the simulated ones, which differ where the model ends by itself.
    error
        Median of simulated over measured, minus 1.
    runs
        How many repetitions.
    """

    policy: str
    information: str
    measured: float
    low: float
    high: float
    simulated: float
    error: float
    runs: int


@dataclass(frozen=True, slots=True)
class Agreement:
    """All policies on one engine, the fastest first."""

    engine: str
    rows: tuple[Foretold, ...]

    @property
    def median_error(self) -> float:
        """Median of the absolute errors."""
        return median(abs(row.error) for row in self.rows)

    @property
    def worst_error(self) -> float:
        """Largest absolute error."""
        return max(abs(row.error) for row in self.rows)

    @property
    def pairs(self) -> list[tuple[Foretold, Foretold]]:
        """Pairs of policies whose real makespans differ by more than the noise: their ranges do not overlap.

        A policy that was run once tells nothing about the noise.
        """
        repeated = [row for row in self.rows if row.runs > 1]
        return [(a, b) for a, b in combinations(repeated, 2) if a.high < b.low or b.high < a.low]

    @property
    def tau(self) -> float | None:
        """Kendall's tau over `pairs`: 1 where the simulation ranks all of them as they ran, None without any."""
        signs = [(a.measured < b.measured) == (a.simulated < b.simulated) for a, b in self.pairs]
        ties = [a.simulated == b.simulated for a, b in self.pairs]
        scores = [0 if tie else 1 if same else -1 for same, tie in zip(signs, ties, strict=True)]
        return sum(scores) / len(scores) if scores else None

    def __str__(self) -> str:
        ranks = (
            "every policy was run once, so that nothing is said about their order"
            if self.tau is None
            else f"Kendall tau {self.tau:.2f} over {len(self.pairs)} pairs that differ by more than the noise"
        )
        return (
            f"{self.engine}: simulated against measured makespan, median error {self.median_error:.1%}, worst "
            f"{self.worst_error:.1%}; {ranks}"
        )


def agreements(records: Sequence[Record]) -> list[Agreement]:
    """Return the agreement of simulation and reality for every real engine that was recorded."""
    engines = sorted({r.engine for r in records if r.measured_makespan_s is not None})
    return [Agreement(engine, _rows([r for r in records if r.engine == engine])) for engine in engines]


def for_terminal(agreement: Agreement) -> Table:
    """Return the table for `rich` to print."""
    table = Table(title=f"simulation and reality: {agreement.engine}", box=box.SIMPLE)
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading in HEADINGS[:2] else "right", no_wrap=True)
    for row in agreement.rows:
        table.add_row(*cells(row))
    return table


def markdown(found: Sequence[Agreement]) -> list[str]:
    """Return the tables in Markdown, with a sentence for each."""
    lines = []
    for agreement in found:
        lines += [f"## Simulation and reality: {agreement.engine}", "", str(agreement), ""]
        lines += [*markdown_table(HEADINGS, map(cells, agreement.rows), words=2), ""]
    return lines


HEADINGS = ("policy", "information", "measured s", "range", "simulated s", "error", "runs")


def cells(row: Foretold) -> tuple[str, ...]:
    """Return what stands in the table."""
    return (
        row.policy,
        row.information,
        f"{row.measured:.2f}",
        f"{row.low:.2f}–{row.high:.2f}",
        f"{row.simulated:.2f}",
        f"{row.error:+.1%}",
        str(row.runs),
    )


def _rows(records: Sequence[Record]) -> tuple[Foretold, ...]:
    found = []
    for policy, information in sorted({(r.policy, r.information) for r in records}):
        runs = [r for r in records if (r.policy, r.information) == (policy, information)]
        measured = spread([r.makespan_s for r in runs])
        simulated = median(r.simulated_makespan_s or 0.0 for r in runs)
        error = median(r.error or 0.0 for r in runs)
        found.append(Foretold(policy, information, *measured, simulated, error, len(runs)))
    return tuple(sorted(found, key=lambda row: row.measured))
