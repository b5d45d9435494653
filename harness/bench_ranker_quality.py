"""How well rankers do on public lengths: the settings of the literature, on the data that lies in a folder.

``pytest harness/bench_ranker_quality.py --benchmark --data FOLDER -s`` prints one JSON line for each setting. The data is
not part of the package; its README names the sources.
"""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import bootstrap

from makespan.harness.encoder_choice import make_encoder, vectors
from makespan.ranker.assessment import defined
from makespan.ranker.evaluation import Target, ceiling, mean_over, ranking
from makespan.ranker.hand_features import hand_features
from makespan.ranker.length_data import read_lengths
from makespan.ranker.length_ranker import LengthRanker
from makespan.ranker.metrics import recall, tau
from makespan.ranker.probes import after_probes
from makespan.ranker.prompt_groups import PromptGroups
from makespan.ranker.splits import splits
from makespan.ranker.text_model import MEMBERS, Blend, Features, TextModel
from makespan.schedulers.types import FloatArray, IntArray

pytestmark = pytest.mark.bench
SIX = (
    "Meta-Llama-3-8B-Instruct",
    "Mistral-7B-Instruct-v0.2",
    "vicuna-7b",
    "Qwen1.5-7B-Chat",
    "gpt4_1106_preview",
    "zephyr-7b-beta",
)
"""The six models over which the literature's per-sample figures are averaged."""

RG = "reasoning_gym_eval/lengths.jsonl.gz"


@pytest.mark.parametrize("encoder", ["none", "minilm", "smollm2", "minilm+smollm2"])
def bench_alpaca(encoder: str, data: Path) -> None:
    """Rank AlpacaEval's prompts by the mean over all models, and by each of six models."""
    texts, counted, effect, six = alpaca(data)
    features = Features(hand_features(texts, counted), vectors(make_encoder(encoder), texts))
    score = cross_validated(features, effect)
    say("alpaca_eval, prompt effect", encoder, {**short(score, effect), "prompts": len(effect)})
    held = [short(score[np.isfinite(row)], row[np.isfinite(row)]) for row in six]
    best = [short(effect[np.isfinite(row)], row[np.isfinite(row)]) for row in six]
    mean = {key: float(np.mean([each[key] for each in held])) for key in held[0]}
    top = {f"ceiling_{key}": float(np.mean([each[key] for each in best])) for key in best[0]}
    say("alpaca_eval, per sample, six models, denoised labels", encoder, mean | top)


def alpaca(data: Path) -> tuple[list[str], IntArray, FloatArray, list[FloatArray]]:
    """Return prompts, their tokens, their effect (mean standard score of log length over all models), six models' tokens."""
    prompts = _lines(data / "alpaca_eval/prompts.jsonl.gz")
    models = _lines(data / "alpaca_eval/lengths_by_model.jsonl.gz")
    tokens = np.array([[np.nan if t is None else t for t in row["tokens"]] for row in models], dtype=np.float64)
    logs = np.log1p(tokens)
    standard = (logs - np.nanmean(logs, axis=1, keepdims=True)) / np.nanstd(logs, axis=1, keepdims=True)
    names = [row["model"] for row in models]
    counted = np.array([row["prompt_tokens"] for row in prompts])
    six = [tokens[names.index(name)] for name in SIX]
    return [row["prompt"] for row in prompts], counted, np.nanmean(standard, axis=0), six


@pytest.mark.parametrize("encoder", ["minilm", "smollm2"])
@pytest.mark.parametrize("kind", ["prompt", "task"])
@pytest.mark.parametrize("model", ["meta-llama_llama-3.3-70b-instruct", "mistralai_mistral-small-3.1-24b-instruct"])
def bench_reasoning_gym(model: str, kind: str, encoder: str, data: Path) -> None:
    """Rank reasoning-gym's prompts, held out by prompt and by task, and once siblings have finished."""
    groups = PromptGroups.of(read_lengths(f"{data / RG}#model={model},split=zero-shot/easy"))
    embedding = vectors(make_encoder(encoder), groups.prompt)
    score, live = np.empty(len(groups)), []
    for split in splits(groups, kind, 3, 0):
        ranker = LengthRanker.fit(groups.take(split.train), embedding[split.train], encoder)
        test = groups.take(split.test)
        score[split.test] = ranker.scores_of(test.prompt, test.prompt_tokens, embedding[split.test])
        live.append([after_probes(test, k, ranker.shapes, ranker.log_prior(score[split.test])) for k in (1, 2)])
    for name in ("sample", "group_mean"):
        target = Target.of(groups, name)
        found, best = ranking(score[target.row], target), ceiling(groups, name)
        say(f"{model}, held-out {kind}s, {name}", encoder, found | {f"ceiling_{k}": v for k, v in (best or {}).items()})
    for k in (1, 2):
        for source in ("belief", "probes", "ceiling"):
            mean = mean_over([fold[k - 1][source] for fold in live])
            say(f"{model}, held-out {kind}s, group_mean, {k} finished, {source}", encoder, mean)


def cross_validated(features: Features, target: FloatArray, folds: int = 5) -> FloatArray:
    """Return held-out predictions; the blend of a fold is fitted on folds within its training part."""
    fold = np.random.default_rng(0).permutation(len(target)) % folds
    score = np.empty(len(target))
    for number in range(folds):
        train, test = fold != number, fold == number
        inner = np.random.default_rng(1).permutation(int(train.sum())) % folds
        held_out = np.empty((int(train.sum()), len(MEMBERS)))
        rows, values = features.take(train), target[train]
        for part in range(folds):
            fitted = TextModel.fit(rows.take(inner != part), values[inner != part])
            held_out[inner == part] = fitted.members(rows.take(inner == part))
        blend = Blend.fit(held_out, values)
        score[test] = blend(TextModel.fit(rows, values).members(features.take(test)))
    return score


def short(score: FloatArray, length: FloatArray) -> dict[str, float]:
    """Return the three measures of the literature's tables."""
    return {"tau": tau(score, length), "recall_20": recall(score, length, 0.2), "recall_10": recall(score, length, 0.1)}


def interval(statistic: Callable[..., float], *columns: FloatArray, draws: int) -> tuple[float, float]:
    """Return the 95 % interval of a statistic over rows that are drawn again and again: the percentile bootstrap."""
    rng = np.random.default_rng(0)
    found = bootstrap(
        columns, statistic, paired=True, vectorized=False, n_resamples=draws, method="percentile", rng=rng
    ).confidence_interval
    return float(found.low), float(found.high)


def say(setting: str, encoder: str, measures: dict[str, Any]) -> None:
    """Print one result."""
    rounded = {key: None if value is None else round(value, 4) for key, value in defined(measures).items()}
    print(json.dumps({"setting": setting, "encoder": encoder, **rounded}), flush=True)


def _lines(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]
