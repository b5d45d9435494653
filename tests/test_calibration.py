"""Calibration: the grid, the fit, and one real profile through vLLM."""

from typing import Any

import numpy as np
import pytest

from makespan.runtime.calibration import calibrate
from makespan.runtime.profiles import Profile
from makespan.runtime.step_samples import Grid, StepSample
from makespan.runtime.step_time_fit import fit_step_time

TABLE = {1: 0.02, 4: 0.025, 16: 0.06}


def samples(kv: float, prefill: float, noise: float = 0.0) -> list[StepSample]:
    draw = np.random.default_rng(0)
    made = []
    for batch, base in TABLE.items():
        for kv_tokens in (100, 1_000, 10_000):
            for prefill_tokens in (0, 64):
                exact = base + kv * kv_tokens + prefill * prefill_tokens
                measured = exact * (1 + noise * float(draw.standard_normal()))
                made.append(StepSample(batch, kv_tokens, prefill_tokens, measured))
    return made


def test_the_fit_recovers_the_profile_that_made_the_steps() -> None:
    fit = fit_step_time(samples(kv=5e-6, prefill=2e-3), (1, 4, 16))
    assert fit.running == (1, 4, 16)
    assert fit.seconds == pytest.approx(tuple(TABLE.values()))
    assert fit.seconds_per_kv_token == pytest.approx(5e-6)
    assert fit.seconds_per_prefill_token == pytest.approx(2e-3)
    assert fit.mape == pytest.approx(0, abs=1e-9)


def test_the_reported_error_is_about_the_noise() -> None:
    fit = fit_step_time(samples(kv=5e-6, prefill=2e-3, noise=0.05), (1, 4, 16))
    assert 0.01 < fit.mape < 0.08
    assert fit.seconds_per_kv_token == pytest.approx(5e-6, rel=0.2)


def test_a_coefficient_is_never_negative() -> None:
    fit = fit_step_time(samples(kv=-1e-7, prefill=2e-3), (1, 4, 16))
    assert fit.seconds_per_kv_token == 0
    assert fit.seconds_per_prefill_token == pytest.approx(2e-3, rel=0.1)


def test_the_table_never_falls() -> None:
    falling = [StepSample(batch, kv, 0, seconds) for batch, seconds in ((1, 0.03), (2, 0.02)) for kv in (0, 9)]
    fit = fit_step_time(falling, (1, 2))
    assert fit.seconds[1] >= fit.seconds[0]


def test_a_batch_that_was_not_measured_is_named() -> None:
    with pytest.raises(ValueError, match=r"none of \[32\] is"):
        fit_step_time(samples(kv=0, prefill=0), (1, 4, 16, 32))


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
    assert seen == [(done, 6) for done in range(1, 7)]
    assert profile["running"] == [1, 4]
    assert 0 < profile["seconds"][0] <= profile["seconds"][1]
    assert profile["seconds_per_kv_token"] >= 0
    assert profile["seconds_per_prefill_token"] > 0
    assert profile["kv_capacity_tokens"] > 10_000
    assert 0 <= profile["mape"] < 1
    assert Profile.of_json(profile).max_batch == 4
