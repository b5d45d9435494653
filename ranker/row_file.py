"""A file of rows: JSONL, CSV or Parquet, plain or compressed, read block by block, so that no size is too large."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from makespan.ranker.length_error import LengthDataError, shown
from makespan.ranker.packed_bytes import PACKED, arrow, plain_name, unpacked
from makespan.ranker.row_block import Block, CsvBlock, JsonBlock, NumberedRow, ParquetBlock, Row

__all__ = ["CSV", "JSONL", "PARQUET", "Row", "RowFile"]

JSONL, CSV, PARQUET = "jsonl", "csv", "parquet"
_KINDS = {".jsonl": JSONL, ".ndjson": JSONL, ".csv": CSV, ".parquet": PARQUET}
BLOCK_BYTES = 1 << 23
BLOCK_ROWS = 1 << 16


@dataclass(frozen=True, slots=True)
class RowFile:
    """A file of rows.

    Parameters
    ----------
    name
        What the file is called in messages, its path.
    kind
        How the bytes are to be read: ``jsonl``, ``csv`` or ``parquet``.
    """

    name: str
    kind: str

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Find a file whose name ends in .jsonl, .csv or .parquet, and then perhaps in .gz or .zst."""
        kind = _KINDS.get(Path(plain_name(Path(path))).suffix)
        if kind is None:
            raise LengthDataError(f"{path}: a name must end in .jsonl, .csv or .parquet, then perhaps in .gz or .zst")
        return cls(str(path), kind)

    def place(self, line: int) -> str:
        """Say where a row stands."""
        return f"{self.name}, {'row' if self.kind == PARQUET else 'line'} {line}"

    def rows(self) -> Iterator[NumberedRow]:
        """Give every row with its number; a row that cannot be parsed is given as its error.

        Lines are counted from 1, as an editor shows them; rows of a Parquet file are counted instead. Blank lines hold
        no row. A CSV cell is text, and an empty one is absent.
        """
        for block in self.blocks():
            yield from block.rows()

    def blocks(self) -> Iterator[Block]:
        """Give the rows some megabytes at a time."""
        if self.kind == JSONL:
            return self._json_blocks()
        return self._csv_blocks() if self.kind == CSV else self._parquet_blocks()

    def _json_blocks(self) -> Iterator[Block]:
        line = 1
        with unpacked(Path(self.name)) as stream:
            while data := stream.read(BLOCK_BYTES):
                data += stream.readline() if not data.endswith(b"\n") else b""
                yield JsonBlock(self.place, line, data.removeprefix(b"\xef\xbb\xbf") if line == 1 else data)
                line += data.count(b"\n")

    def _csv_blocks(self) -> Iterator[Block]:
        rows: list[NumberedRow] = []
        for row in self._csv_rows():
            rows.append(row)
            if len(rows) == BLOCK_ROWS:
                yield CsvBlock(rows)
                rows = []
        yield CsvBlock(rows)

    def _csv_rows(self) -> Iterator[NumberedRow]:
        # Prompts may be longer than the 128 KiB that the csv module allows by default.
        csv.field_size_limit(2**31 - 1)
        header: list[str] = []
        after = 0
        with unpacked(Path(self.name)) as stream, io.TextIOWrapper(stream, "utf-8-sig", newline="") as text:
            reader = csv.reader(text, strict=True)
            try:
                for cells in reader:
                    number, after = after + 1, reader.line_num
                    if header and cells:
                        yield number, self._csv_row(number, header, cells)
                    elif cells:
                        header = cells
                        if len(set(header)) < len(header):
                            raise LengthDataError(f"{self.place(number)}: column names must differ, got {shown(header)}")
            except UnicodeDecodeError as error:
                raise LengthDataError(f"{self.name}: CSV must be UTF-8, got {error}") from None
            except csv.Error as error:
                yield after + 1, LengthDataError(f"{self.place(after + 1)}: a row must be valid CSV, got {error}")

    def _csv_row(self, number: int, header: list[str], cells: list[str]) -> Row | LengthDataError:
        if len(cells) == len(header):
            return {name: cell for name, cell in zip(header, cells, strict=True) if cell}
        return LengthDataError(
            f"{self.place(number)}: a row must have {len(header)} cells, as the header has, got {len(cells)}"
        )

    def _parquet_blocks(self) -> Iterator[Block]:
        lib, first, path = arrow("lib"), 1, Path(self.name)
        try:
            if path.suffix in PACKED:
                # Parquet is read from its end.
                with unpacked(path) as stream:
                    file = arrow("parquet").ParquetFile(lib.BufferReader(stream.read()))
            else:
                file = arrow("parquet").ParquetFile(path)
            for batch in file.iter_batches(BLOCK_ROWS):
                yield ParquetBlock(first, lib.Table.from_batches([batch]))
                first += len(batch)
        except lib.ArrowException as error:
            raise LengthDataError(f"{self.name}: the content must be Parquet, got {shown(str(error))}") from None
