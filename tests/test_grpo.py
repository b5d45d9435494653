"""GRPO: advantages, the clipped loss against a slow loop, the KL estimate, and what a value must be."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from makespan.runtime.grpo import Grpo, k3, token_terms
from makespan.runtime.training_sample import TrainingSample

GRPO = Grpo(clip_low=0.2, clip_high=0.3)
REWARDS = st.lists(st.integers(-8, 8).map(lambda n: n / 8), min_size=1, max_size=16)
LOGPROBS = st.floats(-30, 0)


@given(REWARDS)
def test_advantages_of_a_group_have_mean_zero_and_deviation_one(rewards: list[float]) -> None:
    advantages = GRPO.advantages(np.array(rewards))
    assert advantages.mean() == pytest.approx(0, abs=1e-9)
    assert advantages.std() == pytest.approx(0 if len(set(rewards)) == 1 else 1, abs=1e-4)


@given(REWARDS, st.randoms(use_true_random=False))
def test_the_order_within_a_group_does_not_matter_to_its_advantages(rewards: list[float], random: Any) -> None:
    order = random.sample(range(len(rewards)), len(rewards))
    moved = GRPO.advantages(np.array(rewards)[order])
    np.testing.assert_allclose(moved, GRPO.advantages(np.array(rewards))[order], atol=1e-12)


@given(st.floats(-1e6, 1e6), st.integers(1, 64))
def test_equal_rewards_give_exactly_no_advantage(reward: float, count: int) -> None:
    assert not GRPO.advantages(np.full(count, reward)).any()


@given(REWARDS)
def test_without_the_deviation_advantages_are_rewards_minus_their_mean(rewards: list[float]) -> None:
    plain = dataclasses.replace(GRPO, normalise_by_std=False)
    expected = np.array(rewards) - sum(rewards) / len(rewards)
    np.testing.assert_allclose(plain.advantages(np.array(rewards)), expected, atol=1e-12)


def slow_loss(new: float, behaviour: float, advantage: float, reference: float | None, kl: float) -> float:
    ratio = math.exp(min(max(new - behaviour, -20), 20))
    loss = -min(ratio * advantage, min(max(ratio, 1 - GRPO.clip_low), 1 + GRPO.clip_high) * advantage)
    if reference is not None:
        away = min(max(reference - new, -20), 20)
        loss += kl * (math.exp(away) - away - 1)
    return loss


@given(st.lists(st.tuples(LOGPROBS, LOGPROBS, st.floats(-3, 3), LOGPROBS), min_size=1, max_size=8), st.booleans())
def test_the_loss_of_each_token_is_that_of_a_slow_loop(rows: list[tuple[float, ...]], penalised: bool) -> None:
    grpo = dataclasses.replace(GRPO, kl_coefficient=0.1 if penalised else 0.0)
    new, behaviour, advantages, reference = torch.tensor(rows, dtype=torch.float64).T
    terms = token_terms(
        grpo, new=new, behaviour=behaviour, advantages=advantages, reference=reference if penalised else None
    )
    expected = [slow_loss(n, b, a, r if penalised else None, 0.1) for n, b, a, r in rows]
    np.testing.assert_allclose(terms.loss.numpy(), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("ratio", "advantage", "learns"),
    [(1.29, 1, True), (1.31, 1, False), (0.5, 1, True), (0.81, -1, True), (0.79, -1, False), (2.0, -1, True)],
)
def test_a_token_learns_unless_it_is_already_beyond_the_bound(ratio: float, advantage: float, learns: bool) -> None:
    new = torch.tensor([-1.0], requires_grad=True)
    behaviour = new.detach() - math.log(ratio)
    terms = token_terms(GRPO, new=new, behaviour=behaviour, advantages=torch.tensor([float(advantage)]))
    terms.loss.sum().backward()  # type: ignore[no-untyped-call]
    assert new.grad is not None
    assert bool(new.grad.abs() > 0) is learns is not bool(terms.clipped)
    assert float(terms.ratio) == pytest.approx(ratio)


def test_the_most_unlikely_behaviour_gives_no_infinite_gradient() -> None:
    new = torch.tensor([-0.1, -0.1], requires_grad=True)
    terms = token_terms(GRPO, new=new, behaviour=torch.tensor([-500.0, -500.0]), advantages=torch.tensor([1.0, -1.0]))
    terms.loss.sum().backward()  # type: ignore[no-untyped-call]
    assert new.grad is not None
    assert new.grad.isfinite().all()


def test_the_kl_estimate_is_unbiased() -> None:
    p, q = torch.tensor([0.7, 0.2, 0.1]), torch.tensor([0.3, 0.3, 0.4])
    expected = (p * (p / q).log()).sum()
    assert float((p * k3((q / p).log())).sum()) == pytest.approx(float(expected))


@given(st.floats(-40, 40))
def test_the_kl_estimate_is_never_negative(log_ratio: float) -> None:
    assert float(k3(torch.tensor(log_ratio, dtype=torch.float64))) >= 0


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("learning_rate", 0.0, "learning_rate must be positive and finite, got 0.0"),
        ("temperature", math.inf, "temperature must be positive and finite, got inf"),
        ("clip_low", 1.0, "clip_low must lie between 0 and 1, got 1.0"),
        ("clip_high", -0.1, "clip_high must be positive and finite, got -0.1"),
        ("kl_coefficient", math.nan, "kl_coefficient must be at least 0 and finite, got nan"),
        ("weight_decay", -1.0, "weight_decay must be at least 0 and finite, got -1.0"),
        ("aggregation", "mean", "aggregation must be token or sequence, got 'mean'"),
        ("micro_batch_tokens", 0, "micro_batch_tokens must be at least 1, got 0"),
    ],
)
def test_hyper_parameters_state_the_rule_that_a_value_breaks(field: str, value: Any, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        dataclasses.replace(GRPO, **{field: value})


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("reward", math.nan, "the reward of sample 7 must be finite, got nan"),
        ("reward", math.inf, "the reward of sample 7 must be finite, got inf"),
        ("prompt_tokens", [], "prompt_tokens of sample 7 must hold at least one token, got 0"),
        ("output_tokens", [], "output_tokens of sample 7 must hold at least one token, got 0"),
        ("logprobs", [-1.0], "logprobs of sample 7 must be one per output token, got 1 for 2"),
        ("logprobs", [-1.0, 0.5], "logprobs of sample 7 must be at most 0, got 0.5"),
        ("logprobs", [-1.0, -math.inf], "logprobs of sample 7 must be finite, got -inf"),
        ("version", -1, "the version of sample 7 must be at least 0, got -1"),
    ],
)
def test_a_sample_states_the_rule_that_a_value_breaks(field: str, value: Any, rule: str) -> None:
    one, two, logprobs = np.array([5]), np.array([5, 6]), np.array([-1.0, -2.0])
    sample = TrainingSample(7, 0, one, two, logprobs, reward=1.0, version=0)
    assert sample.tokens == 3
    with pytest.raises(ValueError, match=rule):
        dataclasses.replace(sample, **{field: value})
