"""The path of length data, with what is chosen from the file: ``PATH#field=value,field2=value2``."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from makespan.ranker.length_error import LengthDataError, shown

PREVIOUS, EARLIER, MALFORMED = "previous", "earlier", "malformed"
_FIELD_OPTION = "_field"


@dataclass(frozen=True, slots=True)
class LabelFields:
    """Which fields of a row say how it may be split.

    Parameters
    ----------
    task
        The kind of work: prompts of one task are alike.
    domain
        The source of the prompt.
    version
        The policy version (a training step, a checkpoint) that generated.
    """

    task: str = "task"
    domain: str = "domain"
    version: str = "version"

    @classmethod
    def options(cls) -> dict[str, str]:
        """Return the options of a path, ``task_field`` and so on, and which label each of them sets."""
        return {f"{name}{_FIELD_OPTION}": name for name in ("task", "domain", "version")}


@dataclass(frozen=True, slots=True)
class LengthPath:
    """A file of length data and the choice of its rows.

    Parameters
    ----------
    file
        The file.
    where
        Pairs of a field and a value; rows are kept where each field, written as text, equals its value.
    previous_samples
        Of each row the last so many samples stem from an earlier epoch; ``previous=1`` in a path.
    earlier
        Another file, of an earlier policy version: what it says of the same prompts; ``earlier=FILE`` in a path.
    drop_malformed
        Leave malformed rows out and count them, which ``malformed=drop`` in a path asks for. Otherwise they are errors.
    labels
        The fields that hold task, domain and policy version; ``version_field=step`` in a path names another one.
    """

    file: Path
    where: tuple[tuple[str, str], ...] = ()
    previous_samples: int = 0
    earlier: Path | None = None
    drop_malformed: bool = False
    labels: LabelFields = field(default_factory=LabelFields)

    @classmethod
    def parse(cls, text: str | Path) -> Self:
        """Read ``PATH`` or ``PATH#field=value,...``; a file whose whole name is `text` is taken as it is."""
        name, mark, selector = str(text).partition("#")
        # Unlike Path.exists, this takes a selector of any length.
        if not mark or os.path.exists(text):
            return cls(Path(text))
        pairs = [_pair(name, part) for part in selector.split(",")]
        known = LabelFields.options()
        options = {key: value for key, value in pairs if key in (PREVIOUS, EARLIER, MALFORMED, *known)}
        previous = options.get(PREVIOUS, "0")
        if not (previous.isascii() and previous.isdigit()):
            raise LengthDataError(f"{name}: previous must be a number of samples, got {shown(previous)}")
        if options.get(MALFORMED, "drop") != "drop":
            raise LengthDataError(f"{name}: malformed must be drop or not be given, got {shown(options[MALFORMED])}")
        if EARLIER in options and PREVIOUS in options:
            raise LengthDataError(f"{name}: the earlier epoch must be previous or earlier, got both")
        earlier = Path(options[EARLIER]) if EARLIER in options else None
        where = tuple((key, value) for key, value in pairs if key not in options)
        labels = LabelFields(**{known[key]: value for key, value in options.items() if key in known})
        return cls(Path(name), where, int(previous), earlier, MALFORMED in options, labels)

    @property
    def choice(self) -> str:
        """The chosen values in words, empty where everything is taken."""
        return ", ".join(f"{key} {value}" for key, value in self.where)


def _pair(name: str, part: str) -> tuple[str, str]:
    key, equals, value = part.partition("=")
    if not (key and equals):
        raise LengthDataError(f"{name}: a selector must read #field=value,field2=value2, got {shown(part)}")
    return key, value
