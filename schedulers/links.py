"""Sites and the links between them: how long weights take to reach every instance, and samples to come back."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, isfinite, log2


@dataclass(frozen=True, slots=True)
class Link:
    """A link between machines or sites.

    Parameters
    ----------
    bytes_per_s
        Bandwidth, positive.
    latency_s
        Seconds until the first byte arrives, not negative.
    """

    bytes_per_s: float
    latency_s: float = 0.0

    def __post_init__(self) -> None:
        if not (isfinite(self.bytes_per_s) and self.bytes_per_s > 0):
            raise ValueError(f"a bandwidth must be positive and finite, got {self.bytes_per_s}")
        if not (isfinite(self.latency_s) and self.latency_s >= 0):
            raise ValueError(f"a latency must be finite and not negative, got {self.latency_s}")

    def seconds(self, size: float) -> float:
        """Return seconds in which `size` bytes arrive."""
        return self.latency_s + size / self.bytes_per_s


@dataclass(frozen=True, slots=True)
class Site:
    """Where instances stand.

    Parameters
    ----------
    uplink
        From the trainer to this site.
    local
        Between the machines of this site.
    """

    uplink: Link
    local: Link


@dataclass(frozen=True, slots=True)
class Network:
    """The sites of a cluster by name.

    Parameters
    ----------
    sites
        A `Site` for each name that an `Instance.site` has.
    parts
        Parts into which weights are cut, so that a hop sends one while it receives the next; 1 is store and forward.
    """

    sites: Mapping[str, Site]
    parts: int = 64

    def __post_init__(self) -> None:
        if self.parts < 1:
            raise ValueError(f"weights must be cut into at least 1 part, got {self.parts}")

    def site(self, name: str) -> Site:
        """Return the site of that name."""
        if name not in self.sites:
            raise ValueError(f"a site must be one of {', '.join(sorted(self.sites)) or 'none'}, got {name!r}")
        return self.sites[name]

    def weights_s(self, size: float, instances: Mapping[str, int]) -> float:
        """Return seconds until weights of `size` bytes are on every instance.

        Each site gets one copy over its uplink, to one instance, and spreads it by a binary tree of depth
        ``ceil(log2(instances))``; sites go side by side (StreamRL, section 9). Several trees share the load of a node's two
        children, so that a hop has the whole bandwidth.

        Parameters
        ----------
        size
            Bytes, not negative.
        instances
            How many instances each site has.
        """
        if size < 0:
            raise ValueError(f"weights must have a size of at least 0 bytes, got {size}")
        arrivals = [
            self._pipelined(size, [self.site(name).uplink] + [self.site(name).local] * ceil(log2(count)))
            for name, count in instances.items()
            if count > 0
        ]
        return max(arrivals, default=0.0)

    def sample_s(self, size: float, site: str) -> float:
        """Return seconds in which one sample of `size` bytes comes from a site to the trainer."""
        return self.site(site).uplink.seconds(size)

    def _pipelined(self, size: float, hops: list[Link]) -> float:
        part = size / self.parts
        first = sum(hop.seconds(part) for hop in hops)
        return first + (self.parts - 1) * part / min(hop.bytes_per_s for hop in hops)
