"""Some of the rows of a file: as a table where that can be had, and one by one."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from makespan.ranker.length_error import LengthDataError, shown
from makespan.ranker.packed_bytes import arrow

Row = dict[str, Any]
NumberedRow = tuple[int, Row | LengthDataError]


class Block(Protocol):
    """Rows that follow each other in a file."""

    @property
    def first(self) -> int:
        """The number of the first row where `table` gives one."""
        ...

    def table(self) -> Any | None:
        """Give the rows as a `pyarrow.Table`, row `j` on line ``first + j``, or None where that cannot be had."""
        ...

    def rows(self) -> Iterator[NumberedRow]:
        """Give every row with its number; a row that cannot be parsed is given as its error."""
        ...


@dataclass(frozen=True, slots=True)
class JsonBlock:
    """Whole lines of JSON.

    Parameters
    ----------
    place
        Says where a line stands.
    first
        The number of the first line.
    data
        The lines.
    """

    place: Callable[[int], str]
    first: int
    data: bytes

    def table(self) -> Any | None:
        """Give the rows as a table if pyarrow reads every line as one."""
        try:
            json_reader, lib = arrow("json"), arrow("lib")
        except ModuleNotFoundError:
            return None
        try:
            options = json_reader.ReadOptions(block_size=len(self.data) + 1)
            table = json_reader.read_json(lib.BufferReader(self.data), read_options=options)
        except lib.ArrowException:
            return None
        lines = self.data.count(b"\n") + (not self.data.endswith(b"\n"))
        return table if len(table) == lines else None

    def rows(self) -> Iterator[NumberedRow]:
        """Give every line that is not blank."""
        for number, line in enumerate(self.data.split(b"\n"), start=self.first):
            if line.strip():
                yield number, self._row(number, line)

    def _row(self, number: int, line: bytes) -> Row | LengthDataError:
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


@dataclass(frozen=True, slots=True)
class CsvBlock:
    """Rows of a CSV file, which are read one by one."""

    numbered: Sequence[NumberedRow]
    first: int = 0

    def table(self) -> None:
        """Give none: what is a number in one row may be a list in the next."""

    def rows(self) -> Iterator[NumberedRow]:
        """Give every row."""
        return iter(self.numbered)


@dataclass(frozen=True, slots=True)
class ParquetBlock:
    """Rows of a Parquet file."""

    first: int
    content: Any

    def table(self) -> Any:
        """Give them as they are."""
        return self.content

    def rows(self) -> Iterator[NumberedRow]:
        """Give every row."""
        return enumerate(self.content.to_pylist(), start=self.first)
