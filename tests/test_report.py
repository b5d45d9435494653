"""Results: what is written can be read, and the report says what the records say and needs nothing else."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from makespan.harness import store
from makespan.harness.headlines import headline, headroom
from makespan.harness.races import sections
from makespan.harness.record import SCHEMA, Record
from makespan.harness.report import html, write_report
from makespan.harness.store import read_records, write_record
from makespan.harness.table import NOTE, for_terminal, markdown

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
COUNTS = st.integers(0, 2**62)

RECORDS = st.builds(
    Record,
    **dict.fromkeys(("workload", "policy", "information", "profile", "engine"), NAMES),
    **{name: COUNTS for name, kind in Record.__annotations__.items() if kind is int},
    **{name: NUMBERS for name, kind in Record.__annotations__.items() if kind is float},
    time_share=st.dictionaries(NAMES, NUMBERS, max_size=4),
    completion=st.lists(NUMBERS, max_size=5).map(tuple),
    batch_timeline=st.lists(st.lists(NUMBERS, max_size=3).map(tuple), max_size=3).map(tuple),
    schema=st.just(SCHEMA),
)


def record(
    policy: str = "fifo",
    makespan_s: float = 100.0,
    *,
    information: str = "none",
    workload: str = "maths",
    profile: str = "toy",
    per_slot: int = 4,
    seed: int = 0,
    lower_bound_s: float = 80.0,
    tail_ratio: float = 7.0,
    delivered_tokens: int = 5000,
) -> Record:
    """Return a record that is consistent with a makespan of 100 s of fifo."""
    return Record(
        workload=workload,
        policy=policy,
        information=information,
        profile=profile,
        engine="simulated",
        instances=2,
        max_batch=8,
        requests=16 * per_slot,
        groups=2 * per_slot,
        seed=seed,
        makespan_s=makespan_s,
        lower_bound_s=lower_bound_s,
        gap=makespan_s / lower_bound_s,
        tail_time_s=makespan_s / 4,
        bubble=0.25,
        preemptions=1234,
        recomputed_tokens=56789,
        wasted_tokens=5000 - delivered_tokens,
        generated_tokens=5000,
        delivered_tokens=delivered_tokens,
        decide_s=0.01,
        simulate_s=0.1,
        events=100,
        requests_per_slot=float(per_slot),
        tail_ratio=tail_ratio,
        headroom=1 - lower_bound_s / 100.0,
        speedup_over_fifo=100.0 / makespan_s,
        time_share={"prefill": 0.05, "decode": 0.65, "recompute": 0.05, "idle": 0.25},
        completion=tuple(makespan_s * (k / 100) ** 2 for k in range(101)),
        batch_timeline=((8.0, 8.0, 5.5, 1.0), (8.0, 6.0, 0.25, 0.0)),
    )


def race(per_slot: int = 4) -> list[Record]:
    """Return the records of a small race."""
    return [
        record("fifo", per_slot=per_slot),
        record("pull", 90.0 + per_slot / 10, per_slot=per_slot),
        record("pull_lpt", 95.0, information="prompt_length", per_slot=per_slot),
        record("pull_lpt", 84.0, information="oracle", per_slot=per_slot),
    ]


RACES = [*race(1), *race(4), *(replace(r, profile="other") for r in race(2))]


class Page(HTMLParser):
    """What a browser would find in a page: tags, attributes, and the rows of its tables."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.rows: list[list[str]] = []
        self._in_cell = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take note of an element."""
        self.tags.append(tag)
        self.attributes += attrs
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self._in_cell = True
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        """Leave a cell."""
        if tag in ("td", "th"):
            self._in_cell = False

    def handle_data(self, data: str) -> None:
        """Take note of the text of a cell."""
        if self._in_cell:
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def page() -> str:
    return html(RACES)


def markdown_rows(text: str) -> Iterator[list[str]]:
    for line in text.splitlines():
        if line.startswith("| "):
            yield [cell.strip() for cell in line.strip("|").split("|")]


@given(RECORDS)
def test_a_record_that_is_read_equals_the_one_written(made: Record) -> None:
    with TemporaryDirectory() as folder:
        path = write_record(made, Path(folder))
        assert path.parent == Path(folder) / "records"
        assert read_records(Path(folder)) == [made]


def test_writing_an_experiment_again_replaces_it(tmp_path: Path) -> None:
    write_record(record(makespan_s=100.0), tmp_path)
    write_record(record(makespan_s=99.0), tmp_path)
    assert [r.makespan_s for r in read_records(tmp_path)] == [99.0]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_json_does_not_know_is_refused_and_nothing_is_written(tmp_path: Path, value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        write_record(replace(record(), completion=(0.0, value)), tmp_path)
    assert not list(tmp_path.rglob("*.json"))


def test_a_crash_while_writing_leaves_what_was_there_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    first = write_record(record("first"), tmp_path)
    report = write_report([record()], tmp_path).read_bytes()
    monkeypatch.setattr(store, "replace", crash)
    with pytest.raises(KeyboardInterrupt):
        write_record(record("second"), tmp_path)
    with pytest.raises(KeyboardInterrupt):
        write_record(replace(record("first"), makespan_s=1.0), tmp_path)
    with pytest.raises(KeyboardInterrupt):
        write_report(RACES, tmp_path)
    assert list((tmp_path / "records").iterdir()) == [first]
    assert read_records(tmp_path) == [record("first")]
    assert (tmp_path / "report.html").read_bytes() == report


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"schema": "makespan.experiment/0"}, f"the schema must be '{SCHEMA}', got 'makespan.experiment/0'"),
        ({"gap": None}, "gap must be a number, got None"),
        ({"seed": 1.5}, "seed must be a whole number, got 1.5"),
        ({"policy": 3}, "policy must be a string, got 3"),
        ({"completion": [1.0, "2"]}, "completion must be numbers, got"),
        ({"batch_timeline": [1.0]}, "batch_timeline must be a row of numbers per instance, got"),
        ({"time_share": {"idle": True}}, "time_share must be an object of numbers, got"),
        ({"colour": "red"}, "got the unknown colour"),
    ],
)
def test_a_record_that_breaks_the_schema_is_named_with_the_rule(
    tmp_path: Path, change: dict[str, object], complaint: str
) -> None:
    path = write_record(record(), tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=re.escape(complaint)) as caught:
        read_records(tmp_path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_field_is_named(tmp_path: Path) -> None:
    path = write_record(record(), tmp_path)
    found = json.loads(path.read_text())
    del found["gap"], found["bubble"]
    path.write_text(json.dumps(found))
    with pytest.raises(ValueError, match=r"got no bubble, gap$"):
        read_records(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"gap": NaN}'])
def test_a_file_that_is_no_record_is_named(tmp_path: Path, text: str) -> None:
    path = write_record(record(), tmp_path)
    path.write_text(text)
    with pytest.raises(ValueError, match=re.escape(str(path))):
        read_records(tmp_path)


def test_a_folder_without_records_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="records"):
        read_records(tmp_path)


def test_a_report_of_nothing_is_an_error_and_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one record, got 0"):
        write_report([], tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_experiment_that_is_reported_twice_is_an_error() -> None:
    with pytest.raises(ValueError, match="must be reported once"):
        markdown([record(), record()])


def test_the_page_refers_to_nothing_outside_itself(page: str) -> None:
    found = Page(page)
    for name, value in found.attributes:
        if name in ("src", "href", "xlink:href", "action", "data", "srcset"):
            assert value is not None
            assert value.startswith(("#", "data:")), value
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", page))
    assert not {"link", "iframe", "object", "embed", "base"} & set(found.tags)
    assert "@import" not in page
    assert "://" not in re.sub(r' xmlns(:\w+)?="[^"]*"', "", page)


def test_every_link_leads_to_a_race_and_every_identifier_is_used_once(page: str) -> None:
    found = Page(page)
    identifiers = [value for name, value in found.attributes if name == "id"]
    assert len(identifiers) == len(set(identifiers))
    links = [value for name, value in found.attributes if name == "href"]
    assert len(links) == 3
    assert {str(link)[1:] for link in links} <= set(identifiers)


def test_the_tables_say_what_the_records_say(page: str) -> None:
    for rows in (Page(page).rows, list(markdown_rows(markdown(RACES)))):
        for profile in ("toy", "other"):
            mine = [r for r in RACES if r.profile == profile]
            for name, informed in {(r.policy, r.information) for r in mine}:
                runs = sorted((r for r in mine if (r.policy, r.information) == (name, informed)), key=lambda r: r.requests)
                expected = [name, informed]
                for r in runs:
                    expected += [f"{r.gap:.3f}", f"{r.speedup_over_fifo:.2f}×"]
                expected += [f"{r.tail_time_s / r.makespan_s:.1%}", f"{r.bubble:.1%}", "1,234", "56,789"]
                assert expected in rows


def test_rows_are_sorted_by_gap_under_the_heaviest_load(page: str) -> None:
    gaps = [row[4] for row in Page(page).rows if len(row) == 10 and row[0] != "policy"]
    assert gaps == sorted(gaps)
    assert len(gaps) == 4


def test_several_seeds_are_shown_as_median_and_range() -> None:
    records = [record("fifo", seed=s) for s in range(3)]
    records += [record("pull", makespan_s, seed=s) for s, makespan_s in enumerate((96.0, 88.0, 80.0))]
    text = markdown(records)
    assert ["pull", "none", "1.100 (1.000–1.200)", "1.14× (1.04×–1.25×)"] in [row[:4] for row in markdown_rows(text)]
    assert "Median over 3 seeds" in text


def test_a_policy_that_was_not_run_under_every_load_has_a_gap_in_its_row() -> None:
    rows = list(markdown_rows(markdown([*race(1), *race(4), record("slow", 90.0, per_slot=1)])))
    assert ["slow", "none", "1.125", "1.11×", *["–"] * 6] == rows[-1]


def test_the_headline_names_the_winners_and_the_limit() -> None:
    (section,) = sections(race())
    assert headline(section.races[0]) == (
        "Best policy without any information: pull, 10 % faster than fifo. "
        "Best with partial information: pull_lpt with prompt_length, 5.2 % faster. "
        "Best with oracle: pull_lpt, 19 % faster. Nothing can be more than 25 % faster than fifo."
    )


@given(st.floats(0.001, 100.0))
def test_no_policy_beats_what_the_headline_calls_impossible(lower_bound_s: float) -> None:
    (section,) = sections([record(lower_bound_s=lower_bound_s)])
    (limit,) = re.findall(r"more than ([\d.,]+) %", headline(section.races[0]))
    assert float(limit.replace(",", "")) + 1e-6 >= 100 * (100.0 / lower_bound_s - 1)


@pytest.mark.parametrize(
    ("per_slot", "tail_ratio", "reason"),
    [(1, 7.0, "no queue forms"), (4, 7.0, "the longest request dominates"), (16, 7.0, "busy to the end")],
)
def test_where_nothing_can_be_won_the_report_says_so_and_why(per_slot: int, tail_ratio: float, reason: str) -> None:
    records = [record(per_slot=per_slot, tail_ratio=tail_ratio, lower_bound_s=98.0)]
    (section,) = sections(records)
    words = headroom(section.races[0])
    assert "nothing to win" in words
    assert reason in words
    assert words in markdown(records)


def test_a_policy_that_gives_up_requests_is_marked_and_never_the_best() -> None:
    records = [*race(), record("quitter", 50.0, delivered_tokens=4000, lower_bound_s=45.0)]
    (section,) = sections([replace(r, headroom=0.2) for r in records])
    assert "quitter" not in headline(section.races[0])
    assert "quitter †" in [row[0] for row in markdown_rows(markdown(records))]
    assert NOTE in markdown(records)
    assert NOTE in html(records)
    assert NOTE not in markdown(race())


@settings(max_examples=3, deadline=None)
@given(st.permutations(race()))
def test_the_same_records_in_any_order_give_the_same_bytes(shuffled: list[Record]) -> None:
    with TemporaryDirectory() as one, TemporaryDirectory() as other:
        first, second = write_report(race(), Path(one)), write_report(shuffled, Path(other))
        assert first.read_bytes() == second.read_bytes()
        assert first.with_suffix(".md").read_bytes() == second.with_suffix(".md").read_bytes()


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", '"><img src=x onerror=y>', "a|b\n# c", "$x_{$", "{{ 7 * 7 }}"]
)
def test_a_hostile_name_is_shown_as_it_is_and_does_nothing(name: str) -> None:
    hostile = replace(record(), workload=name, policy=name, information=name, profile=name)
    found = Page(html([hostile]))
    assert found.tags.count("script") == 1
    assert "img" not in found.tags
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert name in [cell for row in found.rows for cell in row]
    text = markdown([hostile])
    assert "<" not in text
    assert {len(row) for row in markdown_rows(text)} == {8}


def test_every_policy_is_printed_on_a_terminal() -> None:
    written = StringIO()
    (section,) = sections([*race(), record("[red]odd")])
    Console(width=200, file=written).print(for_terminal(section))
    for policy in ("fifo", "pull", "pull_lpt", "[red]odd"):
        assert policy in written.getvalue()


def test_every_name_and_headline_is_on_the_page(page: str) -> None:
    for r in RACES:
        assert page.count(r.policy) > 4
        assert r.information in page
    assert page.count("Nothing can be more than 25 % faster than fifo.") == 3
    assert page.count("<svg") == 12
