"""Ray for as long as a block lasts: a cluster that is there already, or one of this machine's own."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import ray
from ray.exceptions import AuthenticationError

CONNECT_S = 20.0
"""Seconds to wait for a cluster that is said to be there."""
SETTINGS = b"\x04"
"""Fourth byte of the frame with which either side of HTTP/2, and so of gRPC, begins (RFC 9113, section 3.4)."""
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0" + SETTINGS + b"\0" * 5


@contextmanager
def ray_session(address: str | None = None, *, cores: int | None = None) -> Iterator[None]:
    """Connect to the Ray cluster at `address`, or start one here that listens on the loopback device only.

    Raises
    ------
    ValueError
        If no Ray cluster answers at that address, or one that does not let us in.
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
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, AuthenticationError) as error:
            # What is wrong, a token that Ray was not told to use for one thing, is said in the last line of the cause.
            [*_, why] = str(error.__cause__ or error).strip().splitlines()
            raise ValueError(f"--ray-address must name a Ray cluster that can be joined, got {address}: {why}") from error
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
        with socket.create_connection((host, int(port)), CONNECT_S) as there:
            there.sendall(GREETING)
            if there.makefile("rb").read(4)[3:] != SETTINGS:
                raise ConnectionError("it does not speak gRPC")
    except OSError as error:
        raise ValueError(f"--ray-address must name a Ray cluster that answers, got {address}: {error}") from None


def has_gpu() -> bool:
    """Tell whether the cluster has a GPU to give."""
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return resources.get("GPU", 0) >= 1
