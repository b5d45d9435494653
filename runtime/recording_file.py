"""The file of a recording: a ``.part`` that grows and survives an interruption, then one atomic write."""

import gzip
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

Row = dict[str, Any]


class PartFile:
    """Finished prompts of an unfinished recording, one JSON line each after a line that states the spec.

    Parameters
    ----------
    out
        The file that the recording will become.
    spec
        What is recorded; a part of another spec is refused.
    """

    def __init__(self, out: Path, spec: Mapping[str, Any]) -> None:
        self.path = out.with_name(out.name + ".part")
        self.rows: dict[int, Row] = {}
        header = json.loads(json.dumps({"spec": spec}))
        lines = self._whole_lines()
        if lines:
            self._check_same_spec(json.loads(lines[0]), header)
            self.rows = {entry["number"]: entry["row"] for entry in map(json.loads, lines[1:])}
        # Rewriting drops a last line that was cut off in the middle.
        self.path.write_text("".join(line + "\n" for line in lines or [json.dumps(header)]), encoding="utf-8")
        self._stream = self.path.open("a", encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def append(self, number: int, row: Row) -> None:
        """Keep the row of one finished prompt."""
        self.rows[number] = row
        self._stream.write(json.dumps({"number": number, "row": row}) + "\n")
        self._stream.flush()

    def publish(self, out: Path) -> None:
        """Write the rows, sorted by prompt number, to the final file and remove the part."""
        write_rows(out, (self.rows[number] for number in sorted(self.rows)))
        self.path.unlink()

    def _whole_lines(self) -> list[str]:
        if not self.path.exists():
            return []
        return [
            line.rstrip("\n")
            for line in self.path.read_text(encoding="utf-8").splitlines(keepends=True)
            if line.endswith("\n")
        ]

    def _check_same_spec(self, found: Any, wanted: Any) -> None:
        if found == wanted:
            return
        there, here = found.get("spec", {}), wanted["spec"]
        differing = [key for key in here if there.get(key) != here[key]]
        raise ValueError(
            f"an interrupted recording resumes only with the same spec, but {self.path.name} differs in "
            f"{', '.join(differing)}; delete it or record to another file"
        )


def write_rows(out: Path, rows: Iterable[Row]) -> None:
    """Write rows as JSON lines, gzipped where the name ends in ``.gz``; equal rows give equal bytes."""
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    with temporary.open("wb") as raw:
        if out.suffix == ".gz":
            # A gzip header carries the name and the time of writing unless it is told not to.
            with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed:
                packed.write(content)
        else:
            raw.write(content)
    temporary.replace(out)
