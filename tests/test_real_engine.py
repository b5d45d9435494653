"""A real vLLM engine on a tiny random model: weights, moves, faults. One pool serves all of these."""

import asyncio
import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import ray
import torch
from tiny_model import make_tiny_model

from makespan.runtime.causal_lm import load_causal_lm, named_weights
from makespan.runtime.generation_service import GenerationService
from makespan.runtime.instance_pool import InstanceFailed, InstancePool
from makespan.runtime.ray_session import ray_session
from makespan.runtime.sample import Prompt, Sample
from makespan.runtime.token_engine import EngineDied
from makespan.runtime.vllm_tokens import VllmSpec, VllmTokens
from makespan.runtime.weights import pack
from makespan.schedulers import catalog, sources
from makespan.schedulers.instances import Cluster, Instance
from makespan.schedulers.policy import Policy
from makespan.schedulers.step_time import StepTime

pytestmark = pytest.mark.engine

PROBES = [Prompt(tuple(range(start, start + 6))) for start in (3, 20, 41, 77)]
CAP = 24
TOLERANCE = 0.1
"""Of a log-probability: the engine computes in bfloat16, torch here in float32."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # Input and output embeddings are one matrix, as in SmolLM2: vLLM computes on a packed copy of it.
    return make_tiny_model(tmp_path_factory.mktemp("model") / "tiny", tied=True)


@pytest.fixture(scope="module")
def pool(model: Path) -> Iterator[InstancePool]:
    spec = VllmSpec(model=model, max_batch=4, max_tokens=400, kv_gib=0.1)
    with ray_session(cores=3):
        started = InstancePool(partial(VllmTokens, spec), 2, hang_s=15)
        try:
            started.wait_until_live()
            yield started
        finally:
            started.shutdown()


def service(pool: InstancePool, policy: Policy = catalog.least_in_flight) -> GenerationService:
    instance = Instance(StepTime((1,), (0.005,), 0.0, 0.0), 40_000, 4)
    serving = GenerationService(pool, Cluster.uniform(instance, len(pool)), policy, sources.none)
    serving.version = max(VERSIONS)
    return serving


VERSIONS = [0]


def greedy(pool: InstancePool) -> dict[int, Sample]:
    return {s.row: s for s in service(pool).generate(PROBES, cap=CAP, temperature=0.0, samples=1)}


def torch_logprobs(model: Any, sample: Sample) -> torch.Tensor:
    """Return torch's log-probability of every token at every output position, shape (t, vocabulary)."""
    tokens = torch.tensor([*sample.prompt, *sample.tokens])
    with torch.no_grad():
        logits = model(tokens[None]).logits[0]
    return torch.log_softmax(logits[len(sample.prompt) - 1 : -1].float(), -1)


def disagreement(model: Any, samples: dict[int, Sample]) -> tuple[float, float]:
    """Return the largest difference of log-probabilities of the tokens, and the largest loss against the likeliest token."""
    apart, behind = 0.0, 0.0
    for sample in samples.values():
        expected = torch_logprobs(model, sample)
        chosen = expected[torch.arange(len(sample.tokens)), torch.from_numpy(sample.tokens)]
        apart = max(apart, float((chosen - torch.from_numpy(sample.logprobs)).abs().max()))
        behind = max(behind, float((expected.max(-1).values - chosen).max()))
    return apart, behind


def perturbed(model: Path, seed: int) -> Any:
    """Return the model with other weights, rounded as an engine gets them."""
    changed = load_causal_lm(model, device=torch.device("cpu"), dtype=torch.float32)
    generator = torch.Generator().manual_seed(seed)
    for parameter in changed.parameters():
        if parameter.ndim > 1:
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.data += 0.05 * noise
        parameter.data = parameter.data.to(torch.bfloat16).float()
    return changed


