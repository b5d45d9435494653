"""What is said about length data that breaks a rule."""

import json
from typing import Any


class LengthDataError(ValueError):
    """Length data that breaks a rule; its one-line message names the file, the line, the field and the rule."""


def shown(value: Any) -> str:
    """Return a value as one short line."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = repr(value)
    text = " ".join(text.split())
    return text if len(text) <= 80 else text[:77] + "..."
