"""Numba's `njit` with a type that checkers understand, and one cache setting for all compiled functions."""

from collections.abc import Callable
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile

from makespan.schedulers import instances, view

F = TypeVar("F", bound=Callable[..., Any])


@cache
def _sources_stamp() -> str:
    """Return what changes whenever any compiled function does, or a constant that one of them uses."""
    files = {path for path in Path(__file__).parent.glob("*.py") if b"import compiled" in path.read_bytes()}
    files |= {Path(__file__).with_name("engine_state.py"), Path(instances.__file__), Path(view.__file__)}
    digest = sha256()
    for path in sorted(files, key=lambda path: path.name):
        digest.update(path.read_bytes())
    return digest.hexdigest()


class _Cache(FunctionCache):  # type: ignore[misc]
    """Machine code on disk. It holds that of the functions it calls, in whatever file, so it ages with all of them."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._cache_file = IndexDataCacheFile(self._cache_path, self._impl.filename_base, _sources_stamp())


def compiled(function: F) -> F:
    """Compile `function` on first call and keep the machine code on disk."""
    dispatcher = numba.njit(nogil=True)(function)
    dispatcher._cache = _Cache(function)
    return cast(F, dispatcher)
