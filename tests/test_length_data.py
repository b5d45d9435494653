"""Length data: every format gives back what was written, and every malformed row is named."""

import csv
import gzip
import io
import json
import re
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from makespan.ranker import length_reading, row_file
from makespan.ranker.length_columns import LengthColumns
from makespan.ranker.length_data import LengthData, LengthDataError, LengthPath, read_lengths
from makespan.ranker.length_reading import block_by_row, read_columns
from makespan.ranker.row_file import RowFile

Row = dict[str, Any]
FORMATS = [f"{kind}{packed}" for kind in ("jsonl", "csv", "parquet") for packed in ("", ".gz", ".zst")]
quick = settings(
    max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def written(folder: Path, rows: list[Row], format: str = "jsonl", name: str = "lengths") -> Path:
    """Write rows in a format; a CSV cell holds a list as JSON."""
    kind, _, packed = format.partition(".")
    if kind == "jsonl":
        data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    elif kind == "csv":
        text = io.StringIO(newline="")
        names = list(dict.fromkeys(name for row in rows for name in row))
        writer = csv.DictWriter(text, names)
        writer.writeheader()
        writer.writerows({name: cell(value) for name, value in row.items()} for row in rows)
        data = text.getvalue().encode()
    else:
        sink = pa.BufferOutputStream()
        parquet.write_table(pa.Table.from_pylist(rows), sink)
        data = sink.getvalue().to_pybytes()
    if packed == "gz":
        data = gzip.compress(data)
    elif packed == "zst":
        data = pa.compress(data, codec="zstd", asbytes=True)
    path = folder / f"{name}.{format}"
    path.write_bytes(data)
    return path


def cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, (list, dict)) else value


def raw(folder: Path, data: str | bytes, name: str = "lengths.jsonl") -> Path:
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def samples_of(data: LengthData) -> list[list[int]]:
    return [part.tolist() for part in np.split(data.output_tokens, np.cumsum(data.samples)[:-1])]


def assert_equal(left: Any, right: Any) -> None:
    for field in fields(left):
        one, other = getattr(left, field.name), getattr(right, field.name)
        if isinstance(one, np.ndarray):
            np.testing.assert_array_equal(one, other)
            assert one.dtype == other.dtype
        else:
            assert list(one) == list(other)


tokens = st.integers(1, 100_000)
words = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=12)


@st.composite
def tables(draw: st.DrawFn) -> list[Row]:
    """Rows that are alike, as a file of one origin has them."""
    outputs = draw(st.sampled_from([tokens, st.lists(tokens, min_size=1, max_size=4)]))
    columns: dict[str, st.SearchStrategy[Any]] = {"prompt": words, "prompt_tokens": tokens, "output_tokens": outputs}
    optional: dict[str, st.SearchStrategy[Any]] = {
        "group": draw(st.sampled_from([words, st.integers(0, 3)])),
        "model": words,
        "arrival": st.floats(0, 1e6),
        "cap": st.integers(100_000, 10**6),
        "previous_tokens": st.floats(1, 1e5),
    }
    chosen = draw(st.sets(st.sampled_from(sorted(optional))))
    columns |= {name: optional[name] for name in sorted(chosen)}
    return draw(st.lists(st.fixed_dictionaries(columns), min_size=1, max_size=6))


@quick
@given(rows=tables(), format=st.sampled_from(FORMATS))
def test_every_format_and_compression_gives_back_what_was_written(tmp_path: Path, rows: list[Row], format: str) -> None:
    data = read_lengths(written(tmp_path, rows, format))
    assert samples_of(data) == [
        row["output_tokens"] if isinstance(row["output_tokens"], list) else [row["output_tokens"]] for row in rows
    ]
    assert list(data.prompt) == [row["prompt"] for row in rows]
    assert data.prompt_tokens.tolist() == [row["prompt_tokens"] for row in rows]
    assert list(data.model) == [row.get("model") for row in rows]
    assert data.arrival.tolist() == [row.get("arrival", 0.0) for row in rows]
    assert data.cap.tolist() == [row.get("cap", 0) for row in rows]
    np.testing.assert_array_equal(data.previous_tokens, [row.get("previous_tokens", np.nan) for row in rows])
    shared = [(row.get("model"), str(row.get("group", row["prompt"]))) for row in rows]
    assert [[one == other for other in data.group] for one in data.group] == [
        [one == other for other in shared] for one in shared
    ]


