"""Groups, splits, censoring and ceilings: what a ranker is trained and measured on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ranker_cases import drawn

from makespan.ranker.ceiling import perfect_ranker, siblings_mean
from makespan.ranker.censoring import group_means, log_lengths, variance_components
from makespan.ranker.evaluation import Target, bootstrap, ceiling, ranking
from makespan.ranker.length_data import LengthDataError, read_lengths
from makespan.ranker.metrics import tau
from makespan.ranker.probes import probe_ceiling
from makespan.ranker.prompt_groups import PromptGroups
from makespan.ranker.splits import in_order, splits

quick = settings(max_examples=30, deadline=None, derandomize=True)


def test_rows_of_one_prompt_are_gathered_into_one_group(tmp_path: Path) -> None:
    file = tmp_path / "lengths.jsonl"
    file.write_text(
        '{"prompt": "a", "output_tokens": [3, 5], "cap": 5}\n'
        '{"prompt": "b", "output_tokens": 7}\n'
        '{"prompt": "a", "output_tokens": 4}\n'
    )
    groups = PromptGroups.of(read_lengths(file))
    assert list(groups.prompt) == ["a", "b"]
    assert groups.samples.tolist() == [3, 1]
    assert groups.output_tokens.tolist() == [3, 5, 4, 7]
    assert groups.capped.tolist() == [False, True, False, False]
    assert groups.take(np.array([1, 0])).output_tokens.tolist() == [7, 3, 5, 4]


@pytest.mark.parametrize("other", ['"model": "y"', '"x": 1'])
def test_lengths_of_several_models_are_refused(tmp_path: Path, other: str) -> None:
    file = tmp_path / "lengths.jsonl"
    first = '{"prompt": "a", "output_tokens": 3, "model": "x"}'
    file.write_text(first + '\n{"prompt": "b", "output_tokens": 7, ' + other + "}\n")
    with pytest.raises(LengthDataError, match="a ranker learns from one model, which #model=NAME chooses, got 2"):
        PromptGroups.of(read_lengths(file))


def test_rows_without_text_are_refused_by_their_line(tmp_path: Path) -> None:
    file = tmp_path / "lengths.jsonl"
    file.write_text('{"prompt": "a", "output_tokens": 3}\n{"prompt_tokens": 9, "output_tokens": 7}\n')
    with pytest.raises(LengthDataError, match="line 2: a ranker needs the text of the prompt, got none"):
        PromptGroups.of(read_lengths(file))


@quick
@given(st.integers(0, 10_000), st.sampled_from(["prompt", "task", "domain"]))
def test_every_group_is_tested_once_and_no_prompt_is_on_both_sides(seed: int, kind: str) -> None:
    groups, _ = drawn(40, 2, seed)
    # Two groups ask with the same words.
    groups = replace(groups, prompt_number=np.arange(40) // 2 * 2 if seed % 2 else groups.prompt_number)
    tested = np.zeros(len(groups), dtype=int)
    for split in splits(groups, kind, 4, seed):
        tested += split.test
        assert not set(groups.prompt_number[split.train]) & set(groups.prompt_number[split.test])
        if kind != "prompt":
            names = np.array(groups.task if kind == "task" else groups.domain)
            assert not set(names[split.train]) & set(names[split.test])
    assert (tested == 1).all()


def test_a_split_by_version_trains_on_what_came_before() -> None:
    parts = [drawn(10, 2, seed)[0] for seed in range(3)]
    versions = ["step_1200", "step_400", "step_800"]
    assert in_order(versions) == ["step_400", "step_800", "step_1200"]
    groups = replace(drawn(30, 2)[0], version=[v for v, p in zip(versions, parts, strict=True) for _ in range(len(p))])
    found = list(splits(groups, "version"))
    names = np.array(groups.version)
    assert [set(names[s.train]) for s in found] == [{"step_400"}, {"step_400", "step_800"}]
    assert [set(names[s.test]) for s in found] == [{"step_800"}, {"step_1200"}]


@pytest.mark.parametrize(
    ("kind", "folds", "rule"),
    [
        ("sample", 5, "a split must be by prompt, task, domain, version, got 'sample'"),
        ("task", 5, "a split by task into 5 folds needs as many tasks, got 4"),
        ("version", 5, "at least two policy versions, got 1"),
    ],
)
def test_a_split_that_the_data_does_not_allow_is_refused(kind: str, folds: int, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        list(splits(drawn(40, 2)[0], kind, folds))


@quick
@given(st.integers(0, 1000), st.sampled_from([60, 200, 800]))
def test_a_capped_sample_is_never_taken_for_shorter_than_its_cap(seed: int, cap: int) -> None:
    groups, _ = drawn(40, 3, seed, cap)
    values = log_lengths(groups)
    known = np.log1p(groups.output_tokens)
    assert (values >= known).all()
    assert (values[~groups.capped] == known[~groups.capped]).all()
    assert np.isfinite(values).all()
    assert (values[groups.capped] > known[groups.capped]).all()


def test_censored_means_come_closer_to_the_truth_than_lengths_taken_as_they_are() -> None:
    groups, mean = drawn(400, 6, 1, cap=300)
    assert 0.1 < groups.capped.mean() < 0.6
    honest = np.abs(group_means(log_lengths(groups), groups) - mean)
    naive = np.abs(group_means(np.log1p(groups.output_tokens), groups) - mean)
    touched = np.logical_or.reduceat(groups.capped, groups.starts)
    assert honest[touched].mean() < 0.8 * naive[touched].mean()


def test_variance_components_are_those_that_were_drawn() -> None:
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(3000), 5)
    values = 2.0 * rng.standard_normal(3000)[group] + 0.7 * rng.standard_normal(15_000)
    between, within = variance_components(values, group)
    assert between == pytest.approx(4.0, rel=0.08)
    assert within == pytest.approx(0.49, rel=0.05)


def test_all_capped_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one sample must have ended before its cap"):
        log_lengths(drawn(10, 2, 0, cap=2)[0])


def test_the_ceiling_is_what_the_true_means_score() -> None:
    groups, mean = drawn(600, 8, 3, within=0.8)
    for name in ("group_mean", "group_max"):
        true = ranking(mean, Target.of(groups, name))
        best = ceiling(groups, name)
        assert best is not None
        for key in ("tau", "recall_20", "token_recall_20"):
            assert best[key] == pytest.approx(true[key], abs=0.04), (name, key)
    left_out = siblings_mean(groups)
    of_sample = Target.of(groups, "sample")
    assert tau(left_out, of_sample.length) == pytest.approx(tau(mean[groups.group], of_sample.length), abs=0.04)


def test_the_ceiling_once_siblings_have_finished_is_what_the_true_means_and_the_finished_score() -> None:
    groups, mean = drawn(600, 4, 3, within=0.8)
    tokens = groups.output_tokens.reshape(600, 4)
    expected = np.exp(mean + 0.8**2 / 2)
    scored = []
    for count in (1, 2):
        true = ranking(tokens[:, :count].sum(axis=1) + (4 - count) * expected, Target.of(groups, "group_mean"))
        scored.append(probe_ceiling(groups, count))
        for key in ("tau", "recall_20", "token_recall_20"):
            assert scored[-1][key] == pytest.approx(true[key], abs=0.05), (count, key)
    alone = ceiling(groups, "group_mean")
    assert alone is not None
    assert alone["tau"] < scored[0]["tau"] < scored[1]["tau"]


def test_a_metric_that_nothing_defines_has_no_interval() -> None:
    groups, mean = drawn(30, 2, 0)
    alike = replace(groups, output_tokens=np.full(60, 7))
    low, high = bootstrap(mean, Target.of(alike, "group_mean"), groups.prompt_number)["tau"]
    assert np.isnan([low, high]).all()


def test_the_ceiling_needs_two_samples_of_a_prompt() -> None:
    groups, _ = drawn(30, 1)
    assert ceiling(groups, "group_mean") is None
    assert np.isnan(siblings_mean(groups)).all()
    with pytest.raises(ValueError, match="prompts with at least two samples"):
        perfect_ranker(groups, 0)


def test_bootstrap_intervals_hold_the_score_and_shrink_with_more_prompts() -> None:
    widths = []
    for prompts in (60, 960):
        groups, mean = drawn(prompts, 2, 5, within=0.8)
        target = Target.of(groups, "group_mean")
        noisy = mean + np.random.default_rng(0).standard_normal(prompts)
        low, high = bootstrap(noisy, target, groups.prompt_number)["tau"]
        assert low < ranking(noisy, target)["tau"] < high
        widths.append(high - low)
    assert widths[1] < 0.5 * widths[0]
