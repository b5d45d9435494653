"""Worked solutions of `chain_sum` for a small model to imitate: one running total after another, then the answer."""

from collections.abc import Mapping
from typing import Any


def solve_chain_sum(entry: Mapping[str, Any]) -> str:
    """Work out an entry of the data set from left to right.

    Returns
    -------
    str
        For ``4 - 7 + 1``: ``4 - 7 = -3 + 1 = -2<answer>-2</answer>``. Its length grows with the number of terms.
    """
    terms = str(entry["metadata"]["expression"]).split()
    total, written = int(terms[0]), terms[0]
    for sign, term in zip(terms[1::2], terms[2::2], strict=True):
        total += int(term) if sign == "+" else -int(term)
        written += f" {sign} {term} = {total}"
    return f"{written}<answer>{total}</answer>"
