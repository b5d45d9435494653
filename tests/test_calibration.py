"""Calibration: the grid, the fit, and one real profile through vLLM."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from makespan.runtime import step_samples
from makespan.runtime.calibration import calibrate
from makespan.runtime.profiles import Profile
from makespan.runtime.step_samples import Grid, StepSample, repeats
from makespan.runtime.step_time_fit import StepTimeFit, fit_step_time

TABLE = {1: 0.02, 4: 0.025, 16: 0.06}
PREFILL = {16: 0.03, 64: 0.05, 1024: 0.9}
PER_DECODE, PREFILL_KV, PAIR = 1e-4, 2e-6, 4e-7


def samples(kv: float = 5e-6, pair: float = PAIR, noise: float = 0.0) -> list[StepSample]:
    """Give steps of a known engine: decode batches, prompts alone, several together, and one beside a batch."""
    draw = np.random.default_rng(0)
    made = [
        StepSample(batch, kv_tokens, base + kv * kv_tokens)
        for batch, base in TABLE.items()
        for kv_tokens in (100, 1_000, 10_000)
    ]
    kinds = [(0, 1, tokens) for tokens in PREFILL] + [(1, 15, 16), (1, 15, 64)] + [(b, 1, 16) for b in (1, 4)]
    for decodes, prompts, tokens in kinds:
        for context in (100, 1_000) if decodes else (0,):
            held = decodes * context + prompts * tokens
            step = StepSample(decodes, held, 1.0, prompts=prompts, prompt_tokens=tokens)
            base = float(np.interp(step.tokens, list(PREFILL), list(PREFILL.values())))
            exact = base + PER_DECODE * decodes + PREFILL_KV * held + pair * step.pairs
            made.append(replace(step, seconds=exact))
    return [replace(s, seconds=s.seconds * (1 + noise * float(draw.standard_normal()))) for s in made]


def fitted(measured: list[StepSample]) -> StepTimeFit:
    return fit_step_time(measured, list(TABLE), list(PREFILL))


def test_the_fit_recovers_both_laws_that_made_the_steps() -> None:
    fit = fitted(samples())
    step, prefill = fit.step_time, fit.step_time.prefill_steps
    assert prefill is not None
    assert (step.running, prefill.tokens) == (tuple(TABLE), tuple(PREFILL))
    assert step.seconds == pytest.approx(tuple(TABLE.values()))
    assert step.seconds_per_kv_token == pytest.approx(5e-6)
    assert prefill.seconds == pytest.approx(tuple(PREFILL.values()), rel=1e-3)
    assert prefill.seconds_per_decode == pytest.approx(PER_DECODE, rel=1e-3)
    assert prefill.seconds_per_kv_token == pytest.approx(PREFILL_KV, rel=1e-3)
    assert prefill.seconds_per_pair == pytest.approx(PAIR, rel=1e-3)
    assert fit.mape == pytest.approx(0, abs=1e-5)


def test_the_reported_error_is_about_the_noise() -> None:
    fit = fitted(samples(noise=0.05))
    assert 0.01 < fit.mape < 0.08
    assert fit.step_time.seconds_per_kv_token == pytest.approx(5e-6, rel=0.2)


def test_a_coefficient_is_never_negative() -> None:
    fit = fitted(samples(kv=-1e-7, pair=-1e-9))
    assert fit.step_time.prefill_steps is not None
    assert fit.step_time.seconds_per_kv_token == 0
    assert fit.step_time.prefill_steps.seconds_per_pair == 0
    assert fit.step_time.seconds == pytest.approx(tuple(TABLE.values()), rel=0.05)


def test_the_tables_never_fall() -> None:
    falling = [StepSample(batch, kv, seconds) for batch, seconds in ((1, 0.03), (2, 0.02)) for kv in (0, 9)]
    prompts = [StepSample(0, 0, seconds, 1, tokens) for tokens, seconds in ((8, 0.2), (64, 0.1))]
    step = fit_step_time(falling + prompts, (1, 2), (8, 64)).step_time
    assert step.prefill_steps is not None
    assert step.seconds[1] >= step.seconds[0]
    assert step.prefill_steps.seconds[1] >= step.prefill_steps.seconds[0]


def test_a_batch_that_was_not_measured_is_named() -> None:
    with pytest.raises(ValueError, match=r"none of \[32\] is"):
        fit_step_time(samples(), (1, 4, 16, 32), list(PREFILL))


def test_prefill_that_was_not_measured_is_refused() -> None:
    with pytest.raises(ValueError, match=r"steps that prefill must be measured, got 9 that only decode"):
        fitted([sample for sample in samples() if not sample.prompts])


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("batches", (), "batches must increase"),
        ("contexts", (32, 16), "contexts must increase"),
        ("prefills", (0, 64), "prefills must increase from at least 1"),
        ("steps", 0, "steps must be at least 1, got 0"),
        ("most_kv", 2047, "must admit the largest batch, 2048 tokens, got 2047"),
    ],
)
def test_a_grid_states_the_rule_that_a_value_breaks(field: str, value: Any, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        Grid(**{field: value})


def test_a_grid_leaves_out_what_holds_too_much_kv() -> None:
    grid = Grid(batches=(1, 8), contexts=(32, 1024), prefills=(64,), most_kv=1024)
    assert grid.decodes == [(1, 32), (1, 1024), (8, 32)]
    assert len(grid) == 4


def test_prompts_are_measured_together_up_to_the_tokens_of_the_longest_beside_one_that_decodes() -> None:
    grid = Grid(batches=(1, 8), contexts=(32,), prefills=(16, 256, 1024))
    assert grid.together == [(7, 16), (4, 256)]
    assert Grid(batches=(1, 2), contexts=(32,)).together == []


@pytest.mark.parametrize(("each", "expected"), [(0.1, 3), (3.0, 2), (5.0, 1)])
def test_what_takes_long_is_not_measured_again(each: float, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(np.arange(100) * each)
    monkeypatch.setattr(step_samples, "monotonic", lambda: next(clock))
    assert len(list(repeats())) == expected


@pytest.mark.parametrize("tokens", [80, 112, 304, 512, 2048])
def test_nothing_is_measured_beyond_the_context_of_a_model(tokens: int) -> None:
    grid = Grid().within(tokens)
    assert grid.longest <= tokens
    left_out = set(Grid().contexts) - set(grid.contexts)
    assert all(context + grid.steps + 8 > tokens for context in left_out)


def test_a_context_in_which_nothing_can_be_measured_is_refused() -> None:
    with pytest.raises(ValueError, match=r"contexts must increase from at least 1, got \(\)"):
        Grid().within(79)


@pytest.mark.engine
def test_a_real_engine_gives_a_complete_profile() -> None:
    seen: list[tuple[int, int]] = []
    grid = Grid(batches=(1, 4), contexts=(32, 128), prefills=(64, 128), steps=3)
    profile = calibrate("small", grid=grid, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 7) for done in range(1, 8)]
    step, law = profile.step_time, profile.step_time.prefill_steps
    assert step.running == (1, 4)
    assert 0 < step.seconds[0] <= step.seconds[1]
    assert law is not None
    assert law.tokens == (64, 128)
    assert law.seconds[1] > law.seconds[0]
    assert profile.kv_capacity_tokens > 10_000
    assert profile.mape is not None
    assert 0 <= profile.mape < 1
    assert profile.max_batch == 4
    assert Profile.of_json(profile.as_json()) == profile