@quick
@given(rows=tables(), format=st.sampled_from(["jsonl", "parquet"]), where=st.booleans())
def test_the_fast_way_gives_what_reading_row_by_row_gives(tmp_path: Path, rows: list[Row], format: str, where: bool) -> None:
    file = RowFile.open(written(tmp_path, rows, format))
    path = LengthPath(Path(file.name), (("prompt", rows[0]["prompt"]),) if where else ())
    fast, malformed = read_columns(file, path)
    slow = [block_by_row(block, file, path) for block in file.blocks()]
    assert malformed == sum(left_out for _, left_out in slow) == 0
    assert_equal(fast, LengthColumns.joined([columns for columns, _ in slow]))


@quick
@given(rows=tables(), format=st.sampled_from(FORMATS), block=st.integers(1, 120))
def test_what_is_read_does_not_depend_on_the_size_of_the_blocks(
    tmp_path: Path, rows: list[Row], format: str, block: int
) -> None:
    path = written(tmp_path, rows * 3, format)
    whole = read_lengths(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_file, "BLOCK_BYTES", block)
        patch.setattr(row_file, "BLOCK_ROWS", 1 + block % 4)
        again = read_lengths(path)
    np.testing.assert_array_equal(again.group, whole.group)
    for field in fields(LengthColumns):
        np.testing.assert_array_equal(np.asarray(getattr(again, field.name)), np.asarray(getattr(whole, field.name)))


@pytest.mark.parametrize("format", ["jsonl", "csv", "parquet"])
def test_a_malformed_row_in_a_later_block_is_named_by_its_line(
    tmp_path: Path, format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_file, "BLOCK_BYTES", 60)
    monkeypatch.setattr(row_file, "BLOCK_ROWS", 2)
    path = written(tmp_path, [{"prompt": "x", "output_tokens": t} for t in (5, 6, 7, 8, -9, 10)], format)
    with pytest.raises(LengthDataError, match=f"(line|row) {6 if format == 'csv' else 5}: output_tokens must be"):
        read_lengths(path)
    assert len(read_lengths(f"{path}#malformed=drop")) == 5


