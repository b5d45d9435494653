"""The report: the same records as Markdown and as one HTML page that needs nothing else to be read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import join

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from makespan.harness import agreement, overview, pictures, table
from makespan.harness.drawing import Look, clock, looks
from makespan.harness.headlines import headline, headroom
from makespan.harness.races import Race, Section, sections
from makespan.harness.record import SCHEMA, Record
from makespan.harness.store import write_whole


@dataclass(frozen=True, slots=True)
class _RaceView:
    """A race, drawn."""

    name: str
    race: Race
    gaps: Markup
    batches: Markup
    completion: Markup
    time_spent: Markup


@dataclass(frozen=True, slots=True)
class _SectionView:
    """A section with its races, drawn."""

    section: Section
    races: tuple[_RaceView, ...]


def write_report(records: Sequence[Record], folder: Path) -> Path:
    """Write ``report.md`` and ``report.html`` into `folder` and return the path of the page.

    Equal records give equal bytes.

    Raises
    ------
    ValueError
        When there is no record, or two of the same experiment.
    """
    text, page = table.markdown(records), html(records)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "report.md", text)
    write_whole(folder / "report.html", page)
    return folder / "report.html"


def html(records: Sequence[Record]) -> str:
    """Return the page."""
    look = looks([record.information for record in records])
    views = [
        _SectionView(section, tuple(_draw(race, look, f"race-{s}-{k}") for k, race in enumerate(section.races, 1)))
        for s, section in enumerate(sections(records), 1)
    ]
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(
        views=views,
        count=len(records),
        schema=SCHEMA,
        commands=commands(records),
        duration=duration,
        headline=headline,
        headroom=headroom,
        table=table,
        glances=overview.glances(records),
        agreements=agreement.agreements(records),
        foretold_headings=agreement.HEADINGS,
        foretold_cells=agreement.cells,
    )


def commands(records: Sequence[Record]) -> list[str]:
    """Return what to type to make these results again, and this page from them."""
    loads: dict[tuple[str, ...], set[float]] = {}
    for r in records:
        words = ["--workload", r.workload, "--instances", str(r.instances)]
        if r.measured_makespan_s is None:
            words += ["--profile", r.profile]
        else:
            # Step times are measured anew, and lengths that are replayed and lengths of the model's own come together.
            words += ["--engine", "vllm", "--requests", str(r.requests)]
        loads.setdefault(tuple(words), set()).add(r.requests_per_slot)
    made = []
    for chosen, levels in sorted(loads.items()):
        options = [word for level in sorted(levels) for word in ("--requests-per-slot", f"{level:g}")]
        made.append(join(["pytest", "harness/", "--benchmark", *chosen, *options, "--out", "OUT"]))
    return [*made, "makespan report OUT"]


def duration(seconds: float) -> str:
    """Return seconds in the unit in which they read well."""
    second, unit = clock(seconds)
    return f"{seconds / second:.4g} {unit}"


def _draw(race: Race, look: Mapping[str, Look], name: str) -> _RaceView:
    # The pictures escape every name themselves.
    return _RaceView(
        name=name,
        race=race,
        gaps=Markup(pictures.gaps(race, look, f"{name}-gaps")),
        batches=Markup(pictures.batches(race, f"{name}-batches")),
        completion=Markup(pictures.completion(race, look, f"{name}-completion")),
        time_spent=Markup(pictures.time_spent(race, f"{name}-time")),
    )
