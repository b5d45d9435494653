"""The trained ranker: it learns what there is, claims nothing where there is nothing, and survives saving."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ranker_cases import drawn
from sklearn.linear_model import RidgeCV

from makespan.ranker import metrics
from makespan.ranker.baselines import baselines, task_means
from makespan.ranker.conformal import ConformalWindow
from makespan.ranker.evaluation import TARGETS, Target, ranking
from makespan.ranker.hand_features import NAMES, hand_features
from makespan.ranker.length_ranker import LengthRanker
from makespan.ranker.linear import KernelRidge, Ridge
from makespan.ranker.model_folder import ModelError, load_ranker, read_facts, save_ranker
from makespan.ranker.prompt_groups import PromptGroups
from makespan.ranker.trees import Trees
from makespan.schedulers.types import FloatArray


def vectors(groups: PromptGroups) -> FloatArray:
    """A toy encoder: which task, and noise."""
    task = np.array([float(name) for name in np.unique(groups.task, return_inverse=True)[1]])
    return np.stack([task == k for k in range(4)], axis=1) + 0.1 * np.random.default_rng(0).standard_normal((len(groups), 4))


@pytest.fixture(scope="module")
def groups() -> PromptGroups:
    return drawn(160, 4, 0, cap=3000)[0]


@pytest.fixture(scope="module")
def ranker(groups: PromptGroups) -> LengthRanker:
    return LengthRanker.fit(groups, vectors(groups), "toy", "toy encoder")


def test_it_ranks_prompts_that_it_has_not_seen(ranker: LengthRanker) -> None:
    test, mean = drawn(200, 4, 7, cap=3000)
    said = ranker.predict(test.prompt, test.prompt_tokens, vectors(test), test.cap)
    assert metrics.tau(said.score, mean) > 0.8
    assert metrics.recall(said.point, test.mean_tokens, 0.2) > 0.7
    assert ranker.verdict.proven
    low, high = said.quantiles[:, 0][test.group], said.quantiles[:, 2][test.group]
    assert metrics.coverage(low, high, test.output_tokens.astype(np.float64)) == pytest.approx(0.8, abs=0.08)
    assert (np.diff(said.quantiles, axis=1) >= 0).all()
    assert (said.quantiles <= 3000).all()
    assert (said.point <= 3000).all()


def test_shuffled_labels_bring_every_metric_to_chance(groups: PromptGroups) -> None:
    rows = np.random.default_rng(3).permutation(len(groups))
    outputs = groups.output_tokens.reshape(-1, 4)[rows].ravel()
    capped = groups.capped.reshape(-1, 4)[rows].ravel()
    leaky = LengthRanker.fit(replace(groups, output_tokens=outputs, capped=capped), vectors(groups))
    assert not leaky.verdict.proven
    test, _ = drawn(400, 2, 8, cap=3000)
    said = leaky.predict(test.prompt, test.prompt_tokens, vectors(test), test.cap)
    for name in TARGETS:
        target = Target.of(test, name)
        found = ranking(said.score[target.row], target)
        for key in ("tau", "tau_within_task", "tau_within_window"):
            assert np.isnan(found[key]) or abs(found[key]) < 0.2, (name, key)
        longest = np.sort(target.length)[-round(0.2 * len(target.length)) :]
        tokens = 0.2 * target.length.sum() / longest.sum()
        by_chance = {"recall_20": 0.2, "recall_10": 0.1, "recall_5": 0.05, "token_recall_20": tokens, "auc_10": 0.5}
        for key, chance in by_chance.items():
            assert found[key] == pytest.approx(chance, abs=0.15), (name, key)
        assert set(found) == {*by_chance, "tau", "tau_within_task", "tau_within_window"}


def test_a_saved_ranker_says_the_same_and_holds_no_code(ranker: LengthRanker, tmp_path: Path) -> None:
    save_ranker(ranker, tmp_path / "model", {"data": "drawn"})
    assert {file.suffix for file in (tmp_path / "model").iterdir()} == {".json", ".safetensors"}
    again = load_ranker(tmp_path / "model")
    test, _ = drawn(50, 2, 9, cap=3000)
    arguments = test.prompt, test.prompt_tokens, vectors(test), test.cap
    one, other = ranker.predict(*arguments), again.predict(*arguments)
    for name in ("score", "point", "quantiles"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-9)
    assert (again.encoder, again.verdict, again.task_means) == (ranker.encoder, ranker.verdict, ranker.task_means)
    assert again.history.version == ranker.history.version
    assert read_facts(tmp_path / "model") == {"data": "drawn"}
    save_ranker(again, tmp_path / "again", {"data": "drawn"})
    for file in (tmp_path / "model").iterdir():
        assert file.read_bytes() == (tmp_path / "again" / file.name).read_bytes()


@pytest.mark.parametrize(
    ("file", "change", "rule"),
    [
        ("model.json", lambda data: data[: len(data) // 2], "a saved ranker must be JSON"),
        ("model.json", lambda data: data.replace(b"makespan.ranker/1", b"makespan.ranker/9"), "the format must be"),
        ("model.json", lambda data: b"[1]", "must be a JSON object, got list"),
        ("model.json", lambda data: data.replace(b'"encoder":', b'"coder":'), "must be whole, got KeyError: 'encoder'"),
        ("model.json", lambda data: b"\xff\xfe", "a saved ranker must be JSON"),
        ("arrays.safetensors", lambda data: data[:-10], "truncated or altered"),
        ("trees.json", lambda data: data.replace(b"0", b"1", 1), "truncated or altered"),
        ("trees.json", None, "no such file"),
    ],
)
def test_a_damaged_model_is_refused_with_the_reason(ranker: LengthRanker, tmp_path: Path, file: str, change, rule) -> None:  # type: ignore[no-untyped-def]
    save_ranker(ranker, tmp_path)
    path = tmp_path / file
    if change is None:
        path.unlink()
    else:
        path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ModelError, match=rule) as caught:
        load_ranker(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert file in str(caught.value) or "must be whole" in rule
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("sums", [None, [], "x", {}])
def test_a_model_that_does_not_say_what_its_files_hold_is_refused(
    ranker: LengthRanker, tmp_path: Path, sums: object
) -> None:
    save_ranker(ranker, tmp_path)
    model = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps(model | {"sha256": sums}))
    with pytest.raises(ModelError, match=r"arrays\.safetensors: the content must have SHA-256 None, got"):
        load_ranker(tmp_path)


def test_a_model_of_other_features_is_refused(ranker: LengthRanker, tmp_path: Path) -> None:
    save_ranker(ranker, tmp_path)
    model = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps(model | {"hand_features": "other"}))
    with pytest.raises(ModelError, match="must have been trained on the features"):
        load_ranker(tmp_path)
    with pytest.raises(ValueError, match="needs the vectors it was trained on, 'toy encoder', got 'minilm'"):
        ranker.check_encoder("minilm")
    shutil.rmtree(tmp_path)
    with pytest.raises(ModelError, match="no such file"):
        load_ranker(tmp_path)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda g: g.take(np.arange(5)), "at least 20 different prompts, got 5"),
        (lambda g: replace(g, prompt_number=np.zeros(160, dtype=int)), "at least 20 different prompts, got 1"),
        (lambda g: replace(g, capped=np.ones(640, dtype=bool)), "some sample must have ended before its cap, got 640"),
        (lambda g: replace(g, output_tokens=np.full(640, 7)), "lengths must differ for a ranker to rank them, got 7"),
    ],
)
def test_data_from_which_nothing_can_be_learned_is_refused(groups: PromptGroups, change, rule: str) -> None:  # type: ignore[no-untyped-def]
    changed = change(groups)
    with pytest.raises(ValueError, match=rule):
        LengthRanker.fit(changed, np.empty((len(changed), 0)))


def test_history_of_a_prompt_outweighs_its_text_and_drifts(groups: PromptGroups, ranker: LengthRanker) -> None:
    text = np.repeat(ranker.shapes.log_weight[None], len(groups), axis=0)
    warm = ranker.history.log_prior(groups.prompt, ranker.shapes, ranker.drift, text)
    score = ranker.shapes.posterior(warm) @ ranker.shapes.log_mean
    assert metrics.tau(score, groups.mean_tokens) > 0.85
    unknown = ranker.history.log_prior(["never seen"], ranker.shapes, ranker.drift, text[:1])
    np.testing.assert_array_equal(unknown, text[:1])


def test_ridge_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    for rows, columns in ((80, 12), (20, 45)):
        x, y = rng.standard_normal((rows, columns)), rng.standard_normal(rows)
        ours = Ridge.fit(x, y)
        standard = (x - ours.centre) / ours.scale
        theirs = RidgeCV(np.logspace(-1, 5, 19)).fit(standard, y)
        np.testing.assert_allclose(ours.predict(x), theirs.predict(standard), atol=1e-6)


def test_kernel_ridge_with_landmarks_is_near_the_exact_one(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((300, 3))
    y = np.sin(x[:, 0]) + x[:, 1] ** 2 + 0.1 * rng.standard_normal(300)
    exact = KernelRidge.fit(x, y).predict(x)
    monkeypatch.setattr("makespan.ranker.linear._MOST_LANDMARKS", 100)
    near = KernelRidge.fit(x, y)
    assert len(near.landmarks) == 100
    assert np.corrcoef(exact, near.predict(x))[0, 1] > 0.98


def test_ranking_trees_order_unseen_rows() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((600, 4))
    y = x[:, 0] + np.abs(x[:, 1])
    trees = Trees.fit_ranking(x[:400], y[:400])
    assert metrics.tau(trees.predict(x[400:]), y[400:]) > 0.7


@pytest.mark.parametrize(
    "text", ["", " \n ", "é" * 50, "x" * 1_000_000, "\x00\ud7ff", "1 2 3\n4 5 6 answer only yes or no?"]
)
def test_features_of_any_text_are_finite(text: str) -> None:
    found = hand_features([text], np.array([max(1, len(text) // 4)]))
    assert found.shape == (1, len(NAMES))
    assert np.isfinite(found).all()


def test_a_conformal_window_keeps_its_promise_while_errors_change() -> None:
    rng = np.random.default_rng(0)
    window = ConformalWindow(level=0.8, size=200)
    inside = []
    for step in range(3000):
        spread = 1.0 if step < 1500 else 3.0
        value = spread * rng.standard_normal()
        low, high = -0.5 - window.widening, 0.5 + window.widening
        inside.append(low <= value <= high)
        window.observe(np.array([-0.5]), np.array([0.5]), np.array([value]))
    assert np.mean(inside[500:1500]) == pytest.approx(0.8, abs=0.05)
    assert np.mean(inside[2000:]) == pytest.approx(0.8, abs=0.05)
    assert ConformalWindow.of(window.parameters()).widening == window.widening


@pytest.mark.parametrize(("level", "size"), [(0.0, 500), (1.0, 500), (0.8, 3)])
def test_a_conformal_window_that_makes_no_sense_is_refused(level: float, size: int) -> None:
    with pytest.raises(ValueError, match="got"):
        ConformalWindow(level, size)


def test_baselines_are_those_that_the_data_allows(groups: PromptGroups) -> None:
    found = baselines(groups, task_means(groups))
    assert set(found) == {"random", "prompt_length", "task_mean"}
    assert metrics.tau(found["task_mean"], groups.mean_tokens) > 0.5
    earlier = replace(groups, previous_tokens=groups.mean_tokens)
    assert metrics.tau(baselines(earlier, task_means(groups))["previous_epoch"], groups.mean_tokens) == pytest.approx(1)