GOOD: Row = {"prompt": "How many?", "output_tokens": [3, 4]}
MALFORMED: list[tuple[Row, str]] = [
    ({"prompt": "x"}, "output_tokens must be given, a number or one number per sample, got none"),
    ({"prompt": "x", "output_tokens": None}, "output_tokens must be given, a number or one number per sample, got none"),
    ({"prompt": "x", "output_tokens": -2}, "output_tokens must be a whole number of at least 0, got -2"),
    ({"prompt": "x", "output_tokens": -45}, "output_tokens must be a whole number of at least 0, got -45"),
    ({"prompt": "x", "output_tokens": 2.5}, "output_tokens must be a whole number of at least 0, got 2.5"),
    ({"prompt": "x", "output_tokens": float("nan")}, "output_tokens must be a whole number of at least 0, got NaN"),
    ({"prompt": "x", "output_tokens": float("inf")}, "output_tokens must be a whole number of at least 0, got Infinity"),
    (
        {"prompt": "x", "output_tokens": 10**30},
        "output_tokens must be at most 2147483647, got 1000000000000000000000000000000",
    ),
    ({"prompt": "x", "output_tokens": True}, "output_tokens must be a whole number of at least 0, got true"),
    ({"prompt": "x", "output_tokens": "many"}, 'output_tokens must be a whole number of at least 0, got "many"'),
    ({"prompt": "x", "output_tokens": []}, "output_tokens must be a number, or a list with one number per sample, got []"),
    ({"prompt": "x", "output_tokens": [5, -1]}, "output_tokens[1] must be a whole number of at least 0, got -1"),
    ({"prompt": "x", "output_tokens": [5, None]}, "output_tokens[1] must be a whole number of at least 0, got null"),
    ({"prompt": "x", "tokens": -1}, "tokens must be a whole number of at least 0, got -1"),
    ({"prompt": "x", "tokens": 1, "output_tokens": 1}, "output_tokens must be given once, got output_tokens and tokens"),
    ({"prompt": "x", "output_tokens": 1, "prompt_tokens": 0}, "prompt_tokens must be a whole number of at least 1, got 0"),
    ({"prompt": "x", "output_tokens": 1, "cap": 0.5}, "cap must be a whole number of at least 1, got 0.5"),
    ({"prompt": "x", "output_tokens": [1, 9], "cap": 8}, "output_tokens must not exceed the cap of 8, got 9"),
    ({"prompt": "x", "output_tokens": 1, "arrival": -1}, "arrival must be a finite number of at least 0, got -1"),
    ({"prompt": "x", "output_tokens": 1, "arrival": "soon"}, 'arrival must be a finite number of at least 0, got "soon"'),
    ({"prompt": "x", "output_tokens": 1, "previous_tokens": 0}, "previous_tokens must be a finite number above 0, got 0"),
    (
        {"prompt": "x", "output_tokens": 1, "finish_reasons": ["stop", "stop"]},
        "finish_reasons must hold one text per sample (1)",
    ),
    ({"prompt": "x", "turns": []}, "turns must be a list with an object {gen, obs, tool} per turn, at least one, got []"),
    ({"prompt": "x", "steps": [{"obs": 1}]}, "steps[0].gen must be a whole number of at least 0, got null"),
    ({"prompt": "x", "steps": [{"gen": 1, "obs": -1}]}, "steps[0].obs must be a whole number of at least 0, got -1"),
    ({"prompt": "x", "steps": [{"gen": 0}]}, "the sum of gen in steps must be a whole number of at least 1, got 0"),
    ({"prompt": "x", "steps": [3]}, "steps[0] must be an object {gen, obs, tool}, got 3"),
    ({"prompt": "x", "output_tokens": 5, "turns": [{"gen": 4}]}, "output_tokens must be the 4 generated in turns, got [5]"),
]
MALFORMED_JSON: list[tuple[Row, str]] = [
    ({"prompt": 7, "output_tokens": 1}, "prompt must be a text, got 7"),
    ({"prompt": "x", "output_tokens": "5"}, 'output_tokens must be a whole number of at least 0, got "5"'),
    ({"prompt": "x", "output_tokens": [[1]]}, "output_tokens[0] must be a whole number of at least 0, got [1]"),
    ({"prompt": "x", "output_tokens": 1, "group": [1]}, "group must be a text or a number, got [1]"),
    ({"prompt": "x", "output_tokens": 1, "model": {}}, "model must be a text or a number, got {}"),
    ({"prompt": "\ud800", "output_tokens": 1}, "prompt must be a text, got"),
]


@pytest.mark.parametrize(("bad", "rule"), MALFORMED + MALFORMED_JSON)
def test_a_malformed_json_row_is_named_by_file_line_field_and_rule(tmp_path: Path, bad: Row, rule: str) -> None:
    path = written(tmp_path, [GOOD, bad, GOOD])
    with pytest.raises(LengthDataError, match=re.escape(f"{path}, line 2: {rule}")) as caught:
        read_lengths(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("bad", "rule"), MALFORMED)
def test_a_malformed_csv_row_is_named_by_file_line_field_and_rule(tmp_path: Path, bad: Row, rule: str) -> None:
    path = written(tmp_path, [GOOD, bad, GOOD], "csv")
    for value, as_cell in (("true", '"True"'), ("NaN", '"nan"'), ("Infinity", '"inf"')):
        rule = rule.replace(f"got {value}", f"got {as_cell}")
    with pytest.raises(LengthDataError, match=re.escape(f"{path}, line 3: {rule}")):
        read_lengths(path)


@pytest.mark.parametrize("value", [-1, -3, 2.5, None, float("nan")])
def test_a_malformed_parquet_row_is_named_by_its_number(tmp_path: Path, value: float | None) -> None:
    rows: list[Row] = [{"prompt": "x", "output_tokens": 1.0}, {"prompt": "x", "output_tokens": value}]
    with pytest.raises(LengthDataError, match=r"lengths\.parquet, row 2: output_tokens must be "):
        read_lengths(written(tmp_path, rows, "parquet"))


