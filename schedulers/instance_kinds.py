"""The kinds of instances of a cluster, as bounds and solvers see them: all that sets the length of a step."""

from dataclasses import dataclass, replace

from makespan.schedulers.instances import BLOCK_TOKENS, Cluster, Instance


@dataclass(frozen=True, slots=True)
class Kind:
    """Instances that are alike.

    Parameters
    ----------
    instance
        One of them.
    count
        How many there are.
    """

    instance: Instance
    count: int

    @property
    def kv_tokens(self) -> int:
        """Tokens of KV that one of them holds in whole blocks."""
        return self.instance.kv_blocks * BLOCK_TOKENS


def kinds_of(cluster: Cluster) -> tuple[Kind, ...]:
    """Return the kinds of `cluster`, in the order of the counters of their first instances; price and site do not count."""
    counts: dict[Instance, int] = {}
    for i in cluster.by_sequence:
        plain = replace(cluster.instances[i], sequence=0, price_per_hour=0.0, site="")
        counts[plain] = counts.get(plain, 0) + 1
    return tuple(Kind(instance, count) for instance, count in counts.items())
