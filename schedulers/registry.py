"""Names to things, through entry points: listed without importing, loaded one at a time."""

from collections.abc import Collection
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from makespan.schedulers.policy import Policy
from makespan.schedulers.round_policy import RoundPolicy

POLICIES = "makespan.policies"
INFORMATION = "makespan.information"
WORKLOADS = "makespan.workloads"
ROUND_POLICIES = "makespan.round_policies"


class UnknownName(LookupError):
    """A name that nothing is registered under."""


class BrokenPlugin(RuntimeError):
    """A registered thing that cannot be had: its import fails, it is registered twice, it is no such thing."""


@dataclass(frozen=True, slots=True)
class Registry:
    """The entry points of one group.

    Parameters
    ----------
    group
        Entry-point group, for example ``makespan.policies``.
    noun
        What its members are called in messages.
    """

    group: str
    noun: str

    def names(self) -> list[str]:
        """Return the registered names in alphabetical order, importing nothing."""
        return sorted({point.name for point in self._points()})

    def load(self, name: str) -> Any:
        """Import and return what is registered under `name`.

        Raises
        ------
        UnknownName
            With the known names and the nearest one.
        BrokenPlugin
            When two distributions register the name, or its import fails.
        """
        found = [point for point in self._points() if point.name == name]
        if not found:
            raise unknown_name(self.noun, name, self.names())
        if len({point.value for point in found}) > 1 or len({_distribution(p) for p in found}) > 1:
            owners = " and ".join(sorted(f"{_distribution(p)} ({p.value})" for p in found))
            raise BrokenPlugin(f"a {self.noun} name must be registered once, got {name!r} from {owners}")
        try:
            return found[0].load()
        except Exception as error:
            raise BrokenPlugin(
                f"{self.noun} {name!r} of {_distribution(found[0])} cannot be loaded: {type(error).__name__}: {error}"
            ) from error

    def _points(self) -> tuple[EntryPoint, ...]:
        return registered(self.group)


@cache
def registered(group: str) -> tuple[EntryPoint, ...]:
    """Return the entry points of a group, read once: it takes 10 ms, which a sweep would spend on every experiment twice."""
    return tuple(entry_points(group=group))


def unknown_name(noun: str, name: str, known: Collection[str]) -> UnknownName:
    """Return the error for a name that is not among those known, with the nearest one."""
    near = get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return UnknownName(f"unknown {noun} {name!r}{hint} Known: {', '.join(known) or 'none'}")


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "an unknown distribution"


policies = Registry(POLICIES, "policy")
information = Registry(INFORMATION, "information source")
workloads = Registry(WORKLOADS, "workload")
round_policies = Registry(ROUND_POLICIES, "round policy")


def load_policy(name: str) -> Policy:
    """Return the policy registered under `name`: a `Policy`, or a callable without arguments that makes one."""
    thing = policies.load(name)
    if isinstance(thing, Policy):
        return thing
    if not callable(thing):
        raise BrokenPlugin(f"a policy must be a Policy or make one, got {type(thing).__name__} for {name!r}")
    try:
        made = thing()
    except Exception as error:
        raise BrokenPlugin(f"policy {name!r} cannot be made: {type(error).__name__}: {error}") from error
    if not isinstance(made, Policy):
        raise BrokenPlugin(f"a policy must be a Policy or make one, got {type(made).__name__} from {name!r}")
    return made


def load_round_policy(name: str) -> RoundPolicy:
    """Return the round policy registered under `name`."""
    thing = round_policies.load(name)
    if not isinstance(thing, RoundPolicy):
        raise BrokenPlugin(f"a round policy must be a RoundPolicy, got {type(thing).__name__} for {name!r}")
    return thing