@quick
@given(
    before=st.integers(0, 5),
    after=st.integers(0, 5),
    bad=st.sampled_from(MALFORMED),
    packed=st.sampled_from(["", ".gz", ".zst"]),
)
def test_the_line_of_a_malformed_row_is_its_own_wherever_it_stands(
    tmp_path: Path, before: int, after: int, bad: tuple[Row, str], packed: str
) -> None:
    path = written(tmp_path, [GOOD] * before + [bad[0]] + [GOOD] * after, f"jsonl{packed}")
    with pytest.raises(LengthDataError, match=re.escape(f", line {before + 1}: {bad[1]}")):
        read_lengths(path)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (b'{"prompt": "x", "output_tokens": 1', "Expecting ',' delimiter at column 35"),
        (b'{"prompt": "x"} {"output_tokens": 1}', "Extra data at column 17"),
        (b"3", "3"),
        (b"[1]", "[1]"),
        (b'{"prompt": "\xff", "output_tokens": 1}', "'utf-8' codec can't decode"),
    ],
)
def test_a_line_that_is_no_json_object_is_named(tmp_path: Path, line: bytes, found: str) -> None:
    path = raw(tmp_path, b'{"prompt": "x", "output_tokens": 1}\n' + line + b"\n")
    with pytest.raises(LengthDataError, match=re.escape(f", line 2: a row must be a JSON object, got {found}")):
        read_lengths(path)


def test_two_objects_in_a_line_are_malformed_even_where_a_blank_line_makes_up_for_it(tmp_path: Path) -> None:
    path = raw(
        tmp_path, '{"prompt":"a","output_tokens":1}\n\n\n{"prompt":"b","output_tokens":1}{"prompt":"c","output_tokens":1}\n'
    )
    with pytest.raises(LengthDataError, match=r"line 4: a row must be a JSON object"):
        read_lengths(path)


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\n\n", ""])
def test_line_ends_blank_lines_and_a_byte_order_mark_do_not_matter(tmp_path: Path, ending: str) -> None:
    path = raw(tmp_path, '\ufeff{"prompt":"a","output_tokens":1}\n\n{"prompt":"b","output_tokens":2}' + ending)
    data = read_lengths(path)
    assert (data.output_tokens.tolist(), data.line.tolist()) == ([1, 2], [1, 3])


def test_a_csv_row_is_named_by_the_line_it_starts_on(tmp_path: Path) -> None:
    path = raw(tmp_path, 'prompt,output_tokens\n"two\nlines",5\nx,-1\n', "lengths.csv")
    with pytest.raises(LengthDataError, match=r"line 4: output_tokens must be a whole number of at least 0, got -1"):
        read_lengths(path)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("prompt,output_tokens\nx,1\ny\n", "line 3: a row must have 2 cells, as the header has, got 1"),
        ("prompt,prompt\nx,1\n", 'line 1: column names must differ, got ["prompt", "prompt"]'),
        ('prompt,output_tokens\nx,1\n"y,2\n', "line 3: a row must be valid CSV, got unexpected end of data"),
    ],
)
def test_a_malformed_csv_file_is_named_by_its_line(tmp_path: Path, text: str, rule: str) -> None:
    with pytest.raises(LengthDataError, match=re.escape(rule)):
        read_lengths(raw(tmp_path, text, "lengths.csv"))


def test_numbers_and_lists_may_stand_in_one_column(tmp_path: Path) -> None:
    rows: list[Row] = [{"prompt": "x", "output_tokens": 5}, {"prompt": "y", "output_tokens": [6, 7]}]
    for format in ("jsonl", "csv"):
        assert samples_of(read_lengths(written(tmp_path, rows, format))) == [[5], [6, 7]]


def test_a_whole_number_may_be_written_with_a_point(tmp_path: Path) -> None:
    assert read_lengths(raw(tmp_path, '{"prompt": "x", "output_tokens": 5.0}\n')).output_tokens.tolist() == [5]


