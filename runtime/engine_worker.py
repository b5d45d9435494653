"""What vLLM loads into the process of its engine: our weight-transfer back end, and an end that follows the parent's."""

import multiprocessing
import os
import threading

from vllm.v1.executor.uniproc_executor import UniProcExecutor

from makespan.runtime.matrix_tiles import use_matrix_tiles
from makespan.runtime.weight_transfer import register


class SameProcess(UniProcExecutor):
    """vLLM's executor that runs the model in the process of the engine.

    On the CPU vLLM would start another process to bind its threads, with a queue in named shared memory between the two;
    here the engine's process is bound already.
    """


def _end_with_parent() -> None:
    # A killed parent cannot stop its engine, which would then hold its core or its device for ever.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


register()
use_matrix_tiles()
if multiprocessing.current_process().name.startswith("EngineCore"):
    threading.Thread(target=_end_with_parent, daemon=True).start()
