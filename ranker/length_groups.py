"""Which rows of length data share a prompt."""

import numpy as np
import pyarrow as pa

from makespan.ranker.length_columns import LengthColumns, Texts
from makespan.schedulers.types import BoolArray, IntArray


def group_numbers(columns: LengthColumns) -> IntArray:
    """Number the groups in the order in which they appear.

    Rows of one model and one policy version share a group where they name the same one, or, where no group is named, ask
    with the same words. A row with neither is a group of its own.
    """
    rows, count = np.arange(len(columns)), len(columns)
    asked = np.where(_missing(columns.prompt), rows, _first_rows(columns.prompt))
    # A name and a prompt with the same wording are not the same group: prompts have the numbers from `count` on.
    code = np.where(_missing(columns.named_group), count + asked, _first_rows(columns.named_group))
    for label in (columns.model, columns.version):
        first = _first_rows(label)
        if first.any():
            code = np.unique(code * count + first, return_inverse=True)[1]
    # Codes of a dictionary are given in the order in which its values appear.
    numbers: IntArray = pa.array(code).dictionary_encode().indices.to_numpy().astype(np.int64)
    return numbers


def _first_rows(texts: Texts) -> IntArray:
    """Return for each row the first one that holds the same text."""
    # Mapped rather than looped over: a large file has a million short prompts, and most of the time went into the loop.
    seen: dict[str | None, int] = {}
    return np.fromiter(map(seen.setdefault, texts, range(len(texts))), dtype=np.int64, count=len(texts))


def _missing(texts: Texts) -> BoolArray:
    # Nearly always all or none, which a count tells in a tenth of the time.
    if texts.count(None) in (0, len(texts)):
        return np.full(len(texts), texts.count(None) > 0)
    return np.array([text is None for text in texts], dtype=np.bool_)