def test_prompts_that_look_like_dates_or_numbers_stay_texts(tmp_path: Path) -> None:
    prompts = ["2024-01-01", "2024-01-02T03:04:05Z"]
    for format in FORMATS:
        data = read_lengths(written(tmp_path, [{"prompt": text, "output_tokens": 1} for text in [*prompts, "007"]], format))
        assert list(data.prompt) == [*prompts, "007"]
    assert (
        list(read_lengths(written(tmp_path, [{"prompt": text, "output_tokens": 1} for text in prompts])).prompt) == prompts
    )


def test_further_fields_are_allowed(tmp_path: Path) -> None:
    rows = [{**GOOD, "reward": 1, "steps": 400}, {**GOOD, "reward": "none", "tags": [{}]}]
    assert len(read_lengths(written(tmp_path, rows))) == 2


def test_files_without_pyarrow_are_read_row_by_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(module: str) -> Any:
        raise ModuleNotFoundError(module)

    path = written(tmp_path, [GOOD])
    expected = read_lengths(path)
    monkeypatch.setattr(row_file, "arrow", absent)
    assert samples_of(read_lengths(path)) == samples_of(expected)


def test_a_prompt_nobody_counted_has_a_quarter_of_its_characters_as_tokens_rounded_up(tmp_path: Path) -> None:
    rows = [{"prompt": "x" * length, "output_tokens": 1} for length in (1, 4, 5, 400)]
    assert read_lengths(written(tmp_path, rows)).prompt_tokens.tolist() == [1, 1, 2, 100]


def test_a_row_with_neither_prompt_nor_its_tokens_is_malformed(tmp_path: Path) -> None:
    path = written(tmp_path, [GOOD, {"prompt_id": "a", "output_tokens": 1}])
    with pytest.raises(LengthDataError, match="line 2: prompt_tokens must be given where there is no prompt"):
        read_lengths(path)


def test_a_row_needs_no_prompt_where_its_tokens_are_counted(tmp_path: Path) -> None:
    data = read_lengths(written(tmp_path, [{"prompt_tokens": 9, "output_tokens": 1}] * 2))
    assert list(data.prompt) == [None, None]
    assert data.group.tolist() == [0, 1]


@pytest.mark.parametrize("keys", [{"group": "g"}, {"prompt_id": "g"}, {"task": "t", "pair": 0}, {}])
def test_rows_of_one_prompt_and_one_model_are_a_group(tmp_path: Path, keys: Row) -> None:
    rows = [{"prompt": "same", "output_tokens": 1, "model": model, **keys} for model in ("a", "a", "b")]
    assert read_lengths(written(tmp_path, rows)).group.tolist() == [0, 0, 1]


@pytest.mark.parametrize("name", ["prompts.jsonl", "prompts.jsonl.gz", "prompts.jsonl.zst", "prompts_bench.jsonl.zst"])
def test_prompts_are_found_in_the_file_beside(tmp_path: Path, name: str) -> None:
    prompts: list[Row] = [{"prompt_id": "a", "prompt": "What?", "prompt_tokens": 7}, {"prompt_id": "b", "prompt": "How?"}]
    stem, _, format = name.partition(".")
    written(tmp_path, prompts, format, stem)
    rows = [{"prompt_id": key, "tokens": [1]} for key in ("b", "a", "b")]
    data = read_lengths(written(tmp_path, rows, name="lengths_bench"))
    assert list(data.prompt) == ["How?", "What?", "How?"]
    assert data.prompt_tokens.tolist() == [1, 7, 1]
    assert data.group.tolist() == [0, 1, 0]


def test_prompts_are_found_by_task_and_pair(tmp_path: Path) -> None:
    written(
        tmp_path, [{"task": "t", "pair": pair, "prompt": f"{pair}?", "prompt_tokens": 3} for pair in (0, 1)], name="prompts"
    )
    rows = [{"task": "t", "pair": pair, "key": key, "tokens": 5} for pair in (1, 0) for key in ("x", "y")]
    data = read_lengths(written(tmp_path, rows))
    assert list(data.prompt) == ["1?", "1?", "0?", "0?"]
    assert data.group.tolist() == [0, 0, 1, 1]