def publish(pool: InstancePool, changed: Any, *, keep: bool = True) -> None:
    """Send a model's weights to every instance."""
    weights = {name: tensor.to(torch.bfloat16) for name, tensor in named_weights(changed).items()}
    serving = service(pool)
    VERSIONS.append(serving.version + 1)
    serving.update(ray.put(pack(weights)), VERSIONS[-1], keep=keep)


def test_after_an_update_vllm_agrees_with_torch_on_the_new_weights_and_not_on_the_old(
    pool: InstancePool, model: Path
) -> None:
    old = load_causal_lm(model, device=torch.device("cpu"), dtype=torch.float32)
    apart, behind = disagreement(old, greedy(pool))
    assert apart < TOLERANCE
    assert behind < TOLERANCE
    new = perturbed(model, seed=1)
    publish(pool, new)
    after = greedy(pool)
    apart, behind = disagreement(new, after)
    assert apart < TOLERANCE
    assert behind < TOLERANCE
    apart, behind = disagreement(old, after)
    assert apart > 5 * TOLERANCE
    assert behind > 5 * TOLERANCE
    assert {sample.versions for sample in after.values()} == {((VERSIONS[-1], 0),)}


@pytest.mark.parametrize("keep", [True, False])
def test_samples_survive_new_weights(pool: InstancePool, model: Path, keep: bool) -> None:
    new = perturbed(model, seed=2)
    weights = ray.put(pack({name: tensor.to(torch.bfloat16) for name, tensor in named_weights(new).items()}))
    serving, samples = service(pool), []
    # Lengths differ, so that others are in the middle when the first ends.
    forced = np.array([20, 120, 150, 180, 200, 220, 240, 260])
    for sample in serving.generate([Prompt((5, 6, 7))] * 8, cap=300, forced=forced):
        samples.append(sample)
        if len(samples) == 1:
            VERSIONS.append(serving.version + 1)
            serving.update(weights, VERSIONS[-1], keep=keep, wait=False)
    assert {sample.row: len(sample.tokens) for sample in samples} == dict(enumerate(forced.tolist()))
    mixed = [sample for sample in samples if len(sample.versions) > 1]
    assert bool(mixed) == keep
    while pool.updating:
        pool.wait(1.0)


def test_a_sample_that_is_moved_goes_on_with_what_it_had(pool: InstancePool, model: Path) -> None:
    from test_real_cluster import KeepMoving

    still = greedy(pool)
    serving = service(pool, Policy(rebalance=KeepMoving()))
    moved = {s.row: s for s in serving.generate(PROBES, cap=CAP, temperature=0.0)}
    assert serving.timeline is not None
    assert all(len(sample.tokens) == len(still[row].tokens) == CAP for row, sample in moved.items())


def test_poison_prompts_fail_with_their_reasons(pool: InstancePool) -> None:
    poison = [Prompt(()), Prompt((10**6,)), Prompt(tuple(range(3, 83)) * 6), PROBES[0]]
    done = {sample.row: sample for sample in service(pool).generate(poison, cap=CAP)}
    assert [done[row].ended for row in range(4)] == ["failed", "failed", "failed", "length"]
    assert "empty" in done[0].reason
    assert "vocabulary" in done[1].reason
    assert "maximum context length" in done[2].reason


def engine_of(pool: InstancePool, instance: int) -> psutil.Process:
    """Return the process of an instance's engine."""
    children = psutil.Process(pool.process(instance)).children(recursive=True)
    return next(
        child for child in children if "EngineCore" in " ".join(child.cmdline()) or "spawn_main" in child.cmdline()[-2:][0]
    )


def generate_through(pool: InstancePool, fault: Any) -> None:
    """Generate while a fault happens, and require every sample whole."""
    forced = np.random.default_rng(0).integers(20, 200, size=24)
    samples = []
    for sample in service(pool, catalog.lpt).generate([Prompt((9, 8, 7))] * 24, cap=300, forced=forced):
        samples.append(sample)
        if len(samples) == 3:
            fault()
    assert {sample.row: len(sample.tokens) for sample in samples} == dict(enumerate(forced.tolist()))
    assert len(samples) == 24


