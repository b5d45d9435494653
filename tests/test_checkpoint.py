"""Checkpoints: whole or not taken, whatever is cut off, changed or killed."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from makespan.runtime import checkpoint as module
from makespan.runtime.checkpoint import find_flaw, newest_checkpoint, publish_checkpoint, read_state


def write(folder: Path) -> None:
    (folder / "model").mkdir()
    (folder / "model" / "weights").write_bytes(bytes(range(200)))
    (folder / "optimizer").write_bytes(b"momentum")


def test_a_published_checkpoint_is_whole_and_keeps_its_state(tmp_path: Path) -> None:
    published = publish_checkpoint(tmp_path / "run", write, {"version": 3})
    assert newest_checkpoint(tmp_path / "run") == published
    assert read_state(published) == {"version": 3}
    assert (published / "model" / "weights").read_bytes() == bytes(range(200))


def test_only_the_newest_checkpoints_are_kept(tmp_path: Path) -> None:
    names = [publish_checkpoint(tmp_path, write, {}, keep=2).name for _ in range(12)]
    assert sorted(path.name for path in tmp_path.iterdir()) == names[-2:]
    assert newest_checkpoint(tmp_path).name == names[-1]
    with pytest.raises(ValueError, match="keep must be at least 1, got 0"):
        publish_checkpoint(tmp_path, write, {}, keep=0)


def test_a_folder_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-of-something-else").mkdir()
    with pytest.raises(FileNotFoundError, match="must hold a whole checkpoint, got "):
        newest_checkpoint(tmp_path)


def damages(file: Path) -> list[Callable[[], Any]]:
    content = file.read_bytes()
    return [
        lambda: file.write_bytes(content[:-1]),
        lambda: file.write_bytes(content[:-1] + bytes([content[-1] ^ 1])),
        lambda: file.write_bytes(b""),
        file.unlink,
    ]


@pytest.mark.parametrize("file", ["model/weights", "optimizer", module.MANIFEST])
@pytest.mark.parametrize("damage", range(4))
def test_a_damaged_checkpoint_is_never_taken_and_the_one_before_is_found(tmp_path: Path, file: str, damage: int) -> None:
    before, damaged = (publish_checkpoint(tmp_path, write, {}) for _ in range(2))
    damages(damaged / file)[damage]()
    with pytest.warns(UserWarning, match=f"{damaged} is passed over"):
        assert newest_checkpoint(tmp_path) == before
    assert publish_checkpoint(tmp_path, write, {}).name == "checkpoint-000003"


@pytest.mark.parametrize("content", ["[]", "{}", '{"files": 3}', '{"files": {"../x": {}}}', "\x00"])
def test_a_manifest_that_says_something_else_is_a_flaw(tmp_path: Path, content: str) -> None:
    published = publish_checkpoint(tmp_path, write, {})
    (published / module.MANIFEST).write_text(content)
    assert find_flaw(published)


class Killed(BaseException):
    """Nothing catches it, as nothing catches SIGKILL."""


def test_a_process_killed_between_any_two_writes_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    publish_checkpoint(tmp_path / "run", write, {"version": 0})
    for survived in itertools.count():
        run = tmp_path / f"run-{survived}"
        shutil.copytree(tmp_path / "run", run)
        alive = iter(range(survived))
        with pytest.MonkeyPatch.context() as patch:
            for owner, name in ((os, "fsync"), (os, "mkdir"), (os, "rename"), (module, "_fingerprint")):
                patch.setattr(owner, name, mortal(getattr(owner, name), alive))
            try:
                publish_checkpoint(run, write, {"version": 1})
                killed = False
            except Killed:
                killed = True
        whole = (run / "checkpoint-000002").exists()
        assert read_state(newest_checkpoint(run)) == {"version": int(whole)}
        publish_checkpoint(run, write, {"version": 2})
        assert read_state(newest_checkpoint(run)) == {"version": 2}
        assert not list(run.glob(".partial*"))
        if not killed:
            break
    assert survived >= 10


def mortal(call: Callable[..., Any], alive: Any) -> Callable[..., Any]:
    def dying(*arguments: Any) -> Any:
        if next(alive, None) is None:
            raise Killed
        return call(*arguments)

    return dying


SAVE_FOR_EVER = """
import itertools, json, sys
from pathlib import Path
from makespan.runtime.checkpoint import publish_checkpoint
for version in itertools.count():
    def write(folder):
        for name in "abc":
            (folder / name).write_bytes(version.to_bytes(8) * 20_000)
    publish_checkpoint(Path(sys.argv[1]), write, {"version": version})
    print(version, flush=True)
"""


@pytest.mark.parametrize("trial", range(25))
def test_a_process_killed_at_a_random_moment_loses_no_published_checkpoint(tmp_path: Path, trial: int) -> None:
    with subprocess.Popen([sys.executable, "-c", SAVE_FOR_EVER, str(tmp_path)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        first = child.stdout.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(timeout=Random(trial).uniform(0, 0.05))
        child.send_signal(signal.SIGKILL)
        told = [int(line) for line in (first + child.stdout.read()).splitlines()]
    newest = newest_checkpoint(tmp_path)
    version = read_state(newest)["version"]
    assert told[-1] <= version <= told[-1] + 1
    assert (newest / "c").read_bytes() == version.to_bytes(8) * 20_000
    assert json.loads((newest / module.MANIFEST).read_text())["files"].keys() == {"a", "b", "c"}
