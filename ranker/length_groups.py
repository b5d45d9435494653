"""Which rows of length data share a prompt."""

from makespan.ranker.length_columns import LengthColumns, integers
from makespan.schedulers.types import IntArray


def group_numbers(columns: LengthColumns) -> IntArray:
    """Number the groups in the order in which they appear.

    Rows of one model and one policy version share a group where they name the same one, or, where no group is named, ask
    with the same words. A row with neither is a group of its own.
    """
    numbers: dict[tuple[str | None, str | None, str, str | int], int] = {}
    described = zip(columns.model, columns.version, columns.named_group, columns.prompt, strict=True)
    return integers(
        [
            numbers.setdefault((model, version, *_shared(group, prompt, row)), len(numbers))
            for row, (model, version, group, prompt) in enumerate(described)
        ]
    )


def _shared(group: str | None, prompt: str | None, row: int) -> tuple[str, str | int]:
    if group is not None:
        return "group", group
    return ("row", row) if prompt is None else ("prompt", prompt)
