"""What a single value of length data may be: the rules, and the errors that state them."""

import json
from math import isfinite
from typing import Any

from makespan.ranker.length_error import LengthDataError, shown

MOST_TOKENS = 2**31 - 1


def whole(value: Any, field: str, place: str, least: int = 1) -> int:
    """Return a whole number of at least `least` as an int."""
    number = type(value) is int or (isinstance(value, float) and value.is_integer())
    if not number or value < least:
        raise LengthDataError(f"{place}: {field} must be a whole number of at least {least}, got {shown(value)}")
    if value > MOST_TOKENS:
        raise LengthDataError(f"{place}: {field} must be at most {MOST_TOKENS}, got {shown(value)}")
    return int(value)


def seconds(value: Any, field: str, place: str) -> float:
    """Return a finite number of at least 0."""
    if not _finite(value) or value < 0:
        raise LengthDataError(f"{place}: {field} must be a finite number of at least 0, got {shown(value)}")
    return float(value)


def mean_tokens(value: Any, field: str, place: str) -> float:
    """Return a finite number above 0."""
    if not _finite(value) or value <= 0:
        raise LengthDataError(f"{place}: {field} must be a finite number above 0, got {shown(value)}")
    return float(value)


def words(value: Any, field: str, place: str) -> str | None:
    """Return a text, or None where it is empty."""
    if not (isinstance(value, str) and _is_unicode(value)):
        raise LengthDataError(f"{place}: {field} must be a text, got {shown(value)}")
    return value or None


def label(value: Any, field: str, place: str) -> str:
    """Return a text or a number as text."""
    if isinstance(value, (list, dict)) or value == "" or not _is_unicode(as_text(value)):
        raise LengthDataError(f"{place}: {field} must be a text or a number, got {shown(value)}")
    return as_text(value)


def listed(value: Any, what: str, field: str, place: str) -> list[Any]:
    """Return a list that is not empty."""
    if not isinstance(value, list) or not value:
        raise LengthDataError(f"{place}: {field} must be {what}, got {shown(value)}")
    return value


def as_text(value: Any) -> str:
    """Return any value as the text that selectors and labels compare."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _finite(value: Any) -> bool:
    if isinstance(value, int):
        return not isinstance(value, bool) and abs(value) <= 2**1000
    return isinstance(value, float) and isfinite(value)


def _is_unicode(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
