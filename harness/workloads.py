"""Workloads by name: registered ones, and any length data under a name of one's own."""

import re

from makespan.harness.defaults import WORKLOAD
from makespan.harness.generators import lognormal
from makespan.harness.length_workload import length_workload
from makespan.harness.workload import Workload
from makespan.schedulers.registry import BrokenPlugin, UnknownName, workloads

_LOGNORMAL = re.compile(r"lognormal_(\d+(?:\.\d+)?)")


def load_workload(spec: str = WORKLOAD, requests: int | None = None, seed: int = 0) -> Workload:
    """Return the workload that ``NAME`` or ``NAME=PATH`` asks for.

    A registered name is loaded with its path, if one is given; ``lognormal_SIGMA`` is drawn for any sigma. A name that
    nobody registered becomes the name of the length data at PATH, which may end in a selector, ``#field=value``.

    Parameters
    ----------
    spec
        ``NAME`` or ``NAME=PATH``.
    requests
        How many requests; None for as many as the workload has.
    seed
        Seed of what is drawn or chosen.
    """
    name, given, path = spec.partition("=")
    if not name or (given and not path):
        raise ValueError(f"a workload must be NAME or NAME=PATH, got {spec!r}")
    try:
        load = workloads.load(name)
    except UnknownName as error:
        sigma = _LOGNORMAL.fullmatch(name)
        if sigma:
            load = lognormal(float(sigma[1]))
        elif given:
            return length_workload(path, name, requests, seed)
        else:
            raise UnknownName(f"{error}, lognormal_SIGMA, or NAME=PATH for any length data") from None
    try:
        made = load(path if given else None, requests, seed)
    except (ValueError, OSError, ImportError):
        raise
    except Exception as error:
        raise BrokenPlugin(f"workload {name!r} cannot be made: {type(error).__name__}: {error}") from error
    if not isinstance(made, Workload):
        raise BrokenPlugin(f"a workload must be a Workload, got {type(made).__name__} from {name!r}")
    return made
