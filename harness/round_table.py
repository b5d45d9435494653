"""The race of round policies as tables: one row per policy and information, medians over paired seeds."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich import box
from rich.table import Table

from makespan.harness.contenders import Spread, spread
from makespan.harness.round_measures import RoundResult
from makespan.harness.store import write_whole

SCHEMA = "makespan.rounds/1"
BASE = "synchronous"
HEADINGS = (
    "policy",
    "information",
    "trainer",
    "s/step",
    "speed-up",
    "wasted",
    "prefilled again",
    "off-policy",
    "staleness",
    "waited",
    "dropped",
    "mean length",
    "bias",
    "bias of a step",
    "first steps",
    "bubble",
    "tail",
)


@dataclass(frozen=True, slots=True)
class RoundRow:
    """A policy in one world, once per seed, and the plain synchronous run of each seed beside it.

    Parameters
    ----------
    runs, base
        Results of the policy and of `BASE`, by the same seeds.
    trainer_share
        Share of the instances that only trains; 0 where they take turns.
    """

    runs: tuple[RoundResult, ...]
    base: tuple[RoundResult, ...]
    trainer_share: float

    def __post_init__(self) -> None:
        if [r.seed for r in self.runs] != [r.seed for r in self.base]:
            raise ValueError(f"runs are paired by seed, got {[r.seed for r in self.runs]} and {[r.seed for r in self.base]}")

    @property
    def speed_up(self) -> Spread:
        """Samples per second over those of plain synchronous training, paired."""
        return spread([a.samples_per_s / b.samples_per_s for a, b in zip(self.runs, self.base, strict=True)])

    def of(self, quantity: Callable[[RoundResult], float]) -> float:
        """Return the median over the seeds."""
        return spread([quantity(run) for run in self.runs]).median

    def cells(self) -> list[str]:
        """Return the row as text."""
        fast, any_run = self.speed_up, self.runs[0]
        return [
            any_run.policy,
            any_run.information,
            f"{self.trainer_share:.0%}" if self.trainer_share else "in turns",
            f"{self.of(lambda r: r.seconds_per_step):.4g}",
            f"{fast.median:.2f}x ({fast.low:.2f} to {fast.high:.2f})",
            f"{self.of(lambda r: r.wasted_share):.0%}",
            f"{self.of(lambda r: r.resumed_share):.0%}",
            f"{self.of(lambda r: r.off_policy_share):.0%}",
            f"{max(r.staleness for r in self.runs)}",
            f"{max(r.waited for r in self.runs)}",
            f"{self.of(lambda r: r.dropped):.0f}",
            f"{self.of(lambda r: r.mean_ratio):.2f}",
            f"{self.of(lambda r: r.length_distance):.2f}",
            f"{self.of(lambda r: r.step_distance):.2f}",
            f"{self.of(lambda r: r.first_step_ratio):.2f}",
            f"{self.of(lambda r: r.slot_bubble):.0%}",
            f"{self.of(lambda r: r.tail_share):.0%}",
        ]


LEGEND = (
    "Medians over the seeds. speed-up: samples per second over plain synchronous training of the same seed, with its "
    "range; all play the same epoch to its end. wasted: tokens thrown away over generated. prefilled again: tokens "
    "whose KV was computed again, over generated. off-policy: share of trained tokens that older weights generated. "
    "staleness: most versions between first token and update. waited: most steps between first issue and training. "
    "mean length, bias: mean of all lengths trained on over that of plain training, and Wasserstein distance over the "
    "mean. bias of a step: the same for single steps (plain training shows the noise). first steps: mean length in "
    "the first quarter of the steps. bubble: idle share of slot time in generation. tail: share of round time with at "
    "most a tenth of the requests unfinished."
)


def ranked(rows: Sequence[RoundRow]) -> Iterator[tuple[str, list[RoundRow]]]:
    """Yield the worlds in their order, each with its rows from fast to slow."""
    for world in dict.fromkeys(row.runs[0].world for row in rows):
        mine = [row for row in rows if row.runs[0].world == world]
        yield world, sorted(mine, key=lambda row: -row.speed_up.median)


def for_terminal(rows: Sequence[RoundRow]) -> list[Table]:
    """Return one table per world for `rich` to print."""
    tables = []
    for world, mine in ranked(rows):
        table = Table(title=world, title_justify="left", box=box.SIMPLE)
        for k, heading in enumerate(HEADINGS):
            table.add_column(heading, justify="right" if k > 1 else "left")
        for row in mine:
            table.add_row(*row.cells())
        tables.append(table)
    return tables


def markdown(rows: Sequence[RoundRow]) -> str:
    """Return all tables in Markdown."""
    lines = ["# Rules between iterations, raced", "", LEGEND, ""]
    rule = ["---"] * 2 + ["---:"] * (len(HEADINGS) - 2)
    for world, mine in ranked(rows):
        lines += [f"## {world}", ""]
        lines += [f"| {' | '.join(cells)} |" for cells in (HEADINGS, rule, *(row.cells() for row in mine))]
        lines.append("")
    return "\n".join(lines)


def write_rounds(rows: Sequence[RoundRow], folder: Path) -> Path:
    """Write ``rounds.json`` (every run) and ``rounds.md``; returns the path of the latter."""
    folder.mkdir(parents=True, exist_ok=True)
    runs = [{**asdict(run), "trainer_share": row.trainer_share} for row in rows for run in row.runs]
    write_whole(folder / "rounds.json", json.dumps({"schema": SCHEMA, "runs": runs}, indent=1) + "\n")
    write_whole(folder / "rounds.md", markdown(rows))
    return folder / "rounds.md"
