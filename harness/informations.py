"""The information sources by name, as entry points give them: each is made from a workload and a seed."""

import re

from makespan.harness.workload import Workload
from makespan.ranker.survival import Survival
from makespan.schedulers import sources
from makespan.schedulers.estimates import Information
from makespan.schedulers.job_average import JobAverage
from makespan.schedulers.registry import BrokenPlugin, UnknownName, information


def none(workload: Workload, seed: int) -> Information:
    """Nothing is known."""
    return sources.none(workload.requests)


def cap(workload: Workload, seed: int) -> Information:
    """The cap of each request."""
    return sources.cap(workload.requests)


def prompt_length(workload: Workload, seed: int) -> Information:
    """The length of the prompt."""
    return sources.prompt_length(workload.requests)


def oracle(workload: Workload, seed: int) -> Information:
    """The truth."""
    return sources.oracle(workload.output_tokens)


def history(workload: Workload, seed: int) -> Information:
    """The length of the same prompt in an earlier epoch."""
    if workload.previous_tokens is None:
        raise ValueError(f"history needs an earlier epoch of the same prompts, got none in workload {workload.name}")
    return sources.history(workload.requests, workload.previous_tokens)


def siblings(workload: Workload, seed: int) -> Information:
    """The longest finished sibling."""
    return sources.Siblings(workload.requests)


def job_average(workload: Workload, seed: int) -> Information:
    """A running average of the lengths that have finished in the group."""
    return JobAverage(workload.requests)


def survival(workload: Workload, seed: int) -> Information:
    """What has finished and what still runs in this stage, and nothing else."""
    return Survival(workload.requests)


_NOISY = re.compile(r"noisy_oracle_(\d+(?:\.\d+)?)")


def make_information(spec: str, workload: Workload, seed: int) -> Information:
    """Return the source that ``NAME`` or ``NAME=PATH`` asks for; the path of a ranker is the folder it was saved in.

    ``noisy_oracle_X`` is the truth with a log-normal error of sigma X.
    """
    name, given, path = spec.partition("=")
    noisy = _NOISY.fullmatch(name)
    if noisy and not given:
        return sources.noisy_oracle(workload.requests, workload.output_tokens, float(noisy[1]), seed)
    try:
        make = information.load(name)
    except UnknownName as error:
        raise UnknownName(f"{error}, noisy_oracle_SIGMA") from None
    if given and not getattr(make, "takes_path", False):
        raise ValueError(f"information source {name} takes no path, got {path}")
    try:
        made: Information = make(workload, seed, path) if given else make(workload, seed)
    except (ValueError, OSError, ImportError):
        raise
    except Exception as error:
        raise BrokenPlugin(f"information source {name!r} cannot be made: {type(error).__name__}: {error}") from error
    return made


def information_name(spec: str) -> str:
    """Return what a source is called in results: its name without its path."""
    return spec.partition("=")[0]