def test_the_death_of_an_engine_process_loses_no_sample(pool: InstancePool) -> None:
    before = pool.replaced
    generate_through(pool, lambda: engine_of(pool, 0).send_signal(signal.SIGKILL))
    assert pool.replaced == before + 1
    pool.wait_until_live()


def test_the_death_of_an_actor_takes_its_engine_along_and_loses_no_sample(pool: InstancePool) -> None:
    engine = engine_of(pool, 1)
    generate_through(pool, lambda: os.kill(pool.process(1), signal.SIGKILL))
    engine.wait(10)
    assert not engine.is_running()
    pool.wait_until_live()


def test_a_frozen_engine_is_found_out_and_replaced(pool: InstancePool) -> None:
    before = pool.replaced
    frozen = engine_of(pool, 0)
    generate_through(pool, lambda: frozen.send_signal(signal.SIGSTOP))
    assert pool.replaced == before + 1
    pool.wait_until_live()
    assert not frozen.is_running() or frozen.status() == psutil.STATUS_ZOMBIE


def has_newest(pool: InstancePool, new: Any, replaced: int) -> None:
    """Require that the pool, once it has replaced so many and is whole again, computes with these weights."""
    while pool.replaced < replaced or not all(pool.live):
        pool.wait(1.0)
    while pool.updating:
        pool.wait(1.0)
    apart, _ = disagreement(new, greedy(pool))
    assert apart < TOLERANCE


def test_an_instance_that_was_replaced_has_the_newest_weights(pool: InstancePool, model: Path) -> None:
    before, new = pool.replaced, perturbed(model, seed=3)
    publish(pool, new)
    os.kill(pool.process(0), signal.SIGKILL)
    has_newest(pool, new, before + 1)


def test_weights_that_come_upon_a_dead_engine_are_taken_by_its_replacement(pool: InstancePool, model: Path) -> None:
    before, engine, new = pool.replaced, engine_of(pool, 0), perturbed(model, seed=5)
    engine.send_signal(signal.SIGKILL)
    engine.wait(10)
    publish(pool, new)
    has_newest(pool, new, before + 1)
    assert pool.replaced == before + 1


@pytest.mark.parametrize("call", ["update", "transfer", "abort"])
def test_whatever_call_comes_upon_a_dead_engine_says_so(call: str) -> None:
    engine = object.__new__(VllmTokens)
    engine._dead, engine._engine = ConnectionError, DeadEngine()
    arguments = {"update": (pack({}), 1), "transfer": ("start", {}), "abort": ([1],)}
    keywords: dict[str, Any] = {"keep": True} if call == "update" else {}
    engine._transfer = None
    with pytest.raises(EngineDied, match="the engine process has died"):
        asyncio.run(getattr(engine, call)(*arguments[call], **keywords))


class DeadEngine:
    """Answers every call as vLLM does when the process behind it is gone."""

    async def pause_generation(self, **_: Any) -> None:
        raise ConnectionError

    async def abort(self, _: list[str]) -> None:
        raise ConnectionError


def test_a_model_that_vllm_cannot_serve_is_refused_in_one_line(pool: InstancePool, model: Path, tmp_path: Path) -> None:
    odd = tmp_path / "odd"
    odd.mkdir()
    for file in model.iterdir():
        text = file.read_bytes()
        if file.name == "config.json":
            text = text.replace(b"LlamaForCausalLM", b"LlamaForNothing")
        (odd / file.name).write_bytes(text)
    failing = InstancePool(partial(VllmTokens, VllmSpec(model=odd, max_tokens=64)), 1)
    with pytest.raises(InstanceFailed, match="LlamaForNothing") as error:
        failing.wait_until_live()
    assert "\n" not in str(error.value)
    failing.shutdown()
