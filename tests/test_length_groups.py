"""Which rows share a prompt: the same as numbering them one by one, whatever is missing."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from makespan.ranker.length_columns import LengthColumns
from makespan.ranker.length_groups import group_numbers
from makespan.ranker.length_path import LabelFields
from makespan.ranker.length_rows import length_row

words = st.sampled_from(["a", "b", "c", None])
rows = st.lists(st.fixed_dictionaries({"group": words, "prompt": words, "model": words, "version": words}), min_size=1)


def one_by_one(columns: LengthColumns) -> list[int]:
    numbers: dict[tuple[str | None, str | None, str, str | int | None], int] = {}
    found = []
    for row, (model, version) in enumerate(zip(columns.model, columns.version, strict=True)):
        group, prompt = columns.named_group[row], columns.prompt[row]
        kind, what = ("group", group) if group is not None else ("prompt", prompt) if prompt is not None else ("row", row)
        found.append(numbers.setdefault((model, version, kind, what), len(numbers)))
    return found


@settings(max_examples=200, deadline=None, derandomize=True)
@given(rows)
def test_groups_are_numbered_as_one_by_one(described: list[dict[str, str | None]]) -> None:
    made = [length_row(row | {"output_tokens": 1, "prompt_tokens": 1}, "here", LabelFields()) for row in described]
    columns = LengthColumns.of_rows(np.arange(len(made)).tolist(), made)
    assert group_numbers(columns).tolist() == one_by_one(columns)
