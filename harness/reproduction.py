"""A figure of a paper beside ours: what was published, what we get, and which assumption moves it."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path

from rich import box
from rich.table import Table

from makespan.harness.markdown_table import markdown_table
from makespan.harness.store import write_whole

TOLERANCE = 0.10
"""A figure reproduces when ours is within a tenth of the published one."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One number.

    Parameters
    ----------
    what
        What it says, unique within its table.
    paper
        As published, positive; None where the paper has no such number.
    ours
        As simulated, positive.
    """

    what: str
    paper: float | None
    ours: float

    def __post_init__(self) -> None:
        for value in (self.paper, self.ours):
            if value is not None and not (isfinite(value) and value > 0):
                raise ValueError(f"a figure must be positive and finite, got {value} for {self.what}")

    @property
    def ratio(self) -> float | None:
        """Ours over the paper's."""
        return None if self.paper is None else self.ours / self.paper

    @property
    def verdict(self) -> str:
        """Whether it reproduces."""
        if self.ratio is None:
            return "not published"
        return "reproduces" if abs(self.ratio - 1) <= TOLERANCE + 1e-9 else "does not reproduce"


@dataclass(frozen=True, slots=True)
class Reproduction:
    """A table or figure of a paper.

    Parameters
    ----------
    title
        Which one.
    figures
        Its numbers under the default assumptions.
    otherwise
        The same numbers with one assumption changed, by what was changed.
    note
        What has to be known to read it.
    """

    title: str
    figures: tuple[Figure, ...]
    otherwise: tuple[tuple[str, tuple[Figure, ...]], ...] = ()
    note: str = ""

    def __post_init__(self) -> None:
        names = [f.what for f in self.figures]
        for change, figures in self.otherwise:
            if [f.what for f in figures] != names:
                raise ValueError(f"a changed assumption must give the same figures, got others with {change}")

    @property
    def reproduced(self) -> tuple[int, int]:
        """How many of the published numbers reproduce, and how many there are."""
        published = [f for f in self.figures if f.paper is not None]
        return sum(f.verdict == "reproduces" for f in published), len(published)

    def rows(self) -> list[list[str]]:
        """Return what, paper, ours, ratio, verdict."""
        return [[f.what, _number(f.paper), _number(f.ours), _number(f.ratio), f.verdict] for f in self.figures]

    def moved(self) -> list[list[str]]:
        """Return for each number how far each changed assumption moves ours, and last how many reproduce then."""
        found = []
        for k, figure in enumerate(self.figures):
            moves = [figures[k].ours / figure.ours - 1 for _, figures in self.otherwise]
            found.append([figure.what, *(f"{move:+.0%}" for move in moves)])
        counts = [sum(f.verdict == "reproduces" for f in figures) for _, figures in self.otherwise]
        return [*found, ["**reproduce**", *(f"{count} of {self.reproduced[1]}" for count in counts)]]


HEADINGS = ("figure", "paper", "ours", "ratio", "verdict")


def for_terminal(reproduction: Reproduction) -> list[Table]:
    """Return the tables of a reproduction for `rich` to print."""
    main = Table(title=reproduction.title, title_justify="left", box=box.SIMPLE)
    for k, heading in enumerate(HEADINGS):
        main.add_column(heading, justify="right" if 0 < k < 4 else "left")
    for row in reproduction.rows():
        main.add_row(*row)
    if not reproduction.otherwise:
        return [main]
    moved = Table(title="What changed assumptions move (ours, relative)", title_justify="left", box=box.SIMPLE)
    for k, heading in enumerate(("changed assumption", "least", "most", "reproduce")):
        moved.add_column(heading, justify="right" if k else "left")
    for change, figures in reproduction.otherwise:
        moves = [b.ours / a.ours - 1 for a, b in zip(reproduction.figures, figures, strict=True)]
        count = sum(f.verdict == "reproduces" for f in figures)
        moved.add_row(change, f"{min(moves):+.0%}", f"{max(moves):+.0%}", f"{count} of {reproduction.reproduced[1]}")
    return [main, moved]


def markdown(reproductions: Sequence[Reproduction]) -> str:
    """Return all tables in Markdown."""
    lines = ["# Published figures beside ours", ""]
    for r in reproductions:
        count, of = r.reproduced
        words = [f"{count} of {of} within 10 %."] if of else []
        lines += [f"## {r.title}", "", " ".join([*words, *([r.note] if r.note else [])]), ""]
        lines += markdown_table(HEADINGS, r.rows())
        if r.otherwise:
            lines += ["", "How far each assumption moves ours:", ""]
            lines += markdown_table(["figure", *(change for change, _ in r.otherwise)], r.moved())
        lines.append("")
    return "\n".join(lines)


def write_reproductions(reproductions: Sequence[Reproduction], folder: Path) -> Path:
    """Write ``reproductions.json`` and ``reproductions.md``; returns the path of the latter."""
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "reproductions.json", json.dumps([asdict(r) for r in reproductions], indent=1) + "\n")
    write_whole(folder / "reproductions.md", markdown(reproductions))
    return folder / "reproductions.md"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
