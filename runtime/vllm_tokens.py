"""vLLM's AsyncLLM as a `TokenEngine`: the same code on a CPU core and on a CUDA device.

vLLM ships no stable types, so its objects are ``Any`` here.
"""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from makespan.runtime.number_format import AUTO, fitting_dtype
from makespan.runtime.token_engine import EngineDied, EngineFacts, EngineLoad, Piece, TokenRequest
from makespan.runtime.weights import PackedWeights

GIB = 1024**3


@dataclass(frozen=True, kw_only=True)
class VllmSpec:
    """One vLLM engine.

    Parameters
    ----------
    model
        A Hugging Face model folder.
    max_batch
        Most requests running at once.
    max_tokens
        Most tokens of one request, prompt and output together.
    kv_gib
        KV cache on the CPU, in GiB; on CUDA vLLM takes what the device has left.
    dtype
        Of weights and arithmetic, as vLLM names it; ``auto`` for what the machine multiplies fast (`fitting_dtype`).
    version
        Weight version of the model folder.
    transfer
        How new weights come: ``shared_memory``, or ``nccl`` between GPUs.
    """

    model: Path
    max_batch: int = 16
    max_tokens: int = 2560
    kv_gib: float = 1.0
    dtype: str = AUTO
    version: int = 0
    transfer: str = "shared_memory"

    def __post_init__(self) -> None:
        if self.transfer not in ("shared_memory", "nccl"):
            raise ValueError(f"transfer must be shared_memory or nccl, got {self.transfer!r}")
        for name in ("max_batch", "max_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.kv_gib > 0:
            raise ValueError(f"kv_gib must be positive, got {self.kv_gib}")


class VllmTokens:
    """A vLLM engine in a process of its own, spoken to by this process's event loop.

    Parameters
    ----------
    spec
        The engine.
    """

    def __init__(self, spec: VllmSpec) -> None:
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        # A forked engine would inherit the threads of this process.
        os.environ.setdefault("VLLM_WORKER_MULTIPROC_METHOD", "spawn")
        transfer = import_module("makespan.runtime.weight_transfer")
        transfer.register()
        config: Any = import_module("vllm.config")
        on_cpu = bool(import_module("vllm.platforms").current_platform.is_cpu())
        if on_cpu:
            # vLLM compiles one small function for log-probabilities, which takes a CPU longer than it ever saves.
            os.environ.setdefault("TORCH_COMPILE_DISABLE", "1")
        arguments = import_module("vllm.engine.arg_utils").AsyncEngineArgs(
            model=str(spec.model),
            dtype=fitting_dtype("cpu" if on_cpu else "cuda") if spec.dtype == AUTO else spec.dtype,
            max_num_seqs=spec.max_batch,
            max_model_len=spec.max_tokens,
            scheduling_policy="priority",
            # A block that was computed under old weights must not be reused under new ones, and vLLM cannot drop the
            # blocks of requests that are kept in flight.
            enable_prefix_caching=False,
            # vLLM rewinds the generator of a partly prefilled request, which torch refuses on the CPU.
            enable_chunked_prefill=not on_cpu,
            max_num_batched_tokens=max(spec.max_tokens, 4096),
            logprobs_mode="processed_logprobs",
            disable_log_stats=True,
            use_tqdm_on_load=False,
            enforce_eager=on_cpu,
            block_size=32 if on_cpu else None,
            kv_cache_memory_bytes=int(spec.kv_gib * GIB) if on_cpu else None,
            weight_transfer_config=config.WeightTransferConfig(
                backend="nccl" if spec.transfer == "nccl" else transfer.BACKEND
            ),
            distributed_executor_backend=import_module("makespan.runtime.engine_worker").SameProcess,
        )
        self._steps = _StepLog()
        engine: Any = import_module("vllm.v1.engine.async_llm").AsyncLLM
        try:
            self._engine: Any = engine.from_engine_args(arguments, stat_loggers=[self._steps.for_vllm])
        except Exception as error:
            # vLLM's own errors span many lines, and some cannot be sent to another process.
            raise ValueError(f"--model must be one that vLLM can serve, got {spec.model.name}: {_gist(error)}") from None
        self._dead: type[Exception] = import_module("vllm.v1.engine.exceptions").EngineDeadError
        self._refused: type[Exception] = import_module("vllm.exceptions").VLLMClientError
        self._sampling: Any = import_module("vllm.sampling_params")
        self._transfer: Any = import_module("vllm.distributed.weight_transfer.base")
        self._version = spec.version

    @property
    def facts(self) -> EngineFacts:
        """What it turned out to be; vLLM keeps one KV block for itself."""
        cache = self._engine.vllm_config.cache_config
        return EngineFacts(
            kv_capacity_tokens=(int(cache.num_gpu_blocks) - 1) * int(cache.block_size),
            block_tokens=int(cache.block_size),
            max_batched_tokens=int(self._engine.vllm_config.scheduler_config.max_num_batched_tokens),
            dtype=str(self._engine.vllm_config.model_config.dtype).removeprefix("torch."),
        )

    @property
    def load(self) -> EngineLoad:
        """How it stands, as of its last step."""
        return self._steps.load

    async def generate(self, request: TokenRequest) -> AsyncIterator[Piece]:
        """Generate a sample."""
        sampling = self._sampling.SamplingParams(
            max_tokens=request.max_tokens,
            temperature=request.temperature,
            seed=request.seed,
            ignore_eos=request.forced,
            logprobs=0,
            flat_logprobs=True,
            detokenize=False,
            output_kind=self._sampling.RequestOutputKind.DELTA,
        )
        name = str(request.number)
        try:
            with self._alive():
                prompts = [{"prompt_token_ids": list(request.prompt)}]
                [rendered] = self._engine.renderer.render_cmpl(prompts)
                async for output in self._engine.generate(rendered, sampling, name, priority=request.priority):
                    yield self._piece(output)
        except self._refused as error:
            raise ValueError(str(error)) from error

    @contextmanager
    def _alive(self) -> Iterator[None]:
        """Say of a death that it is one, whichever call comes upon it."""
        try:
            yield
        except self._dead as error:
            raise EngineDied("the engine process has died") from error

    def _piece(self, output: Any) -> Piece:
        sample = output.outputs[0]
        tokens = tuple(sample.token_ids)
        # The drawn token comes first at each position; another follows only where it was not the likeliest.
        logprobs = tuple(sample.logprobs.logprobs[i] for i in sample.logprobs.start_indices) if tokens else ()
        if not output.finished:
            return Piece(tokens, logprobs)
        stats = output.metrics
        spans = sample.weight_versions or ()
        return Piece(
            tokens,
            logprobs,
            ended=str(sample.finish_reason),
            versions=tuple((self._number(span.version), int(span.start)) for span in spans),
            scheduled=stats.scheduled_ts,
            first=stats.first_token_ts,
            last=stats.last_token_ts,
            preemptions=stats.num_preemptions,
        )

    def _number(self, version: str) -> int:
        return int(version) if version.isdecimal() else self._version

    async def abort(self, numbers: list[int]) -> None:
        """End samples early."""
        with self._alive():
            await self._engine.abort([str(number) for number in numbers])

    async def update(self, weights: PackedWeights, version: int, *, keep: bool) -> None:
        """Take new weights while nothing is computed; what runs is kept, or else finished first."""
        transfer = import_module("makespan.runtime.weight_transfer")
        with self._alive():
            await self._engine.pause_generation(mode="keep" if keep else "wait", clear_cache=False)
            with transfer.shared(weights) as where:
                await self._engine.start_weight_update()
                await self._engine.update_weights(self._transfer.WeightTransferUpdateRequest(update_info=where))
                await self._engine.finish_weight_update(weight_version=str(version))
            await self._engine.resume_generation()

    async def transfer(self, step: str, info: dict[str, Any]) -> None:
        """Take a step of a transfer between devices; from ``start`` to ``finish`` nothing is computed."""
        engine, base = self._engine, self._transfer
        with self._alive():
            match step:
                case "join":
                    await engine.init_weight_transfer_engine(base.WeightTransferInitRequest(init_info=info))
                case "start":
                    await engine.pause_generation(mode="keep", clear_cache=False)
                    await engine.start_weight_update()
                case "receive":
                    await engine.update_weights(base.WeightTransferUpdateRequest(update_info=info))
                case "finish":
                    await engine.finish_weight_update(weight_version=info["version"])
                    await engine.resume_generation()
                case "leave":
                    await engine.shutdown_weight_transfer_engine()
                case _:
                    raise ValueError(f"a step of a transfer must be join, start, receive, finish or leave, got {step!r}")

    def shutdown(self) -> None:
        """Stop the engine process."""
        self._engine.shutdown()


def _gist(error: Exception) -> str:
    """Return the line of an error that says what is wrong; in pydantic's it is not the first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return next((line for line in lines if "error, " in line), lines[0])


class _StepLog:
    """The part of vLLM's statistics that says how it stands; vLLM calls `record` at every step."""

    def __init__(self) -> None:
        self.load = EngineLoad()

    def for_vllm(self, vllm_config: Any, engine_index: int = 0) -> "_StepLog":
        """Be the logger that vLLM wants to make."""
        return self

    def record(self, scheduler_stats: Any, iteration_stats: Any, *_: Any, **__: Any) -> None:
        """Note one step."""
        if scheduler_stats is None:
            return
        self.load = EngineLoad(
            running=scheduler_stats.num_running_reqs,
            waiting=scheduler_stats.num_waiting_reqs,
            kv_share=scheduler_stats.kv_cache_usage,
            steps=self.load.steps + 1,
        )

    def log_engine_initialized(self) -> None:
        """Do nothing; vLLM calls it once."""

    def log(self) -> None:
        """Do nothing; vLLM calls it at intervals."""

    def record_sleep_state(self, *_: Any) -> None:
        """Do nothing; engines here do not sleep."""
