"""Time models from specifications: against measurements that were not used, against memory, and against themselves."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from makespan.runtime.parallelism import Stage, best_generation, best_training, instances_of, profile_grid
from makespan.runtime.profiles import load_profile
from makespan.runtime.specifications import load_gpu, load_link, load_model, names
from makespan.schedulers import catalog, sources
from makespan.schedulers.gpu import Gpu
from makespan.schedulers.layout import Layout, kv_capacity, layouts, training_fits
from makespan.schedulers.model_spec import ModelSpec
from makespan.schedulers.registry import UnknownName
from makespan.schedulers.requests import Requests
from makespan.schedulers.roofline import Efficiency, decode_step, generation_instance
from makespan.schedulers.training_order import stage_seconds
from makespan.schedulers.training_time import GRPO, PPO, Passes, passes_of, training_layouts, training_time

H800, H20 = load_gpu("H800"), load_gpu("H20")
SEVEN = load_model("qwen2.5-7b")
gpus = st.sampled_from([load_gpu(name) for name in names("gpus")])
models = st.sampled_from([load_model(name) for name in names("models")])
tensors = st.sampled_from([1, 2, 4, 8])


@pytest.mark.parametrize("batch", [1, 2, 4, 8, 16, 32, 64, 128, 256, 512])
def test_the_7b_model_on_an_h800_decodes_as_the_paper_measured(batch: int) -> None:
    # Figure 6 right. Contexts are not stated there; 1,200 tokens are what its slope leaves for attention.
    ours = decode_step(SEVEN, H800, Layout(), Efficiency())(batch, batch * 1200)
    assert ours == pytest.approx(load_profile("streamrl-7b-h800").step_time(batch), rel=0.12)


def test_the_kv_coefficient_is_that_of_measured_profiles() -> None:
    # Llama-3.1-8B on one RTX PRO 6000 (1.79 TB/s) under vLLM; the efficiency was chosen between this and Qwen3-32B's.
    llama = ModelSpec("llama-3.1-8b", 32, 4096, 32, 8, 128, 8_030_261_248)
    card = Gpu("RTX PRO 6000", 400, 96, 1.79, 64)
    ours = decode_step(llama, card, Layout(), Efficiency()).seconds_per_kv_token
    assert ours == pytest.approx(load_profile("llama3.1-8b-rtxpro6000").step_time.seconds_per_kv_token, rel=0.05)


def test_what_a_model_weighs_follows_from_its_configuration() -> None:
    assert SEVEN.weight_bytes == pytest.approx(15.2e9, rel=0.01)
    assert SEVEN.kv_bytes_per_token == 57_344
    assert load_model("qwen2.5-72b").kv_bytes_per_token == 327_680
    assert (
        kv_capacity(SEVEN, H800, Layout()) == load_profile("streamrl-7b-h800").kv_capacity_tokens
        or abs(kv_capacity(SEVEN, H800, Layout()) / load_profile("streamrl-7b-h800").kv_capacity_tokens - 1) < 0.01
    )


@given(model=models, gpu=gpus, tensor=tensors, batch=st.integers(1, 512), kv=st.integers(0, 10**6))
def test_a_step_is_never_faster_than_reading_the_weights(
    model: ModelSpec, gpu: Gpu, tensor: int, batch: int, kv: int
) -> None:
    step = decode_step(model, gpu, Layout(tensor), Efficiency())
    seconds = float(step(batch, kv))
    assert seconds >= 2 * model.computing / (tensor * gpu.bandwidth)
    assert seconds >= 2 * model.computing * batch / (tensor * gpu.flops)
    assert float(step(batch + 1, kv)) >= seconds
    assert float(step(batch, kv + 1000)) > seconds


@given(batch=st.integers(1, 1024))
def test_a_step_reads_no_more_experts_than_there_are(batch: int) -> None:
    model = load_model("kimi-k2")
    assert model.computing <= model.read_parameters(batch) <= model.parameters
    assert model.read_parameters(1) == pytest.approx(model.computing)


@given(model=models, gpu=gpus, count=st.integers(1, 300))
def test_layouts_use_no_more_gpus_than_there_are_and_keep_tensor_ranks_in_a_machine(
    model: ModelSpec, gpu: Gpu, count: int
) -> None:
    for layout in layouts(model, gpu, count):
        assert layout.gpus <= count
        assert layout.gpus > count - layout.unit
        assert layout.tensor <= gpu.gpus_per_machine
        assert model.query_heads % layout.tensor == 0


@given(count=st.integers(8, 64), tokens=st.integers(1000, 40_000))
def test_the_search_finds_what_trying_every_layout_finds(count: int, tokens: int) -> None:
    lengths = np.full(64, float(tokens))
    layout, time, seconds = best_training(SEVEN, H800, count, lengths, Efficiency())
    every = {
        each: stage_seconds(training_time(SEVEN, H800, each, Efficiency()), lengths)
        for each in training_layouts(SEVEN, H800, count)
    }
    assert seconds == min(every.values()) == every[layout]
    assert training_fits(SEVEN, H800, layout, 32_768)
    # No layout computes faster than every GPU at the efficiency that was given.
    flops = 64 * tokens * (6 * PPO.trained + 2 * PPO.forward) * SEVEN.computing
    assert seconds >= flops / (count * H800.flops * 0.4) * (1 - 1e-9)
    assert time.ranks == layout.data


def test_the_generation_search_returns_the_layout_of_least_makespan() -> None:
    requests = Requests.of(np.full(64, 100), np.full(64, 4000))
    lengths = np.linspace(200, 4000, 64).astype(np.int64)
    stage = Stage(requests, lengths, catalog.lpt, lambda: sources.oracle(lengths))
    best = best_generation(SEVEN, H800, 8, stage, Efficiency())
    alone = [best_generation(SEVEN, H800, 8, stage, Efficiency(), tensor=t) for t in (1, 2, 4)]
    assert best.seconds == min(each.seconds for each in alone)
    assert {each.layout.tensor for each in alone} == {1, 2, 4}
    with pytest.raises(ValueError, match="must be one that fits"):
        best_generation(SEVEN, H800, 8, stage, Efficiency(), tensor=8)


def test_grpo_costs_less_than_ppo_and_more_gpus_never_more() -> None:
    lengths = np.full(64, 5000.0)
    ppo, grpo = (best_training(SEVEN, H800, 16, lengths, Efficiency(), p)[2] for p in (PPO, GRPO))
    assert grpo < ppo
    assert best_training(SEVEN, H800, 32, lengths, Efficiency())[2] < ppo
    assert passes_of("ppo") is PPO
    assert passes_of("grpo") is GRPO


def test_an_h20_generates_better_and_trains_worse_than_an_h800() -> None:
    fast, slow = (decode_step(SEVEN, gpu, Layout(), Efficiency()) for gpu in (H20, H800))
    assert float(fast(1, 0)) < float(slow(1, 0))
    lengths = np.full(64, 5000.0)
    assert (
        best_training(SEVEN, H20, 16, lengths, Efficiency())[2]
        > 3 * best_training(SEVEN, H800, 16, lengths, Efficiency())[2]
    )


def test_the_grid_of_a_profile_reaches_the_budget() -> None:
    assert profile_grid(64, 8) == [8, 16, 24, 32, 40, 48, 56, 64]
    wide = profile_grid(10_000, 8)
    assert wide[0] == 8
    assert wide[-1] == 10_000
    assert len(wide) <= 24


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: load_gpu("H8000"), UnknownName, "did you mean 'H800'"),
        (lambda: load_model("qwen2.5-7"), UnknownName, "did you mean 'qwen2.5-7b'"),
        (lambda: load_link("dedicate"), UnknownName, "did you mean 'dedicated'"),
        (lambda: load_gpu("H100").price, ValueError, "needs the price of a machine, got none for H100"),
        (lambda: replace(H800, memory_gb=-1), ValueError, "memory_gb of H800 must be positive"),
        (lambda: replace(SEVEN, layers=0), ValueError, "layers of qwen2.5-7b must be at least 1"),
        (lambda: replace(SEVEN, experts_per_token=1), ValueError, "experts_per_token"),
        (lambda: Layout(0), ValueError, "at least 1"),
        (lambda: Efficiency(bandwidth=0), ValueError, "bandwidth must be positive"),
        (lambda: Passes(0, 1), ValueError, "must train at least one model"),
        (lambda: passes_of("dpo"), ValueError, "must be ppo or grpo, got 'dpo'"),
        (
            lambda: generation_instance(load_model("kimi-k2"), H800, Layout(8), Efficiency()),
            ValueError,
            "kimi-k2 must fit the memory of 8 x H800, got no room for KV",
        ),
        (lambda: training_layouts(load_model("qwen2.5-72b"), H800, 8), ValueError, "must fit the memory of 8 x H800"),
        (
            lambda: instances_of(load_model("qwen2.5-72b"), H800, 1, 100, Efficiency(), 8),
            ValueError,
            "with 100 tokens of KV in some layout of 1 x H800, got none",
        ),
        (lambda: profile_grid(4, 8), ValueError, "at least 8 GPUs, got 4"),
    ],
)
def test_what_does_not_exist_or_fit_is_refused_in_one_line(build, error: type[Exception], message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error, match=message):
        build()