def test_a_row_keeps_the_prompt_it_has(tmp_path: Path) -> None:
    written(tmp_path, [{"prompt_id": "a", "prompt": "theirs", "prompt_tokens": 9}], name="prompts")
    data = read_lengths(written(tmp_path, [{"prompt_id": "a", "prompt": "mine", "tokens": 1}]))
    assert (list(data.prompt), data.prompt_tokens.tolist()) == (["mine"], [9])


@pytest.mark.parametrize(
    ("second", "rule"),
    [
        ({"prompt_id": "a", "prompt": "another"}, 'prompts.jsonl: a key must name one prompt, got "a" for two'),
        ({"prompt_id": "b"}, "prompts.jsonl, line 2: prompt must be a text, got null"),
        (
            {"prompt_id": "b", "prompt": "x", "prompt_tokens": 0},
            "prompts.jsonl, line 2: prompt_tokens must be a whole number",
        ),
    ],
)
def test_a_malformed_file_of_prompts_is_named(tmp_path: Path, second: Row, rule: str) -> None:
    written(tmp_path, [{"prompt_id": "a", "prompt": "one"}, second], name="prompts")
    with pytest.raises(LengthDataError, match=re.escape(rule)):
        read_lengths(written(tmp_path, [{"prompt_id": "a", "tokens": 1}]))


