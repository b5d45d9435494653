"""Nothing is left when a session ends: no process and no shared memory."""

import os
import signal

import psutil
from stage_of_actors import scripted_pool

from makespan.runtime.ray_session import ray_session


def test_shutdown_leaves_nothing_running() -> None:
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    files = set(os.listdir("/dev/shm"))
    with ray_session(cores=2), scripted_pool(2) as pool:
        os.kill(pool.process(0), signal.SIGKILL)
        actor = pool.process(1)
    left = {process.pid for process in psutil.Process().children(recursive=True)} - before
    assert not {pid for pid in left if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE}
    assert not psutil.pid_exists(actor)
    assert set(os.listdir("/dev/shm")) <= files
