"""From a file of length data to checked columns, block by block: the fast way first, row by row where it fails."""

from difflib import get_close_matches
from typing import NoReturn

from makespan.ranker.length_columns import LengthColumns
from makespan.ranker.length_error import LengthDataError, shown
from makespan.ranker.length_path import LabelFields, LengthPath
from makespan.ranker.length_rows import length_row, typed
from makespan.ranker.length_table import table_columns
from makespan.ranker.length_values import as_text
from makespan.ranker.row_block import Block, Row
from makespan.ranker.row_file import CSV, RowFile

_FEW = 8


def read_columns(file: RowFile, path: LengthPath) -> tuple[LengthColumns, int]:
    """Return the rows that a path chooses, and how many malformed ones were left out because it asks for that.

    One block of the file is held at a time, and of what it says only the columns are kept.
    """
    parts, malformed, by_row = [], 0, False
    for block in file.blocks():
        table = block.table()
        columns = None if table is None else table_columns(table, path, block.first)
        if columns is None:
            columns, left_out = block_by_row(block, file, path)
            malformed, by_row = malformed + left_out, True
        if len(columns):
            parts.append(columns)
    if not parts:
        _nothing_found(file, path, malformed)
    if by_row:
        _assert_labels(file, path)
    return LengthColumns.joined(parts), malformed


def block_by_row(block: Block, file: RowFile, path: LengthPath) -> tuple[LengthColumns, int]:
    """Do the same row by row; this is what defines the result, and it names the first malformed row."""
    lines, rows, malformed = [], [], 0
    for line, row in block.rows():
        try:
            if isinstance(row, LengthDataError):
                raise row
            fields = typed(row) if file.kind == CSV else row
            if all(_has(fields, field, value) for field, value in path.where):
                rows.append(length_row(fields, file.place(line), path.labels))
                lines.append(line)
        except LengthDataError as error:
            if not path.drop_malformed:
                raise LengthDataError(f"{error} (#malformed=drop leaves such rows out)") from None
            malformed += 1
    return LengthColumns.of_rows(lines, rows), malformed


def _assert_labels(file: RowFile, path: LengthPath) -> None:
    """Refuse a label field that was asked for and that no row has."""
    for option, name in LabelFields.options().items():
        wanted = getattr(path.labels, name)
        if wanted != name and not any(isinstance(row, dict) and wanted in row for _, row in file.rows()):
            raise LengthDataError(f"{file.name}: {option} must name a field of the rows, got {shown(wanted)}")


def _has(row: Row, field: str, value: str) -> bool:
    return row.get(field) is not None and as_text(row[field]) == value


def _nothing_found(file: RowFile, path: LengthPath, malformed: int) -> NoReturn:
    rows = [row for _, row in file.rows() if not isinstance(row, LengthDataError)]
    for field, value in path.where:
        if not any(field in row for row in rows):
            known = sorted({name for row in rows for name in row})
            near = get_close_matches(field, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else "."
            raise LengthDataError(f"{file.name}: no row has a field {shown(field)}{hint} Known: {', '.join(known)}")
        values = sorted({as_text(row[field]) for row in rows if row.get(field) is not None})
        rows = [row for row in rows if _has(row, field, value)]
        if not rows:
            near = get_close_matches(value, values, n=_FEW, cutoff=0)
            more = f" and {len(values) - _FEW} more" if len(values) > _FEW else ""
            raise LengthDataError(f"{file.name}: no row has {field}={value}; {field} is {', '.join(near)}{more}")
    what = f"only malformed rows ({malformed})" if malformed else "no row"
    raise LengthDataError(f"{file.name}: at least one row of length data is needed, got {what}")
