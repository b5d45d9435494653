"""A file of rows: JSONL, CSV or Parquet, plain or compressed, held in memory."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from makespan.ranker.length_error import LengthDataError, shown
from makespan.ranker.packed_bytes import arrow, unpacked

JSONL, CSV, PARQUET = "jsonl", "csv", "parquet"
_KINDS = {".jsonl": JSONL, ".ndjson": JSONL, ".csv": CSV, ".parquet": PARQUET}
_BLOCK_BYTES = 1 << 24

Row = dict[str, Any]
NumberedRow = tuple[int, Row | LengthDataError]


@dataclass(frozen=True, slots=True)
class RowFile:
    """The content of a file of rows.

    Parameters
    ----------
    name
        What the file is called in messages.
    kind
        How the bytes are to be read: ``jsonl``, ``csv`` or ``parquet``.
    data
        The unpacked bytes.
    """

    name: str
    kind: str
    data: bytes

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Read a file whose name ends in .jsonl, .csv or .parquet, and then perhaps in .gz or .zst."""
        name, data = unpacked(Path(path))
        kind = _KINDS.get(Path(name).suffix)
        if kind is None:
            raise LengthDataError(f"{path}: a name must end in .jsonl, .csv or .parquet, then perhaps in .gz or .zst")
        return cls(str(path), kind, data)

    def place(self, line: int) -> str:
        """Say where a row stands."""
        return f"{self.name}, {'row' if self.kind == PARQUET else 'line'} {line}"

    def rows(self) -> Iterator[NumberedRow]:
        """Give every row with its number; a row that cannot be parsed is given as its error.

        Lines are counted from 1, as an editor shows them; rows of a Parquet file are counted instead. Blank lines hold
        no row. A CSV cell is text, and an empty one is absent.
        """
        if self.kind == PARQUET:
            return enumerate(self._parquet().to_pylist(), start=1)
        return self._json_rows() if self.kind == JSONL else self._csv_rows()

    def table(self) -> Any | None:
        """Give the rows as a `pyarrow.Table`, row `j` on line ``j + 1``, or None where that cannot be had."""
        if self.kind == PARQUET:
            return self._parquet()
        if self.kind == CSV:
            return None
        try:
            json_reader, lib = arrow("json"), arrow("lib")
        except ModuleNotFoundError:
            return None
        try:
            options = json_reader.ReadOptions(block_size=_BLOCK_BYTES)
            table = json_reader.read_json(lib.BufferReader(self.data), read_options=options)
        except lib.ArrowException:
            return None
        lines = self.data.count(b"\n") + (not self.data.endswith(b"\n"))
        return table if len(table) == lines else None

    def _json_rows(self) -> Iterator[NumberedRow]:
        for number, line in enumerate(self.data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
            if line.strip():
                yield number, self._json_row(number, line)

    def _json_row(self, number: int, line: bytes) -> Row | LengthDataError:
        try:
            row = json.loads(line.decode())
        except json.JSONDecodeError as error:
            found = f"{error.msg} at column {error.colno}"
        except (ValueError, RecursionError) as error:
            found = str(error)
        else:
            if isinstance(row, dict):
                return row
            found = shown(row)
        return LengthDataError(f"{self.place(number)}: a row must be a JSON object, got {found}")

    def _csv_rows(self) -> Iterator[NumberedRow]:
        # Prompts may be longer than the 128 KiB that the csv module allows by default.
        csv.field_size_limit(max(csv.field_size_limit(), len(self.data)))
        try:
            reader = csv.reader(io.StringIO(self.data.decode("utf-8-sig"), newline=""), strict=True)
        except UnicodeDecodeError as error:
            raise LengthDataError(f"{self.name}: CSV must be UTF-8, got {error}") from None
        header: list[str] = []
        after = 0
        try:
            for cells in reader:
                number, after = after + 1, reader.line_num
                if header and cells:
                    yield number, self._csv_row(number, header, cells)
                elif cells:
                    header = cells
                    if len(set(header)) < len(header):
                        raise LengthDataError(f"{self.place(number)}: column names must differ, got {shown(header)}")
        except csv.Error as error:
            yield after + 1, LengthDataError(f"{self.place(after + 1)}: a row must be valid CSV, got {error}")

    def _csv_row(self, number: int, header: list[str], cells: list[str]) -> Row | LengthDataError:
        if len(cells) == len(header):
            return {name: cell for name, cell in zip(header, cells, strict=True) if cell}
        return LengthDataError(
            f"{self.place(number)}: a row must have {len(header)} cells, as the header has, got {len(cells)}"
        )

    def _parquet(self) -> Any:
        lib = arrow("lib")
        try:
            return arrow("parquet").read_table(lib.BufferReader(self.data))
        except lib.ArrowException as error:
            raise LengthDataError(f"{self.name}: the content must be Parquet, got {shown(str(error))}") from None
