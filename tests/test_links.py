"""Sites and links: how long weights and samples take."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from makespan.runtime.specifications import load_link
from makespan.schedulers.links import Link, Network, Site

links = st.builds(Link, st.floats(1e6, 1e12), st.floats(0, 0.1))
sites = st.builds(Site, links, links)
networks = st.builds(Network, st.fixed_dictionaries({"a": sites, "b": sites, "c": sites}), st.integers(1, 200))
counts = st.fixed_dictionaries({"a": st.integers(0, 40), "b": st.integers(0, 40), "c": st.integers(0, 40)})
sizes = st.floats(0, 1e12)


@given(network=networks, instances=counts, size=sizes)
def test_weights_are_never_faster_than_their_bytes_over_the_bandwidth(
    network: Network, instances: dict[str, int], size: float
) -> None:
    seconds = network.weights_s(size, instances)
    for name, count in instances.items():
        if count > 0:
            slowest = min(network.site(name).uplink.bytes_per_s, network.site(name).local.bytes_per_s if count > 1 else 1e99)
            assert seconds >= size / slowest * (1 - 1e-9)
            assert seconds >= network.site(name).uplink.latency_s


@given(network=networks, instances=counts, size=sizes)
def test_renaming_sites_changes_nothing(network: Network, instances: dict[str, int], size: float) -> None:
    new = {"a": "c", "b": "a", "c": "b"}
    renamed = Network({new[n]: site for n, site in network.sites.items()}, network.parts)
    assert renamed.weights_s(size, {new[n]: k for n, k in instances.items()}) == network.weights_s(size, instances)


@given(network=networks, instances=counts, size=sizes, more=st.integers(1, 20))
def test_more_instances_or_bytes_never_take_less_time(
    network: Network, instances: dict[str, int], size: float, more: int
) -> None:
    before = network.weights_s(size, instances)
    assert network.weights_s(size, instances | {"a": instances["a"] + more}) >= before
    assert network.weights_s(size * 2, instances) >= before


def test_a_slow_link_carries_one_copy_however_many_instances_there_are() -> None:
    slow, fast = Link(1e9, 0.01), Link(1e11, 0.0)
    network = Network({"far": Site(slow, fast)})
    one, many = network.weights_s(1e10, {"far": 1}), network.weights_s(1e10, {"far": 64})
    assert one == pytest.approx(10.0, rel=0.1)
    assert many < 1.02 * one


def test_store_and_forward_takes_every_hop_in_full() -> None:
    link = Link(1e9)
    network = Network({"here": Site(link, link)}, parts=1)
    assert network.weights_s(1e9, {"here": 8}) == pytest.approx(4.0)  # to the first, then three levels of a tree


def test_measured_links_carry_the_weights_in_the_published_time() -> None:
    assert load_link("tcp-measured").seconds(61e9) == pytest.approx(29.6, rel=0.01)
    assert load_link("rdma-measured").seconds(61e9) == pytest.approx(9.4, rel=0.01)


def test_samples_take_latency_and_bytes() -> None:
    assert Network({"x": Site(Link(1e6, 0.5), Link(1.0))}).sample_s(1e6, "x") == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Link(-1.0), "a bandwidth must be positive and finite, got -1.0"),
        (lambda: Link(0.0), "a bandwidth must be positive"),
        (lambda: Link(1.0, -1.0), "a latency must be finite and not negative"),
        (lambda: Network({}, parts=0), "at least 1 part"),
        (lambda: Network({}).site("mars"), "a site must be one of none, got 'mars'"),
        (lambda: Network({}).weights_s(-1, {}), "at least 0 bytes"),
    ],
)
def test_impossible_links_are_refused(build, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        build()
