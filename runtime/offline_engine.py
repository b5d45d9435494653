"""One vLLM engine inside this process, stepped by hand: the same code on a CPU core and on a CUDA device.

vLLM ships no stable types, so this file is the only place that holds its objects as ``Any``.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from makespan.runtime.number_format import fitting_dtype

GIB = 1024**3


@dataclass(frozen=True)
class Completion:
    """One finished sample: the request's name, its number of output tokens, and why it ended."""

    name: str
    output_tokens: int
    finish_reason: str


class OfflineEngine:
    """A vLLM engine that finishes what it is given and says so sample by sample.

    Parameters
    ----------
    model
        A Hugging Face model folder.
    max_batch
        The largest number of requests that run at once.
    max_tokens
        The largest number of tokens of one request, prompt and output together.
    kv_gib
        The KV cache on the CPU, in GiB; on CUDA vLLM takes what the device has left.
    prefix_caching
        Whether requests with a common prefix share its KV cache.
    """

    def __init__(
        self,
        model: Path,
        *,
        max_batch: int,
        max_tokens: int,
        kv_gib: int = 3,
        prefix_caching: bool = True,
    ) -> None:
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        self.max_tokens = max_tokens
        on_cpu = bool(import_module("vllm.platforms").current_platform.is_cpu())
        import_module("makespan.runtime.matrix_tiles").use_matrix_tiles()
        arguments = import_module("vllm.engine.arg_utils").EngineArgs(
            model=str(model),
            dtype=fitting_dtype("cpu" if on_cpu else "cuda"),
            max_num_seqs=max_batch,
            max_model_len=max_tokens,
            enable_prefix_caching=prefix_caching,
            # vLLM rewinds the generator of a partly prefilled request, which torch refuses on the CPU.
            enable_chunked_prefill=False,
            max_num_batched_tokens=max(max_tokens, 4096),
            disable_log_stats=True,
            use_tqdm_on_load=False,
            enforce_eager=on_cpu,
            # vLLM's 128 on the CPU is longer than most prompts, so samples of one prompt would share nothing.
            block_size=32 if on_cpu else None,
            kv_cache_memory_bytes=kv_gib * GIB if on_cpu else None,
        )
        self._engine: Any = import_module("vllm.v1.engine.llm_engine").LLMEngine.from_engine_args(arguments)

    def add(
        self,
        name: str,
        prompt: Sequence[int],
        *,
        cap: int,
        temperature: float = 1.0,
        seed: int | None = None,
        forced: bool = False,
    ) -> None:
        """Queue one sample of at most ``cap`` new tokens, or with ``forced`` of exactly that many."""
        vllm: Any = import_module("vllm.sampling_params")
        sampling = vllm.SamplingParams(
            max_tokens=cap,
            temperature=temperature,
            seed=seed,
            ignore_eos=forced,
            detokenize=False,
            output_kind=vllm.RequestOutputKind.FINAL_ONLY,
        )
        [rendered] = self._engine.renderer.render_cmpl([{"prompt_token_ids": list(prompt)}])
        self._engine.add_request(name, rendered, sampling)

    def step(self) -> list[Completion]:
        """Run one engine step and give the samples that it finished."""
        finished = ((output.request_id, output.outputs[0]) for output in self._engine.step())
        return [Completion(name, len(sample.token_ids), str(sample.finish_reason)) for name, sample in finished]

    def run(self) -> Iterator[Completion]:
        """Step until nothing is left, giving each sample when it finishes."""
        while self._engine.has_unfinished_requests():
            yield from self.step()

    def abort(self, names: Sequence[str]) -> None:
        """Drop unfinished samples and free what they hold."""
        self._engine.abort_request(list(names))

    @property
    def running(self) -> int:
        """Requests that run now."""
        return len(self._scheduler.running)

    @property
    def kv_tokens(self) -> int:
        """Tokens of KV that the running requests hold."""
        return sum(int(request.num_computed_tokens) for request in self._scheduler.running)

    @property
    def block_tokens(self) -> int:
        """Tokens of one KV block."""
        return int(self._engine.vllm_config.cache_config.block_size)

    @property
    def kv_capacity_tokens(self) -> int:
        """Tokens of KV that fit; vLLM keeps one block for itself."""
        return (int(self._engine.vllm_config.cache_config.num_gpu_blocks) - 1) * self.block_tokens

    @property
    def max_batched_tokens(self) -> int:
        """Most tokens computed in one step."""
        return int(self._engine.vllm_config.scheduler_config.max_num_batched_tokens)

    @property
    def _scheduler(self) -> Any:
        return self._engine.engine_core.engine_core.scheduler

    def chat_tokens(self, prompt: str) -> list[int]:
        """Give the tokens of one user message under the model's chat template."""
        tokenizer = self._engine.get_tokenizer()
        messages = [{"role": "user", "content": prompt}]
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        tokens: list[int] = tokenizer.encode(text, add_special_tokens=False)
        return tokens
