"""Ray for as long as a block lasts: a cluster that is there already, or one of this machine's own."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import ray

CONNECT_S = 20.0
"""Seconds to wait for a cluster that is said to be there."""


@contextmanager
def ray_session(address: str | None = None, *, cores: int | None = None) -> Iterator[None]:
    """Connect to the Ray cluster at `address`, or start one here that listens on the loopback device only.

    Raises
    ------
    ValueError
        If nothing answers at that address.
    """
    # Ray asks its usage service and the dashboard for nothing here, and warns of what we do not use.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if address is None:
        # Ray's workers are nice to what else runs on a machine; engines and trainers are what this one is for.
        os.environ.setdefault("RAY_worker_niceness", "0")
        ray.init(
            num_cpus=cores,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _node_ip_address="127.0.0.1",
        )
    else:
        _reach(address)
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    try:
        yield
    finally:
        ray.shutdown()


def _reach(address: str) -> None:
    """Refuse an address at which nothing answers, for which Ray would wait a long time."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if address == "auto":
        return
    if not host or not port.isdecimal():
        raise ValueError(f"--ray-address must be HOST:PORT or auto, got {address}")
    try:
        socket.create_connection((host, int(port)), CONNECT_S).close()
    except OSError as error:
        raise ValueError(f"--ray-address must name a Ray cluster that answers, got {address}: {error}") from None


def has_gpu() -> bool:
    """Tell whether the cluster has a GPU to give."""
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return resources.get("GPU", 0) >= 1
