"""All races at one glance: every policy on each workload, what information is worth to it, and who beats whom."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from scipy.stats import binomtest

from makespan.harness.markdown_table import markdown_table
from makespan.harness.record import Record

OURS = "finish_together"
TIE = 1e-3
"""Gaps that differ by less count as equal."""

Cell = tuple[str, str, int, int, int, int]


@dataclass(frozen=True, slots=True)
class Glance:
    """A table: headings, rows of text, and a sentence that says how to read it."""

    title: str
    note: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def glances(records: Sequence[Record]) -> list[Glance]:
    """Return the tables that say more than the races one by one: none where there is but one workload and load."""
    simulated = [r for r in records if r.engine == "simulated" and not r.wasted_tokens]
    if len({_cell(r)[:-1] for r in simulated}) < 2:
        return []
    return [by_workload(simulated), ladder(simulated)]


def by_workload(records: Sequence[Record]) -> Glance:
    """Return the median gap of every policy and information on each workload, and how often it loses to our own policy."""
    workloads = sorted({r.workload for r in records})
    ours = {(_cell(r), r.information): r.gap for r in records if r.policy == OURS}
    entries = []
    for (policy, information), found in _grouped(records, lambda r: (r.policy, r.information)).items():
        gaps = [[r.gap for r in found if r.workload == name] for name in workloads]
        pairs = [(r.gap, ours[key]) for r in found if (key := (_cell(r), r.information)) in ours and policy != OURS]
        entries.append((median(r.gap for r in found), policy, information, gaps, max(r.gap for r in found), pairs))
    rows = [
        (policy, information, *(f"{median(g):.3f}" if g else "–" for g in gaps), f"{worst:.3f}", *_against(pairs))
        for _, policy, information, gaps, worst, pairs in sorted(entries, key=lambda e: e[:3])
    ]
    note = (
        "Median gap over all profiles, loads and seeds of a workload; the worst; in how many paired cells "
        f"it ends later and sooner than {OURS} with the same information, and the 95 % interval of the share of the first."
    )
    heads = ("policy", "information", *workloads, "worst", "later", "sooner", "95 %")
    return Glance("Every policy on every workload", note, heads, tuple(rows))


def ladder(records: Sequence[Record]) -> Glance:
    """Return the median gap of every policy with each source, over the cells in which it ran with all of them."""
    sources = sorted({r.information for r in records}, key=lambda name: -_median_gap(records, name))
    found = _grouped(records, lambda r: (r.policy,))
    rows = []
    for (policy,), runs in sorted(found.items()):
        by_source = _grouped(runs, lambda r: (r.information,))
        if len(by_source) > 1:
            shared = set.intersection(*({_cell(r) for r in each} for each in by_source.values()))
            gaps = [[r.gap for r in by_source.get((name,), []) if _cell(r) in shared] for name in sources]
            rows.append((policy, *(f"{median(g):.3f}" if g else "–" for g in gaps)))
    note = "Median gap to the bound; the sources stand from the least to the most useful to all policies together."
    return Glance("What information is worth", note, ("policy", *sources), tuple(rows))


def markdown(found: Sequence[Glance]) -> list[str]:
    """Return the tables in Markdown."""
    lines = []
    for glance in found:
        words = 2 if "information" in glance.headings else 1
        lines += [f"## {glance.title}", "", glance.note, "", *markdown_table(glance.headings, glance.rows, words=words), ""]
    return lines


def _against(pairs: Sequence[tuple[float, float]]) -> tuple[str, str, str]:
    later = sum(gap > own * (1 + TIE) for gap, own in pairs)
    sooner = sum(gap < own * (1 - TIE) for gap, own in pairs)
    if not later + sooner:
        return (str(later), str(sooner), "–") if pairs else ("–", "–", "–")
    low, high = binomtest(later, later + sooner).proportion_ci(method="wilson")
    return str(later), str(sooner), f"{low:.0%}–{high:.0%}"


def _median_gap(records: Sequence[Record], information: str) -> float:
    return median(r.gap for r in records if r.information == information)


def _cell(r: Record) -> Cell:
    return (r.workload, r.profile, r.requests, r.instances, r.max_batch, r.seed)


def _grouped(records: Sequence[Record], key: Callable[[Record], tuple[str, ...]]) -> dict[tuple[str, ...], list[Record]]:
    groups: dict[tuple[str, ...], list[Record]] = defaultdict(list)
    for record in records:
        groups[key(record)].append(record)
    return groups
