"""Fine-tuned rankers, on models small enough to train in a second."""

from importlib import import_module
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM

from makespan.ranker import minilm
from makespan.ranker.fine_tuning import Recipe, causal_scorer, fine_tune, minilm_scorer, scores_of
from makespan.ranker.length_words import fine_tune_to_write, read_lengths_off, written
from makespan.ranker.losses import LOSSES, listmle, ranknet, squared
from makespan.ranker.metrics import tau
from makespan.ranker.minilm import MiniLM
from makespan.schedulers.types import FloatArray

quick = settings(max_examples=30, deadline=None, derandomize=True)
lists = st.lists(st.tuples(st.floats(-5, 5), st.integers(1, 9)), min_size=2, max_size=8)
DIGIT_IDS = list(range(40, 50))


def toy(count: int = 160, seed: int = 0) -> tuple[list[list[int]], FloatArray]:
    """Return texts whose outputs are the longer, the more often token 7 occurs in them."""
    rng = np.random.default_rng(seed)
    ids = [[1, *rng.choice([5, 6, 7], rng.integers(4, 12)).tolist(), 2] for _ in range(count)]
    return ids, np.array([3.0 + 0.5 * text.count(7) for text in ids])


def tiny_causal(seed: int = 0) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    config = LlamaConfig(vocab_size=50, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4)
    return LlamaForCausalLM(config)  # type: ignore[no-untyped-call]


@quick
@given(lists)
def test_ranknet_is_the_loss_of_a_loop_over_pairs(pairs: list[tuple[float, int]]) -> None:
    score, length = (torch.tensor([float(pair[k]) for pair in pairs], dtype=torch.float64) for k in (0, 1))
    terms = [
        np.log1p(np.exp(-float(score[i] - score[j])))
        for i in range(len(pairs))
        for j in range(len(pairs))
        if length[i] > length[j]
    ]
    assert float(ranknet(score, length)) == pytest.approx(np.mean(terms) if terms else 0.0)


@quick
@given(lists)
def test_listmle_is_minus_the_log_chance_of_drawing_the_true_order(pairs: list[tuple[float, int]]) -> None:
    score, length = (torch.tensor([float(pair[k]) for pair in pairs], dtype=torch.float64) for k in (0, 1))
    left = [float(score[k]) for k in torch.argsort(length, descending=True, stable=True)]
    loss = 0.0
    while left:
        loss += np.log(np.exp(left).sum()) - left.pop(0)
    assert float(listmle(score, length)) == pytest.approx(loss / len(pairs))


@quick
@given(st.permutations(range(5)), st.floats(-3, 3))
def test_ranking_losses_do_not_change_with_a_constant_and_prefer_the_true_order(order: list[int], shift: float) -> None:
    length = torch.arange(5, dtype=torch.float64)
    score = torch.tensor(order, dtype=torch.float64)
    for loss in (ranknet, listmle):
        assert float(loss(score + shift, length)) == pytest.approx(float(loss(score, length)))
        assert float(loss(length, length)) <= float(loss(score, length)) + 1e-12
    assert float(squared(length, length)) == 0


def test_the_encoder_written_here_is_the_published_one() -> None:
    # Its types do not allow for settings from a dictionary.
    transformers: Any = import_module("transformers")
    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 96}
    config = transformers.BertConfig(vocab_size=60, **sizes)
    torch.manual_seed(0)
    theirs = transformers.BertModel(config, add_pooling_layer=False).eval()
    ours = MiniLM(60, 24, 2, 3).eval()
    named = theirs.state_dict()
    known = {mine: other for mine, other in minilm._names().items() if other in named}
    ours.load_state_dict({mine: named[other] for mine, other in known.items()} | minilm._segment(named))
    ids = torch.tensor([[1, 5, 9, 2], [1, 7, 2, 0]])
    mask = torch.tensor([[True] * 4, [True, True, True, False]])
    with torch.inference_mode():
        states = theirs(input_ids=ids, attention_mask=mask.long(), output_hidden_states=True).hidden_states
        for layer, pooled in enumerate(ours(ids, mask), start=1):
            mean = (states[layer] * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
            torch.testing.assert_close(pooled, mean, atol=1e-5, rtol=1e-4)


def test_padding_does_not_change_a_score() -> None:
    ids, _ = toy(12)
    for scorer in (minilm_scorer(MiniLM(50, 24, 1, 3), 24), causal_scorer(tiny_causal().model, 32)):
        together = scores_of(scorer.eval(), ids)
        alone = np.concatenate([scores_of(scorer, [text]) for text in ids])
        np.testing.assert_allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize("loss", list(LOSSES))
@pytest.mark.parametrize("body", ["minilm", "causal"])
def test_a_fine_tuned_model_ranks_texts_that_it_has_not_seen(loss: str, body: str) -> None:
    torch.manual_seed(0)
    scorer = minilm_scorer(MiniLM(50, 24, 1, 3), 24) if body == "minilm" else causal_scorer(tiny_causal().model, 32)
    ids, target = toy()
    steps: list[tuple[int, int]] = []
    recipe = Recipe(loss, epochs=12, body_rate=3e-3, head_rate=1e-2)
    fine_tune(scorer, ids, target, recipe, lambda done, total: steps.append((done, total)))
    test, truth = toy(60, 1)
    assert tau(scores_of(scorer, test), truth) > 0.6
    assert steps[-1][0] == steps[-1][1]
    assert all(later[0] == earlier[0] + 1 for earlier, later in pairwise(steps))


def test_fine_tuning_is_the_same_for_the_same_seed() -> None:
    ids, target = toy(64)
    found = []
    for _ in range(2):
        torch.manual_seed(0)
        found.append(scores_of(fine_tune(minilm_scorer(MiniLM(50, 24, 1, 3), 24), ids, target, Recipe(epochs=1)), ids))
    np.testing.assert_array_equal(found[0], found[1])


def test_lengths_are_written_as_five_digits() -> None:
    assert written(np.array([7, 12345, 10**6]), range(10)).tolist() == [[0, 0, 0, 0, 7], [1, 2, 3, 4, 5], [9] * 5]


def test_a_model_learns_to_write_the_length() -> None:
    ids, target = toy()
    tokens = np.rint(np.exp(target)).astype(np.int64)
    model = tiny_causal()
    fine_tune_to_write(model, ids, tokens, DIGIT_IDS, Recipe(epochs=12, list_size=16, body_rate=5e-3))
    test, truth = toy(60, 1)
    said = read_lengths_off(model, test, DIGIT_IDS)
    assert tau(said, truth) > 0.5
    assert np.median(np.abs(np.log(np.maximum(said, 1)) - truth)) < 0.5


@pytest.mark.parametrize(("change", "rule"), [({"loss": "bce"}, "a loss must be"), ({"epochs": 0}, "a recipe needs")])
def test_a_recipe_that_makes_no_sense_is_refused(change: dict[str, object], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        Recipe(**change)  # type: ignore[arg-type]
