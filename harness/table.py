"""The results as a table: for Markdown, for HTML and for the terminal."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from makespan.harness import agreement, overview
from makespan.harness.contenders import PARTIAL, Contender
from makespan.harness.headlines import headline, regime
from makespan.harness.markdown_table import markdown_table
from makespan.harness.races import Section, sections
from makespan.harness.record import Record

ABSENT = "–"
NOTE = f"{PARTIAL} delivered fewer tokens than the others: it gave up requests, so its times do not compare."

Columns = tuple[tuple[str, Callable[[Record], float], Callable[[float], str]], ...]

RACED: Columns = (
    ("gap", lambda r: r.gap, "{:.3f}".format),
    ("speed-up", lambda r: r.speedup_over_fifo, "{:.2f}×".format),
)
"""Columns for every race of a section: heading, quantity, how it is written."""

DETAILS: Columns = (
    ("tail time", lambda r: r.tail_time_s / r.makespan_s, "{:.1%}".format),
    ("bubble", lambda r: r.bubble, "{:.1%}".format),
    ("preemptions", lambda r: r.preemptions, "{:,.0f}".format),
    ("recomputed tokens", lambda r: r.recomputed_tokens, "{:,.0f}".format),
)
"""Further columns, for the heaviest load."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What stands in one place of the table: a median and, where seeds differ, their range."""

    middle: str
    span: str = ""

    def __str__(self) -> str:
        return f"{self.middle} ({self.span})" if self.span else self.middle


def headings(section: Section) -> list[str]:
    """Return the headings of the columns; `rows` has as many."""
    loads = [f" at {race.label}" for race in section.races] if len(section.races) > 1 else [""]
    raced = [name + load for load in loads for name, _, _ in RACED]
    return ["policy", "information", *raced, *(name + loads[-1] for name, _, _ in DETAILS)]


def rows(section: Section) -> list[tuple[Entry, ...]]:
    """Return one row per policy and information, by median gap under the heaviest load."""
    return [_row(section, policy, information) for policy, information in section.names]


def is_partial(section: Section) -> bool:
    """Whether some contender gave up requests, so that the table needs its `NOTE`."""
    return any(not contender.complete for race in section.races for contender in race.contenders)


def markdown(records: Sequence[Record]) -> str:
    """Return the report in Markdown: for each workload and profile the regimes, the headlines and the table."""
    parts = [line for section in sections(records) for line in _markdown_section(section)]
    return "\n".join(
        [
            "# Results",
            "",
            *overview.markdown(overview.glances(records)),
            *parts,
            *agreement.markdown(agreement.agreements(records)),
        ]
    )


def wide_console() -> Console:
    """Return a console on standard output that does not squeeze tables where nobody has set a width."""
    console = Console()
    return console if console.is_terminal else Console(width=160)


def for_terminal(section: Section) -> Table:
    """Return the table of a section for `rich` to print."""
    table = Table(title=Text(section.title), box=box.SIMPLE)
    for k, heading in enumerate(headings(section)):
        table.add_column(Text(heading), justify="left" if k < 2 else "right", no_wrap=k < 2)
    for row in rows(section):
        table.add_row(*(Text(str(entry)) for entry in row))
    return table


def _row(section: Section, policy: str, information: str) -> tuple[Entry, ...]:
    found = [race.find(policy, information) for race in section.races]
    partial = any(contender is not None and not contender.complete for contender in found)
    entries = [_entry(c, quantity, write) for c in found for _, quantity, write in RACED]
    details = [_entry(found[-1], quantity, write) for _, quantity, write in DETAILS]
    return (Entry(f"{policy} {PARTIAL}" if partial else policy), Entry(information), *entries, *details)


def _entry(contender: Contender | None, quantity: Callable[[Record], float], write: Callable[[float], str]) -> Entry:
    if contender is None:
        return Entry(ABSENT)
    middle, low, high = (write(value) for value in contender.of(quantity))
    return Entry(middle, "" if low == high else f"{low}–{high}")


def _markdown_section(section: Section) -> list[str]:
    seeds = sorted({seed for race in section.races for seed in race.seeds})
    lines = [f"## {_plain(section.title)}", ""]
    lines += [f"- {_plain(regime(race))} {_plain(headline(race))}" for race in section.races]
    if len(seeds) > 1:
        lines += ["", f"Median over {len(seeds)} seeds (lowest–highest)."]
    body = ([_plain(str(entry)) for entry in row] for row in rows(section))
    lines += ["", *markdown_table([_plain(name) for name in headings(section)], body, words=2)]
    return [*lines, "", *([NOTE, ""] if is_partial(section) else [])]


_MARKS = {ord(mark): f"&#{ord(mark)};" for mark in "&<>|`[]*\\"} | {ord("\n"): " ", ord("\r"): " "}


def _plain(text: str) -> str:
    """Return `text` such that Markdown shows it as it is; an underscore within a word needs no escape."""
    return text.translate(_MARKS)
