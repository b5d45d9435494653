"""The trainer: gradients of the whole batch in any order, refusals, weights, and checkpoints that resume bit by bit."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from tiny_model import make_tiny_model
from torch import Tensor

from makespan.runtime.causal_lm import load_causal_lm, output_logprobs
from makespan.runtime.grpo import Grpo
from makespan.runtime.micro_batches import MicroBatches, Weighted
from makespan.runtime.trainer import Trainer
from makespan.runtime.training_sample import TrainingSample

VOCABULARY = 300
GRPO = Grpo(learning_rate=1e-3, micro_batch_tokens=64, max_grad_norm=1e9)
Group = list[TrainingSample]

few = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def tied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("models") / "tied", tied=True)


def make_groups(sizes: list[int], *, seed: int = 0, longest: int = 24, first: int = 0) -> list[Group]:
    """Random groups with log-probabilities near those of a random model, so that some ratios are clipped."""
    draw = np.random.default_rng(seed)
    groups, number = [], first
    for group, size in enumerate(sizes, start=first):
        prompt = draw.integers(0, VOCABULARY, draw.integers(1, longest))
        made = []
        for _ in range(size):
            output = draw.integers(0, VOCABULARY, draw.integers(1, longest))
            logprobs = -np.abs(draw.normal(6, 1, len(output)))
            made.append(TrainingSample(number, group, prompt, output, logprobs, float(draw.integers(0, 3)), 0))
            number += 1
        groups.append(made)
    return groups


def whole_batch_gradient(folder: Path, grpo: Grpo, groups: list[Group]) -> tuple[float, dict[str, Tensor]]:
    """Plain autograd over one padded batch with an attention mask, every formula written out once more."""
    model = load_causal_lm(folder, device=torch.device("cpu"), dtype=torch.float32)
    reference = load_causal_lm(folder, device=torch.device("cpu"), dtype=torch.float32)
    samples = [sample for group in groups for sample in group]
    tokens = torch.full((len(samples), max(s.tokens for s in samples)), 3)
    mask = torch.zeros_like(tokens)
    for row, s in enumerate(samples):
        tokens[row, : s.tokens] = torch.tensor(np.concatenate([s.prompt_tokens, s.output_tokens]))
        mask[row, : s.tokens] = 1
    new = (model(input_ids=tokens, attention_mask=mask).logits / grpo.temperature).log_softmax(-1)
    with torch.no_grad():
        old = (reference(input_ids=tokens, attention_mask=mask).logits / grpo.temperature).log_softmax(-1)
    of_samples = []
    for row, s in enumerate(samples):
        rewards = [other.reward for other in groups[[g[0].group for g in groups].index(s.group)]]
        spread = float(np.std(rewards)) + 1e-6 if grpo.normalise_by_std else 1.0
        advantage = (s.reward - float(np.mean(rewards))) / spread
        losses = []
        for k, token in enumerate(s.output_tokens):
            at = len(s.prompt_tokens) + k - 1
            logprob = new[row, at, token]
            ratio = torch.exp(logprob - s.logprobs[k])
            loss = -torch.min(ratio * advantage, ratio.clamp(1 - grpo.clip_low, 1 + grpo.clip_high) * advantage)
            away = old[row, at, token] - logprob
            losses.append(loss + grpo.kl_coefficient * (away.exp() - away - 1))
        of_samples.append(torch.stack(losses))
    if grpo.aggregation == "token":
        total = torch.cat(of_samples).mean()
    else:
        total = torch.stack([losses.mean() for losses in of_samples]).mean()
    total.backward()  # type: ignore[no-untyped-call]
    return total.item(), {name: parameter.grad for name, parameter in model.named_parameters()}


def trained_gradient(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    """What the optimiser is handed, which is the gradient of the batch because nothing is shortened."""
    seen: dict[str, Tensor] = {}

    def step() -> None:
        seen.update({n: p.grad.clone() for n, p in trainer._model.named_parameters()})

    monkeypatch.setattr(trainer._optimizer, "step", step)
    return seen


@few
@given(
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=5),
    seed=st.integers(0, 2**16),
    budget=st.integers(1, 400),
    aggregation=st.sampled_from(["token", "sequence"]),
    kl=st.sampled_from([0.0, 0.3]),
    by_std=st.booleans(),
    temperature=st.sampled_from([1.0, 0.7]),
    data=st.data(),
)
def test_the_gradient_is_that_of_one_big_batch_whatever_the_arrival_order_and_the_budget(
    model: Path, sizes: list[int], seed: int, budget: int, aggregation: Any, kl: float, by_std: bool,
    temperature: float, data: st.DataObject,
) -> None:  # fmt: skip
    grpo = dataclasses.replace(
        GRPO,
        micro_batch_tokens=budget,
        aggregation=aggregation,
        kl_coefficient=kl,
        normalise_by_std=by_std,
        temperature=temperature,
    )
    groups = make_groups(sizes, seed=seed)
    loss, expected = whole_batch_gradient(model, grpo, groups)
    trainer = Trainer(model, grpo)
    with pytest.MonkeyPatch.context() as patch:
        seen = trained_gradient(trainer, patch)
        arrival = data.draw(st.permutations(groups))
        cut = data.draw(st.integers(0, len(arrival)))
        trainer.learn(arrival[:cut])
        trainer.learn([data.draw(st.permutations(group)) for group in arrival[cut:]])
        report = trainer.finish()
    assert report.loss == pytest.approx(loss, rel=1e-4, abs=1e-5)
    norm = torch.stack([gradient.norm() for gradient in expected.values()]).norm()
    assert report.grad_norm == pytest.approx(float(norm), rel=1e-4, abs=1e-6)
    for name, gradient in expected.items():
        # float32 sums in another order: a hundred thousandth of the gradient's length.
        assert float((seen[name] - gradient).norm()) <= 1e-5 * float(norm) + 1e-8, name


def test_padding_does_not_matter(model: Path) -> None:
    language_model = load_causal_lm(model, device=torch.device("cpu"), dtype=torch.float32)
    samples = [sample for group in make_groups([3, 3], seed=1, longest=60) for sample in group]
    with torch.no_grad():
        together = output_logprobs(language_model, samples, temperature=1.0)
        alone = torch.cat([output_logprobs(language_model, [sample], temperature=1.0) for sample in samples])
    torch.testing.assert_close(together, alone, rtol=0, atol=2e-5)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=30), st.integers(2, 120))
def test_micro_batches_lose_nothing_keep_the_budget_and_wait_only_while_another_sample_fits(
    lengths: list[int], budget: int
) -> None:
    waiting, cut = MicroBatches(budget), []
    for number, length in enumerate(lengths):
        output, logprobs = np.zeros(length, dtype=np.int64), np.zeros(length)
        sample = TrainingSample(number, 0, np.array([1]), output, logprobs, reward=0.0, version=0)
        waiting.add(Weighted(sample, advantage=1.0, weight=1.0))
        while batch := waiting.take_full():
            longest = max(item.sample.tokens for item in batch)
            assert (len(batch) + 1) * longest > budget
            cut.append(batch)
    while batch := waiting.take():
        cut.append(batch)
    assert sorted(item.sample.number for batch in cut for item in batch) == list(range(len(lengths)))
    assert all(len(b) == 1 or len(b) * max(item.sample.tokens for item in b) <= budget for b in cut)
    assert not len(waiting)


def test_a_micro_batch_runs_as_soon_as_its_budget_is_full(model: Path) -> None:
    trainer = Trainer(model, dataclasses.replace(GRPO, micro_batch_tokens=100))
    passes = []
    for group in make_groups([4] * 6, seed=3):
        trainer.learn([group])
        passes.append(trainer._sums.micro_batches)
    assert passes == sorted(passes)
    assert passes[-1] >= 3
    report = trainer.finish()
    assert report.micro_batches > passes[-1]
    assert report.samples == 24
    assert report.groups == 6
    assert 0 <= report.padding < 1


def test_a_group_without_advantage_needs_no_pass_but_counts_in_the_mean(model: Path) -> None:
    useful, useless = make_groups([4, 4], seed=5)
    useless = [dataclasses.replace(sample, reward=2.0) for sample in useless]
    trainer = Trainer(model, GRPO)
    trainer.learn([useful, useless])
    report = trainer.finish()
    assert report.skipped_samples == sum(s.reward == np.mean([u.reward for u in useful]) for s in useful) + 4
    assert report.tokens == sum(len(s.output_tokens) for s in useful + useless)
    loss, _ = whole_batch_gradient(model, GRPO, [useful, useless])
    assert report.loss == pytest.approx(loss, rel=1e-4)


def test_a_step_without_any_advantage_moves_nothing_and_counts_up(model: Path) -> None:
    trainer = Trainer(model, GRPO)
    before = trainer.weights()
    trainer.learn([[dataclasses.replace(sample, reward=1.0) for sample in make_groups([3])[0]]])
    report = trainer.finish()
    assert (report.version, report.skipped_samples, report.micro_batches, report.grad_norm) == (1, 3, 0, 0.0)
    assert report.ratio_mean is report.clip_share is report.kl is None
    assert all(torch.equal(before[name], tensor) for name, tensor in trainer.weights().items())


def test_samples_of_the_current_weights_have_ratio_one(model: Path) -> None:
    trainer = Trainer(model, dataclasses.replace(GRPO, kl_coefficient=0.1))
    exact = [[exact_logprobs(trainer, sample) for sample in group] for group in make_groups([4, 4])]
    trainer.learn(exact)
    report = trainer.finish()
    assert report.ratio_mean == pytest.approx(1, abs=1e-5)
    assert report.clip_share == 0
    assert report.behaviour_kl == pytest.approx(0, abs=1e-6)
    assert report.kl == pytest.approx(0, abs=1e-6)


def exact_logprobs(trainer: Trainer, sample: TrainingSample) -> TrainingSample:
    with torch.no_grad():
        logprobs = output_logprobs(trainer._model, [sample], temperature=trainer.grpo.temperature)
    return dataclasses.replace(sample, logprobs=logprobs.double().numpy())


@pytest.mark.parametrize("kl", [0.0, 0.01])
def test_rewarded_outputs_become_likelier_and_the_others_less(model: Path, kl: float) -> None:
    trainer = Trainer(model, dataclasses.replace(GRPO, learning_rate=3e-4, kl_coefficient=kl))
    [group] = make_groups([6], seed=2)
    group = [dataclasses.replace(sample, reward=float(k < 3)) for k, sample in enumerate(group)]
    before = [exact_logprobs(trainer, sample) for sample in group]
    trainer.learn([before])
    trainer.finish()
    change = [exact_logprobs(trainer, s).logprobs.mean() - s.logprobs.mean() for s in before]
    assert min(change[:3]) > 0 > max(change[3:])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_precisions_give_nearly_the_same_gradient(model: Path, dtype: torch.dtype) -> None:
    norms = []
    for precision in (torch.float32, dtype):
        trainer = Trainer(model, GRPO, dtype=precision)
        trainer.learn(make_groups([4, 4]))
        norms.append(trainer.finish().grad_norm)
    assert norms[1] == pytest.approx(norms[0], rel=1e-5 if dtype == torch.float64 else 0.1)


def test_long_gradients_are_shortened(model: Path) -> None:
    trainer = Trainer(model, dataclasses.replace(GRPO, max_grad_norm=0.01))
    with pytest.MonkeyPatch.context() as patch:
        seen = trained_gradient(trainer, patch)
        trainer.learn(make_groups([4, 4]))
        report = trainer.finish()
    assert report.grad_norm > 0.02
    assert float(torch.stack([gradient.norm() for gradient in seen.values()]).norm()) == pytest.approx(0.01, rel=1e-3)


def refuse(trainer: Trainer, groups: list[Group], rule: str) -> None:
    before = set(trainer._sums.numbers), len(trainer._waiting)
    with pytest.raises(ValueError, match=rule) as caught:
        trainer.learn(groups)
    assert "\n" not in str(caught.value)
    assert (set(trainer._sums.numbers), len(trainer._waiting)) == before


def test_what_must_not_be_trained_is_refused_and_nothing_of_it_is_taken(model: Path) -> None:
    trainer = Trainer(model, dataclasses.replace(GRPO, micro_batch_tokens=10_000))
    first, second, third = make_groups([2, 2, 2])
    trainer.learn([first])
    again = [dataclasses.replace(first[0], group=9)]
    refuse(trainer, [second, again], "a sample must be trained once, got sample 0 again")
    refuse(trainer, [second, second], "a group must arrive whole and once in a step, got group 1 again")
    refuse(trainer, [first], "a group must arrive whole and once in a step, got group 0 again")
    refuse(trainer, [[*second, *third]], r"must be of one group, got \[1, 2\]")
    refuse(trainer, [second, []], r"must be of one group, got \[\]")
    late = [dataclasses.replace(sample, version=1) for sample in second]
    refuse(trainer, [third, late], "a sample's version must be at most the trainer's, 0, got 1 for sample 2")
    alien = [dataclasses.replace(sample, output_tokens=sample.output_tokens + 400) for sample in second]
    refuse(trainer, [alien], "token ids must lie between 0 and 306, got ")
    trainer.learn([second, third])
    assert trainer.finish().samples == 6


def test_a_step_without_samples_is_refused(model: Path) -> None:
    with pytest.raises(ValueError, match="a step must learn from at least one sample, got 0"):
        Trainer(model, GRPO).finish()


def test_a_gradient_that_is_not_finite_is_refused_and_the_weights_stay(model: Path) -> None:
    trainer = Trainer(model, GRPO)
    before = trainer.weights()
    trainer.learn(make_groups([4]))
    trainer._parameters[0].grad.fill_(torch.inf)  # type: ignore[union-attr]
    with pytest.raises(ValueError, match=r"the norm of the gradient must be finite, got (inf|nan); lower learning_rate"):
        trainer.finish()
    assert trainer.version == 0
    assert all(torch.equal(before[name], tensor) for name, tensor in trainer.weights().items())
    trainer.learn(make_groups([4]))
    assert trainer.finish().version == 1


def test_staleness_is_counted_in_versions(model: Path) -> None:
    trainer = Trainer(model, GRPO)
    for step in range(2):
        trainer.learn(make_groups([2], seed=step))
        trainer.finish()
    fresh = [dataclasses.replace(sample, version=2) for sample in make_groups([3])[0]]
    trainer.learn([fresh, *make_groups([2], first=3)])
    assert trainer.finish().staleness == {0: 3, 2: 2}


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="a model must be a Hugging Face folder"):
        Trainer(tmp_path, GRPO)


def test_weights_have_the_names_that_a_saved_model_has(model: Path, tied: Path) -> None:
    for folder in (model, tied):
        saved, weights = load_file(folder / "model.safetensors"), Trainer(folder, GRPO).weights()
        assert ("lm_head.weight" in weights) is (folder == model)
        assert weights.keys() == saved.keys()
        for name, tensor in weights.items():
            assert torch.equal(tensor, saved[name])
            assert tensor.is_contiguous()
            assert tensor.dtype == torch.bfloat16
            assert not tensor.requires_grad


def test_weights_are_a_copy_that_training_does_not_change(model: Path) -> None:
    trainer = Trainer(model, GRPO)
    weights = trainer.weights()
    copies = {name: tensor.clone() for name, tensor in weights.items()}
    trainer.learn(make_groups([4]))
    trainer.finish()
    assert all(torch.equal(copies[name], tensor) for name, tensor in weights.items())
    assert any(not torch.equal(weights[name], tensor) for name, tensor in trainer.weights().items())


def train_steps(trainer: Trainer, steps: int) -> None:
    for _ in range(steps):
        trainer.learn(make_groups([3, 4], seed=100 + trainer.version))
        trainer.finish()


@pytest.mark.parametrize("grpo", [GRPO, dataclasses.replace(GRPO, kl_coefficient=0.1, weight_decay=0.1)])
def test_a_restored_trainer_goes_on_bit_by_bit(tied: Path, tmp_path: Path, grpo: Grpo) -> None:
    trainer = Trainer(tied, grpo, seed=5)
    train_steps(trainer, 2)
    trainer.save(tmp_path / "run", notes={"step": 2, "rewards": [0.1, 0.2]})
    noise = torch.rand(4)
    train_steps(trainer, 2)
    torch.manual_seed(99)
    restored = Trainer.restore(tmp_path / "run")
    assert restored.grpo == grpo
    assert restored.version == 2
    assert restored.notes == {"step": 2, "rewards": [0.1, 0.2]}
    assert torch.equal(torch.rand(4), noise)
    train_steps(restored, 2)
    for ours, theirs in zip(trainer._model.parameters(), restored._model.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    for ours, theirs in zip(states(trainer), states(restored), strict=True):
        assert torch.equal(ours, theirs)


def states(trainer: Trainer) -> list[Tensor]:
    of_parameters = [trainer._optimizer.state[parameter] for parameter in trainer._parameters]
    return [state[name] for state in of_parameters for name in ("step", "exp_avg", "exp_avg_sq")]


def test_a_restored_trainer_takes_other_hyper_parameters_but_no_reference_that_was_not_kept(
    model: Path, tmp_path: Path
) -> None:
    Trainer(model, GRPO).save(tmp_path)
    other = dataclasses.replace(GRPO, learning_rate=1.0, micro_batch_tokens=7)
    restored = Trainer.restore(tmp_path, grpo=other)
    assert restored.grpo == other
    assert restored._optimizer.param_groups[0]["lr"] == 1.0
    with pytest.raises(ValueError, match="kl_coefficient must stay 0"):
        Trainer.restore(tmp_path, grpo=dataclasses.replace(GRPO, kl_coefficient=0.1))


def test_a_checkpoint_is_saved_between_steps_only(model: Path, tmp_path: Path) -> None:
    trainer = Trainer(model, GRPO)
    trainer.learn(make_groups([3]))
    with pytest.raises(ValueError, match="saved between steps, got 3 samples in training"):
        trainer.save(tmp_path)


def test_the_model_of_a_checkpoint_is_an_ordinary_folder(model: Path, tmp_path: Path) -> None:
    trainer = Trainer(model, GRPO)
    train_steps(trainer, 1)
    weights = Trainer(trainer.save(tmp_path) / "model", GRPO).weights()
    assert all(torch.equal(weights[name], tensor) for name, tensor in trainer.weights().items())
