"""Taking a core of this machine for one engine, so that two engines never share one while another stands idle."""

import fcntl
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from makespan.runtime.engine_slots import cores


@dataclass(frozen=True, slots=True)
class Claim:
    """A core that is ours as long as this lives: the lock ends with the process, however that ends."""

    slot: str
    lock: IO[str]


def claim_core() -> Claim | None:
    """Return the first core of this process's that no other engine has claimed, or None when all are taken."""
    folder = Path(tempfile.gettempdir()) / f"makespan-cores-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    for core in cores():
        lock = (folder / str(core)).open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        return Claim(f"cpu:{core}", lock)
    return None
