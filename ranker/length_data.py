"""Length data: real output lengths with what was asked for, read from JSONL, CSV or Parquet."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Self

import numpy as np

from makespan.ranker.length_columns import LengthColumns
from makespan.ranker.length_error import LengthDataError
from makespan.ranker.length_groups import group_numbers
from makespan.ranker.length_path import LengthPath
from makespan.ranker.length_prompts import counted_tokens, with_prompts
from makespan.ranker.length_reading import read_columns
from makespan.ranker.row_file import RowFile
from makespan.schedulers.types import FloatArray, IntArray

__all__ = ["LengthData", "LengthDataError", "LengthPath", "read_lengths"]


@dataclass(frozen=True, slots=True, eq=False)
class LengthData(LengthColumns):
    """The columns of a file with prompts filled in and counted; row `j` is what one row of the file says.

    Parameters
    ----------
    path
        Where it was read.
    malformed
        Malformed rows that were left out because the path asks for it.
    group
        Rows with equal numbers share one prompt, one model and one policy version. Shape (n,).

    Notes
    -----
    Where nobody counted them, `prompt_tokens` are a quarter of the characters, rounded up.
    """

    path: LengthPath
    malformed: int
    group: IntArray

    @property
    def row(self) -> IntArray:
        """The row of every sample, shape (sum of `samples`,)."""
        return np.repeat(np.arange(len(self)), self.samples)

    @property
    def mean_tokens(self) -> FloatArray:
        """Mean output length of each row, shape (n,)."""
        starts = np.cumsum(self.samples) - self.samples
        means: FloatArray = np.add.reduceat(self.output_tokens, starts) / self.samples
        return means

    def with_previous(self, count: int) -> Self:
        """Take the last `count` samples of each row for an earlier epoch: their mean becomes `previous_tokens`."""
        if count == 0:
            return self
        short = self.samples <= count
        if short.any():
            row = int(short.argmax())
            raise LengthDataError(
                f"{self.path.file}, line {self.line[row]}: output_tokens must hold more than the {count} samples of the "
                f"earlier epoch, got {self.samples[row]}"
            )
        ends = np.repeat(np.cumsum(self.samples), self.samples)
        earlier = np.arange(len(ends)) >= ends - count
        return replace(
            self,
            samples=self.samples - count,
            output_tokens=self.output_tokens[~earlier],
            capped=self.capped[~earlier],
            previous_tokens=self.output_tokens[earlier].reshape(-1, count).mean(axis=1),
        )

    def with_earlier(self, earlier: LengthColumns, name: Path) -> Self:
        """Take `previous_tokens` from what another file says of the same prompts: the mean of all their samples."""
        of_row = np.add.reduceat(earlier.output_tokens, np.cumsum(earlier.samples) - earlier.samples)
        found: dict[str | None, tuple[int, int]] = {}
        for prompt, tokens, samples in zip(earlier.prompt, of_row.tolist(), earlier.samples.tolist(), strict=True):
            before = found.get(prompt, (0, 0))
            found[prompt] = before[0] + tokens, before[1] + samples
        found.pop(None, None)
        known = [found.get(prompt) for prompt in self.prompt]
        if not any(known):
            raise LengthDataError(f"{self.path.file}: earlier must hold some of the same prompts, got none in {name}")
        return replace(self, previous_tokens=np.array([np.nan if k is None else k[0] / k[1] for k in known]))


def read_lengths(path: str | Path | LengthPath) -> LengthData:
    """Read length data.

    Each row is a prompt with the length of each of its samples: ``output_tokens``, a number or a list (alias
    ``tokens``). All else is optional: ``prompt``, ``prompt_tokens``, ``group`` (else ``prompt_id``, else ``task`` and
    ``pair``, else the text of the prompt), ``model``, ``task``, ``domain``, ``version`` (of the policy), ``arrival``,
    ``cap``, ``finish_reasons``, ``previous_tokens``.
    Agentic work gives ``turns`` (alias ``steps``) instead of lengths, a list of ``{gen, obs, tool}``. Further fields are
    allowed.

    Rows without a prompt find it by ``prompt_id``, or by ``task`` and ``pair``, in a ``prompts.jsonl`` that lies next
    to the file. Rows without any key that hold as many lengths as there are prompts hold one length per prompt.

    Parameters
    ----------
    path
        The file: .jsonl, .csv or .parquet, perhaps with .gz or .zst. ``PATH#field=value,field2=value2`` keeps the rows
        whose fields have these values; ``previous=1`` among them takes the last sample of each row for an earlier
        epoch, ``earlier=FILE`` another file of the same prompts, ``malformed=drop`` leaves malformed rows out, and
        ``version_field=step`` (or ``task_field``, ``domain_field``) names the field that holds a label.

    Raises
    ------
    LengthDataError
        For the first malformed row, with file, line, field, rule and value; never is one passed over in silence.
    """
    path = path if isinstance(path, LengthPath) else LengthPath.parse(path)
    file = RowFile.open(path.file)
    columns, malformed = read_columns(file, path)
    columns = with_prompts(columns, path.file)
    said = {field.name: getattr(columns, field.name) for field in fields(columns)}
    said["prompt_tokens"] = counted_tokens(columns, file)
    data = LengthData(path=path, malformed=malformed, group=group_numbers(columns), **said)
    data = data.with_previous(path.previous_samples)
    return data if path.earlier is None else data.with_earlier(read_lengths(path.earlier), path.earlier)
