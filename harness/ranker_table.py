"""A measured ranker as tables for the terminal and the page."""

from collections.abc import Iterator

from rich import box
from rich.table import Table
from rich.text import Text

from makespan.harness.ranker_measurement import Measurement
from makespan.harness.table import ABSENT
from makespan.ranker.assessment import MEASURES

TITLES = {"sample": "One sample", "group_mean": "Mean of a prompt's samples", "group_max": "Longest of a prompt's samples"}
HEADINGS = {
    "recall_20": "R@20",
    "recall_10": "R@10",
    "recall_5": "R@5",
    "token_recall_20": "token R@20",
    "tau": "tau",
    "tau_within_task": "tau in task",
    "tau_within_window": "tau in window",
    "auc_10": "AUC@10",
    "log_error": "log error",
    "log_error_median": "median",
    "pinball": "pinball",
    "coverage_80": "coverage 80",
    "underestimated": "underest.",
}


def rows(found: Measurement, target: str) -> Iterator[tuple[str, ...]]:
    """Yield the ranker with its intervals, the ceiling and every baseline."""
    of = found.targets[target]
    yield "ranker", *(_with_interval(of.model[key], of.interval.get(key)) for key in MEASURES)
    yield "ceiling", *(_number(of.ceiling[key]) for key in MEASURES)
    for name, measured in of.baselines.items():
        yield name, *(_number(measured[key]) for key in MEASURES)


def probe_rows(found: Measurement) -> Iterator[tuple[str, ...]]:
    """Yield what one and two finished siblings are worth, against the mean of all samples."""
    for count, sources in found.probes.items():
        for name, measured in sources.items():
            yield f"{name}, {count} finished", *(_number(measured.get(key)) for key in list(HEADINGS)[:8])


def for_terminal(found: Measurement) -> Iterator[Table]:
    """Yield one table for each target, and one of finished siblings."""
    for target, title in TITLES.items():
        yield _table(title, list(HEADINGS.values()), list(rows(found, target)))
    if found.probes:
        yield _table("Once siblings have finished", list(HEADINGS.values())[:8], list(probe_rows(found)))


def _table(title: str, headings: list[str], lines: list[tuple[str, ...]]) -> Table:
    table = Table(title=Text(title), title_justify="left", box=box.SIMPLE)
    for k, heading in enumerate(["", *headings]):
        table.add_column(Text(heading), justify="right" if k else "left", no_wrap=not k)
    for line in lines:
        table.add_row(*map(Text, line))
    return table


def _number(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.3f}"


def _with_interval(value: float | None, interval: tuple[float, float] | None) -> str:
    if value is None or interval is None:
        return _number(value)
    return f"{value:.3f} ±{(interval[1] - interval[0]) / 2:.3f}"
