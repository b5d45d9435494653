"""Results on disk: one JSON file per experiment, written whole or not at all."""

import json
from contextlib import suppress
from dataclasses import MISSING, fields
from os import fsync, replace
from pathlib import Path
from typing import Any, NoReturn
from uuid import uuid4

from makespan.harness.record import SCHEMA, Record

_FIELDS = {field.name: field.type for field in fields(Record)}
_OPTIONAL = {field.name for field in fields(Record) if field.default is not MISSING} - {"schema"}
_SCALARS = {str: "a string", int: "a whole number", float: "a number"}
_NESTED = {"time_share": "an object of numbers", "completion": "numbers", "batch_timeline": "a row of numbers per instance"}


def write_record(record: Record, folder: Path) -> Path:
    """Write `record` to ``folder/records/KEY.json`` and return that path; an older file of the same key is replaced."""
    try:
        members = [f"{json.dumps(name)}: {json.dumps(value, allow_nan=False)}" for name, value in record.as_json().items()]
    except ValueError as error:
        raise ValueError(f"a record must hold finite numbers, got one that is not in {record.key}") from error
    path = folder / "records" / f"{record.key}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, "{\n" + ",\n".join(members) + "\n}\n")
    return path


def read_records(folder: Path) -> list[Record]:
    """Return the records in ``folder/records``, in the order of their file names.

    Raises
    ------
    ValueError
        One line that names the file and what is wrong with it, for another schema version, a field that is missing,
        unknown or of another type, and what is not JSON.
    """
    directory = folder / "records"
    if not directory.is_dir():
        raise FileNotFoundError(f"results must lie in a folder of records, got no folder {directory}")
    return [_read(path) for path in sorted(directory.glob("*.json"))]


def clear_records(folder: Path) -> None:
    """Make the folder and remove the records of an earlier run, so that a report is about one run."""
    (folder / "records").mkdir(parents=True, exist_ok=True)
    for path in (folder / "records").glob("*.json"):
        path.unlink()


def write_whole(path: Path, text: str) -> None:
    """Write `text` so that other processes see the old file or the new one, and never a part."""
    temporary = path.with_name(f".{uuid4().hex}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            # Without it a power failure can leave a renamed but empty file.
            fsync(file.fileno())
        replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def _read(path: Path) -> Record:
    try:
        found = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
    except ValueError as error:
        raise ValueError(f"{path}: a record must be JSON, got an error: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path}: a record must be a JSON object, got {type(found).__name__}")
    if found.get("schema") != SCHEMA:
        raise ValueError(f"{path}: the schema must be {SCHEMA!r}, got {found.get('schema')!r}")
    missing, unknown = _FIELDS.keys() - _OPTIONAL - found.keys(), found.keys() - _FIELDS.keys()
    if missing or unknown:
        raise ValueError(f"{path}: a record must have the fields of {SCHEMA}, got {_difference(missing, unknown)}")
    for name, kind in _FIELDS.items():
        if name in found and not _fits(found[name], kind):
            wanted = _SCALARS.get(kind) if isinstance(kind, type) else None
            raise ValueError(f"{path}: {name} must be {wanted or _NESTED.get(name, 'a number')}, got {_short(found[name])}")
    found["completion"] = tuple(found["completion"])
    found["batch_timeline"] = tuple(tuple(row) for row in found["batch_timeline"])
    return Record(**found)


def _fits(value: Any, kind: Any) -> bool:
    """Whether a JSON value can stand for a field annotated with `kind`."""
    if kind in (float, float | None):
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind in _SCALARS:
        return type(value) is kind
    if kind == dict[str, float]:
        return isinstance(value, dict) and all(_fits(v, float) for v in value.values())
    inner = kind.__args__[0]
    return isinstance(value, list) and all(_fits(v, inner) for v in value)


def _difference(missing: set[str], unknown: set[str]) -> str:
    parts = [f"no {', '.join(sorted(missing))}"] if missing else []
    return " and ".join([*parts, f"the unknown {', '.join(sorted(unknown))}"] if unknown else parts)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"numbers must be finite, got {constant}")
