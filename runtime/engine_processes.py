"""Work in processes of their own, streamed back as it is done; a death is an error, never a hang."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from makespan.runtime.engine_slots import occupy

T = TypeVar("T")


@dataclass(frozen=True)
class _Failed:
    reason: str


def stream(work: Callable[..., Iterable[T]], arguments: Mapping[str, tuple[Any, ...]]) -> Iterator[T]:
    """Run `work` once per slot, each in a fresh process, and give what they yield as it comes.

    Parameters
    ----------
    work
        A function at module level that yields picklable values.
    arguments
        Its arguments for each slot, a name that `engine_slots` gave.

    Raises
    ------
    RuntimeError
        If a worker fails or dies; the others are stopped.
    """
    # A fresh interpreter, because the number of threads is fixed when torch is first imported.
    context = multiprocessing.get_context("spawn")
    with ExitStack() as cleanup:
        workers: dict[Any, tuple[str, BaseProcess]] = {}
        for slot, values in arguments.items():
            receiver, sender = context.Pipe(duplex=False)
            process: BaseProcess = context.Process(target=_run, args=(sender, slot, work, values), daemon=True)
            process.start()
            cleanup.callback(_stop, process)
            # Only the worker may hold this end: its death then ends the stream instead of hanging it.
            sender.close()
            workers[receiver] = (slot, process)
        while workers:
            for connection in wait(list(workers)):
                slot, process = workers[connection]
                message = _receive(connection, slot, process)
                if isinstance(message, _Failed):
                    raise RuntimeError(f"the worker on {slot} failed: {message.reason}")
                if message is None:
                    del workers[connection]
                else:
                    yield message[0]


def _receive(connection: Any, slot: str, process: BaseProcess) -> Any:
    try:
        return connection.recv()
    except EOFError:
        process.join()
        raise RuntimeError(f"the worker on {slot} died with exit code {process.exitcode}") from None


def _stop(process: BaseProcess) -> None:
    process.terminate()
    process.join(10)
    if process.is_alive():
        process.kill()
        process.join()


def _run(connection: Connection, slot: str, work: Callable[..., Iterable[Any]], values: tuple[Any, ...]) -> None:
    # An interrupt reaches the whole process group; the parent stops its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    occupy(slot)
    try:
        for value in work(*values):
            connection.send((value,))
    except Exception as error:
        connection.send(_Failed(f"{type(error).__name__}: {error}"))
        raise
    connection.send(None)


def _end_with_parent() -> None:
    # A killed parent cannot stop its workers, and an engine left alone would keep its core for hours.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
