"""What a pool of instances tells whoever waits for it."""

from dataclasses import dataclass

from makespan.runtime.instance_actor import Report


@dataclass(frozen=True, slots=True)
class Joined:
    """Instance `instance` takes requests from now on."""

    instance: int


@dataclass(frozen=True, slots=True)
class Lost:
    """Instance `instance` is gone with all it held; another is being started in its place."""

    instance: int
    reason: str


@dataclass(frozen=True, slots=True)
class Left:
    """Instance `instance` takes no more requests, and what it holds is to be taken from it."""

    instance: int


@dataclass(frozen=True, slots=True)
class Reported:
    """Instance `instance` says what is new there."""

    instance: int
    report: Report


News = Joined | Lost | Left | Reported
