"""The prompts of length data that names its prompts instead of holding them."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np

from makespan.ranker.length_columns import LengthColumns, Texts, integers
from makespan.ranker.length_error import LengthDataError, shown
from makespan.ranker.length_rows import prompt_key
from makespan.ranker.length_values import whole, words
from makespan.ranker.row_file import RowFile
from makespan.schedulers.types import IntArray

CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True, eq=False)
class Prompts:
    """Prompts in the order of their file.

    Parameters
    ----------
    key
        Their ``prompt_id``, or their ``task`` and ``pair``.
    text
        What is asked, or None where that is empty.
    tokens
        Their tokens, 0 where unknown.
    """

    key: Texts
    text: Texts
    tokens: IntArray

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read rows of ``prompt``, ``prompt_id`` (or ``task`` and ``pair``) and perhaps ``prompt_tokens``."""
        file = RowFile.open(path)
        keys, texts, tokens = [], [], []
        for line, row in file.rows():
            if isinstance(row, LengthDataError):
                raise row
            place = file.place(line)
            keys.append(prompt_key(row, place))
            texts.append(words(row.get("prompt"), "prompt", place))
            tokens.append(0 if row.get("prompt_tokens") is None else whole(row["prompt_tokens"], "prompt_tokens", place))
        return cls(keys, texts, integers(tokens))

    def __len__(self) -> int:
        return len(self.text)


def prompts_beside(file: Path) -> Path | None:
    """Return the file of prompts that lies next to a file of lengths.

    It is called ``prompts.jsonl``, or ``prompts_NAME.jsonl`` beside ``ANYTHING_NAME.jsonl``, perhaps with .gz or .zst.
    """
    name = file.name.partition(".")[0].partition("_")[2]
    for stem in ("prompts", f"prompts_{name}"):
        for suffix in (".jsonl", ".jsonl.gz", ".jsonl.zst"):
            candidate = file.with_name(stem + suffix)
            if candidate != file and candidate.is_file():
                return candidate
    return None


def with_prompts(columns: LengthColumns, file: Path) -> LengthColumns:
    """Fill in prompts and their tokens from the file of prompts, where rows lack them and there is such a file."""
    named = columns.prompt_key.count(None) < len(columns)
    lacking = (columns.prompt_tokens == 0).any() or None in columns.prompt
    anonymous = not named and all(prompt is None for prompt in columns.prompt) and not columns.prompt_tokens.any()
    path = prompts_beside(file) if lacking and (named or anonymous) else None
    if path is None:
        return columns
    prompts = Prompts.read(path)
    if named:
        return _joined(columns, prompts, path)
    if (columns.samples == len(prompts)).all() and all(group is None for group in columns.named_group):
        return _in_order(columns, prompts)
    return columns


def _joined(columns: LengthColumns, prompts: Prompts, path: Path) -> LengthColumns:
    where: dict[str | None, int] = {}
    for number, key in enumerate(prompts.key):
        first = where.setdefault(key, number)
        if key is not None and prompts.text[first] != prompts.text[number]:
            raise LengthDataError(f"{path}: a key must name one prompt, got {shown(key)} for two")
    where.pop(None, None)
    found = [-1 if key is None else where.get(key, -1) for key in columns.prompt_key]
    tokens = np.append(prompts.tokens, 0)[found]
    return replace(
        columns,
        prompt=[
            prompts.text[number] if prompt is None and number >= 0 else prompt
            for prompt, number in zip(columns.prompt, found, strict=True)
        ],
        prompt_tokens=np.where(columns.prompt_tokens == 0, tokens, columns.prompt_tokens),
    )


def _in_order(columns: LengthColumns, prompts: Prompts) -> LengthColumns:
    # One row holds one length per prompt: each becomes a row of its own.
    rows, each = len(columns), len(prompts)
    return LengthColumns(
        line=np.repeat(columns.line, each),
        samples=np.ones(rows * each, dtype=np.int64),
        output_tokens=columns.output_tokens,
        capped=columns.capped,
        prompt=list(prompts.text) * rows,
        prompt_tokens=np.tile(prompts.tokens, rows),
        observed_tokens=np.repeat(columns.observed_tokens, each),
        turns=np.repeat(columns.turns, each),
        named_group=list(prompts.key) * rows,
        prompt_key=list(prompts.key) * rows,
        model=_repeated(columns.model, each),
        arrival=np.repeat(columns.arrival, each),
        cap=np.repeat(columns.cap, each),
        previous_tokens=np.repeat(columns.previous_tokens, each),
        task=_repeated(columns.task, each),
        domain=_repeated(columns.domain, each),
        version=_repeated(columns.version, each),
    )


def _repeated(texts: Texts, each: int) -> Texts:
    return [text for text in texts for _ in range(each)]


def counted_tokens(columns: LengthColumns, file: RowFile) -> IntArray:
    """Return the tokens of every prompt; where nobody counted them a quarter of the characters, rounded up."""
    tokens = columns.prompt_tokens.copy()
    for row in np.flatnonzero(tokens == 0).tolist():
        prompt = columns.prompt[row]
        if prompt is None:
            raise LengthDataError(
                f"{file.place(int(columns.line[row]))}: prompt_tokens must be given where there is no prompt, neither in "
                "the row nor in a prompts.jsonl next to the file, got none"
            )
        tokens[row] = -(-len(prompt) // CHARACTERS_PER_TOKEN)
    return tokens
