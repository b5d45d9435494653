"""A Ray cluster of its own, started as an operator would: `ray start --head`, with a token that only this test knows."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import psutil

PATIENCE_S = 120.0


@dataclass(frozen=True)
class RayHead:
    """Where it answers, the environment of processes that may use it, and the processes that it is made of."""

    address: str
    environment: dict[str, str]
    process: psutil.Process

    def processes(self) -> list[psutil.Process]:
        children: list[psutil.Process] = self.process.children(recursive=True)
        return children


@contextmanager
def ray_head(cores: int) -> Iterator[RayHead]:
    """Give a cluster that is up, and require that none of its processes outlives it."""
    # Sockets lie in this folder, and their paths must not be long.
    with TemporaryDirectory(prefix="ray") as folder:
        token = Path(folder) / "token"
        token.write_text(uuid4().hex, encoding="utf-8")
        known = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
        options = ["--head", "--block", "--port=0", f"--num-cpus={cores}", f"--temp-dir={folder}", "--disable-usage-stats"]
        head = subprocess.Popen(
            [str(Path(sys.executable).with_name("ray")), "start", *options, "--include-dashboard=false"],
            env=os.environ | known | {"RAY_worker_niceness": "0"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        started: list[psutil.Process] = []
        try:
            port = _port(Path(folder), head)
            up = RayHead(f"127.0.0.1:{port}", os.environ | known, psutil.Process(head.pid))
            yield up
            started = up.processes()
        finally:
            head.terminate()
            head.wait(PATIENCE_S)
            _, left = psutil.wait_procs(started, timeout=PATIENCE_S)
            for process in left:
                process.kill()
            assert not left, f"a Ray head must take its processes along, got {left}"


def _port(folder: Path, head: "subprocess.Popen[bytes]") -> str:
    """Wait until the head says where it listens."""
    file, deadline = folder / "ray_current_cluster", time.monotonic() + PATIENCE_S
    while not (file.exists() and file.read_text(encoding="utf-8").strip()):
        assert head.poll() is None, f"a Ray head must stay up, got exit code {head.returncode}"
        assert time.monotonic() < deadline, f"a Ray head must be up within {PATIENCE_S:g} s, got none"
        time.sleep(0.1)
    return file.read_text(encoding="utf-8").strip().rpartition(":")[2]