def test_a_keyless_row_with_a_length_per_prompt_becomes_a_row_per_prompt(tmp_path: Path) -> None:
    written(tmp_path, [{"prompt_id": str(n), "prompt": f"{n}?", "prompt_tokens": n + 1} for n in range(3)], name="prompts")
    data = read_lengths(written(tmp_path, [{"model": "a", "tokens": [5, 6, 7]}, {"model": "b", "tokens": [8, 9, 1]}]))
    assert samples_of(data) == [[5], [6], [7], [8], [9], [1]]
    assert list(data.prompt) == ["0?", "1?", "2?"] * 2
    assert data.prompt_tokens.tolist() == [1, 2, 3] * 2
    assert list(data.model) == ["a"] * 3 + ["b"] * 3
    assert len(set(data.group.tolist())) == 6
    assert data.line.tolist() == [1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize("field", ["turns", "steps"])
@pytest.mark.parametrize("format", ["jsonl", "csv", "parquet"])
def test_the_turns_of_agentic_work_are_summed(tmp_path: Path, field: str, format: str) -> None:
    turns = [{"gen": 5, "obs": 10, "tool": "search"}, {"gen": 7, "obs": 3, "tool": "user"}]
    data = read_lengths(written(tmp_path, [{"prompt": "x", "prompt_tokens": 4, field: turns}], format))
    assert data.output_tokens.tolist() == [12]
    assert (data.prompt_tokens[0], data.observed_tokens[0], data.turns[0]) == (4, 13, 2)


def test_a_sample_counts_as_capped_by_its_finish_reason_or_else_by_its_cap(tmp_path: Path) -> None:
    rows: list[Row] = [
        {"prompt": "x", "output_tokens": [8, 8], "cap": 8, "finish_reasons": ["length", "stop"]},
        {"prompt": "x", "output_tokens": [8, 7], "cap": 8},
        {"prompt": "x", "output_tokens": [8, 7]},
    ]
    assert read_lengths(written(tmp_path, rows)).capped.tolist() == [True, False, True, False, False, False]
    assert read_lengths(written(tmp_path, rows[:1])).capped.tolist() == [True, False]


SELECTABLE = [
    {**GOOD, "model": model, "easy": easy, "idx": idx}
    for idx, (model, easy) in enumerate([("a", True), ("b", True), ("b", False)])
]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(("selector", "lines"), [("model=b", [2, 3]), ("model=b,idx=2", [3]), ("idx=0", [1])])
def test_a_selector_keeps_the_rows_that_have_its_values(
    tmp_path: Path, format: str, selector: str, lines: list[int]
) -> None:
    data = read_lengths(f"{written(tmp_path, SELECTABLE, format)}#{selector}")
    assert data.line.tolist() == [line + format.startswith("csv") for line in lines]


def test_a_selector_writes_truth_values_as_json_does(tmp_path: Path) -> None:
    assert read_lengths(f"{written(tmp_path, SELECTABLE)}#easy=false").line.tolist() == [3]


@pytest.mark.parametrize(
    ("selector", "rule"),
    [
        ("model=c", "no row has model=c; model is "),
        ("idx=0,model=b", "no row has model=b; model is a"),
        (f"model={'x' * 300}", "no row has model=xxx"),
        ("modle=b", 'no row has a field "modle"; did you mean model? Known: easy, idx, model, output_tokens, prompt'),
        ("model", 'a selector must read #field=value,field2=value2, got "model"'),
        ("previous=-1", 'previous must be a number of samples, got "-1"'),
        ("malformed=keep", 'malformed must be drop or not be given, got "keep"'),
    ],
)
def test_a_selector_that_finds_nothing_says_what_there_is(tmp_path: Path, selector: str, rule: str) -> None:
    with pytest.raises(LengthDataError, match=re.escape(f"lengths.jsonl: {rule}")):
        read_lengths(f"{written(tmp_path, SELECTABLE)}#{selector}")


def test_rows_that_a_selector_leaves_out_need_not_be_well_formed(tmp_path: Path) -> None:
    path = written(tmp_path, [{**GOOD, "model": "a"}, {"prompt": "x", "output_tokens": -1, "model": "b"}])
    assert len(read_lengths(f"{path}#model=a")) == 1
    with pytest.raises(LengthDataError, match=r"line 2: .* \(#malformed=drop leaves such rows out\)"):
        read_lengths(path)


@pytest.mark.parametrize("format", ["jsonl", "csv"])
def test_malformed_rows_are_left_out_only_where_the_path_asks_and_they_are_counted(tmp_path: Path, format: str) -> None:
    path = written(
        tmp_path, [GOOD, {"prompt": "x", "output_tokens": -1}, GOOD, {"prompt": "x", "output_tokens": -1}], format
    )
    data = read_lengths(f"{path}#malformed=drop")
    assert (len(data), data.malformed) == (2, 2)
    with pytest.raises(LengthDataError, match=r"at least one row of length data is needed, got only malformed rows \(1\)"):
        read_lengths(f"{written(tmp_path, [{'output_tokens': -1}])}#malformed=drop")


def test_a_file_whose_name_holds_a_mark_is_read_as_it_is(tmp_path: Path) -> None:
    assert len(read_lengths(written(tmp_path, [GOOD], name="run#3"))) == 1


def test_the_last_samples_of_each_row_may_be_an_earlier_epoch(tmp_path: Path) -> None:
    path = written(
        tmp_path, [{"prompt": "x", "output_tokens": [1, 2, 10, 20]}, {"prompt": "y", "output_tokens": [3, 30, 50]}]
    )
    data = read_lengths(f"{path}#previous=2")
    assert samples_of(data) == [[1, 2], [3]]
    assert data.previous_tokens.tolist() == [15.0, 40.0]
    assert data.mean_tokens.tolist() == [1.5, 3.0]
    with pytest.raises(
        LengthDataError, match="line 2: output_tokens must hold more than the 3 samples of the earlier epoch, got 3"
    ):
        read_lengths(f"{path}#previous=3")


@pytest.mark.parametrize(
    ("make", "kind", "rule"),
    [
        (lambda folder: folder / "absent.jsonl", FileNotFoundError, "absent.jsonl: no such file"),
        (lambda folder: folder, LengthDataError, "a file is needed, got a folder"),
        (lambda folder: raw(folder, "", "lengths.txt"), LengthDataError, "a name must end in .jsonl, .csv or .parquet"),
        (lambda folder: raw(folder, ""), LengthDataError, "at least one row of length data is needed, got no row"),
        (
            lambda folder: raw(folder, "prompt,output_tokens\n", "a.csv"),
            LengthDataError,
            "at least one row of length data is needed",
        ),
        (lambda folder: written(folder, [], "parquet"), LengthDataError, "at least one row of length data is needed"),
        (lambda folder: raw(folder, "x", "a.jsonl.gz"), LengthDataError, "the content must be gz data"),
        (
            lambda folder: raw(folder, gzip.compress(b"{}\n")[:-4], "a.jsonl.gz"),
            LengthDataError,
            "the content must be gz data",
        ),
        (lambda folder: raw(folder, "x", "a.jsonl.zst"), LengthDataError, "the content must be zst data"),
        (lambda folder: raw(folder, "x", "a.parquet"), LengthDataError, "the content must be Parquet"),
        (lambda folder: raw(folder, b"prompt\n\xff\n", "a.csv"), LengthDataError, "CSV must be UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_in_one_line(
    tmp_path: Path, make: Callable[[Path], Path], kind: type[Exception], rule: str
) -> None:
    path = make(tmp_path)
    with pytest.raises(kind, match=re.escape(rule)) as caught:
        read_lengths(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_plain_json_is_read_the_fast_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(block: Any, file: RowFile, path: LengthPath) -> Any:
        raise AssertionError("read row by row")

    monkeypatch.setattr(length_reading, "block_by_row", slow)
    row = {"prompt": "x", "prompt_id": "p", "task": "t", "group": 7, "model": "m", "output_tokens": [1, 2], "cap": 9}
    assert len(read_lengths(f"{written(tmp_path, [row] * 3)}#model=m")) == 3
    assert len(read_lengths(written(tmp_path, [{"prompt": "x", "steps": [{"gen": 1, "obs": 0}]}], "parquet"))) == 1


def test_a_hundred_thousand_rows_take_well_under_two_seconds(tmp_path: Path) -> None:
    row = {"prompt": "x" * 200, "prompt_tokens": 50, "group": 7, "model": "m", "output_tokens": [400, 500, 600]}
    path = raw(tmp_path, (json.dumps(row) + "\n") * 100_000)
    began = time.process_time()
    data = read_lengths(path)
    assert time.process_time() - began < 2
    assert (len(data), len(data.output_tokens)) == (100_000, 300_000)


@pytest.mark.parametrize("format", ["jsonl", "csv", "parquet"])
def test_an_empty_answer_took_the_token_that_ended_it(tmp_path: Path, format: str) -> None:
    rows: list[Row] = [{"prompt": "x", "output_tokens": 0}, {"prompt": "y", "output_tokens": 3}]
    assert read_lengths(written(tmp_path, rows, format)).output_tokens.tolist() == [1, 3]


def test_task_domain_and_version_are_read_and_a_path_may_name_their_fields(tmp_path: Path) -> None:
    row = {"prompt": "x", "output_tokens": [3, 4], "task": "sums", "domain": "school", "step": 400}
    path = written(tmp_path, [row, row | {"step": 800}])
    plain, named = read_lengths(path), read_lengths(f"{path}#version_field=step")
    assert (list(plain.task), list(plain.domain), list(plain.version)) == (["sums"] * 2, ["school"] * 2, [None] * 2)
    assert list(named.version) == ["400", "800"]
    assert named.group.tolist() == [0, 1], "another policy version is another group"
    with pytest.raises(LengthDataError, match='version_field must name a field of the rows, got "stap"'):
        read_lengths(f"{path}#version_field=stap")


def test_another_file_of_the_same_prompts_may_be_the_earlier_epoch(tmp_path: Path) -> None:
    now = written(tmp_path, [{"prompt": p, "output_tokens": [5, 6]} for p in ("a", "b", "c")], name="now")
    before = written(
        tmp_path, [{"prompt": "b", "output_tokens": [10, 20]}, {"prompt": "a", "output_tokens": 7}] * 2, name="before"
    )
    data = read_lengths(f"{now}#earlier={before}")
    np.testing.assert_array_equal(data.previous_tokens, [7, 15, np.nan])
    assert samples_of(data) == [[5, 6]] * 3
    other = written(tmp_path, [{"prompt": "z", "output_tokens": 7}], name="other")
    with pytest.raises(LengthDataError, match=r"earlier must hold some of the same prompts, got none in .*other\.jsonl"):
        read_lengths(f"{now}#earlier={other}")
    with pytest.raises(LengthDataError, match="the earlier epoch must be previous or earlier, got both"):
        read_lengths(f"{now}#earlier={other},previous=1")
    with pytest.raises(FileNotFoundError, match=r"absent.jsonl: no such file"):
        read_lengths(f"{now}#earlier={tmp_path / 'absent.jsonl'}")
