"""Numba's `njit` with a type that checkers understand, and one cache setting for all compiled functions."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """Compile `function` on first call and keep the machine code on disk."""
    return cast(F, numba.njit(cache=True, nogil=True)(function))
