"""Fine-tuned rankers on public lengths: MiniLM, and the designs of vllm-ltr and StreamRL re-implemented, on the same folds.

``pytest harness/bench_ranker_fine_tuned.py --benchmark --data FOLDER -s`` prints one JSON line for each fold and setting. On
one CPU core MiniLM takes minutes a fold, SmolLM2-135M an hour.
"""

from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
import pytest

from makespan.harness.bench_ranker_outcome import read
from makespan.harness.bench_ranker_quality import alpaca, cross_validated, interval, say, short
from makespan.harness.encoder_choice import make_encoder, vectors
from makespan.ranker.censoring import group_means, log_lengths
from makespan.ranker.evaluation import Target, bootstrap, ceiling, ranking
from makespan.ranker.fine_tuning import Recipe, causal_scorer, fine_tune, minilm_scorer, scores_of
from makespan.ranker.hand_features import hand_features
from makespan.ranker.length_ranker import LengthRanker
from makespan.ranker.length_words import fine_tune_to_write, read_lengths_off
from makespan.ranker.metrics import recall, tau
from makespan.ranker.minilm import WIDTH, load_minilm, load_tokenizer
from makespan.ranker.prompt_groups import PromptGroups
from makespan.ranker.splits import splits
from makespan.ranker.text_model import Features
from makespan.schedulers.types import FloatArray

pytestmark = pytest.mark.bench

Measure = Callable[[FloatArray, FloatArray], float]
MOST_TOKENS = 48
FEW = 400


def bench_alpaca_fine_tuned(data: Path) -> None:
    """Fine-tune MiniLM with RankNet on AlpacaEval's prompt effect, alone and averaged with the frozen blends."""
    texts, counted, effect, six = alpaca(data)
    tokenizer = load_tokenizer(MOST_TOKENS)
    ids = [tokenizer.encode(text).ids for text in texts]
    fold = np.random.default_rng(0).permutation(len(effect)) % 5
    tuned = np.empty(len(effect))
    for number in range(5):
        started = perf_counter()
        train, test = (np.flatnonzero((fold == number) == wanted) for wanted in (False, True))
        scorer = fine_tune(minilm_scorer(load_minilm(), WIDTH), [ids[row] for row in train], effect[train], Recipe())
        tuned[test] = _standard(scores_of(scorer, [ids[row] for row in test]))
        say(
            f"alpaca_eval, fold {number}",
            "minilm fine-tuned",
            short(tuned[test], effect[test]) | {"seconds": perf_counter() - started},
        )
    scores = {"minilm fine-tuned": tuned}
    for name in ("minilm", "minilm+smollm2"):
        features = Features(hand_features(texts, counted), vectors(make_encoder(name), texts))
        scores[f"minilm fine-tuned and {name} frozen"] = tuned + _standard(cross_validated(features, effect))
    for name, score in scores.items():
        say("alpaca_eval, prompt effect", name, short(score, effect))
        known = [np.isfinite(row) for row in six]
        held = [short(score[k], row[k]) for k, row in zip(known, six, strict=True)]
        say("alpaca_eval, per sample, six models", name, {key: float(np.mean([h[key] for h in held])) for key in held[0]})


@pytest.mark.parametrize("kind", ["prompt", "task"])
@pytest.mark.parametrize("who", ["ours minilm", "ours smollm2", "listmle minilm", "listmle smollm2", "sft smollm2"])
@pytest.mark.parametrize("where", ["tts_knowledge", "reasoning_gym_eval"])
def bench_against_baselines(where: str, who: str, kind: str, data: Path) -> None:
    """Rank held-out prompts, and held-out tasks, on one fold of five that is the same for every design."""
    train, test, size = fold_of(where, kind, data)
    compare(f"{where}, held-out {kind}s, {size}", who, train, test)


@pytest.mark.parametrize("who", ["ours smollm2", "ours minilm", "listmle minilm", "sft minilm"])
@pytest.mark.parametrize("kind", ["prompt", "task"])
@pytest.mark.parametrize("where", ["tts_knowledge", "reasoning_gym_eval"])
def bench_against_small_baselines(where: str, who: str, kind: str, data: Path, pytestconfig: pytest.Config) -> None:
    """Do the same with few prompts, which one busy core does in minutes: MiniLM is fine-tuned, SmolLM2 read as it is.

    Each of ours is also compared with each baseline, prompt by prompt, whether that ran now or earlier: scores are kept in
    pytest's cache.
    """
    train, test, size = fold_of(where, kind, data, FEW)
    setting = f"{where}, held-out {kind}s, {size}"
    score = compare(setting, who, train, test)
    key, cache = f"makespan/{where}-{kind}", pytestconfig.cache
    assert cache is not None
    known = {other: np.array(values) for other, values in cache.get(key, {}).items() if len(values) == len(test)}
    cache.set(key, {other: values.tolist() for other, values in (known | {who: score}).items()})
    target = Target.of(test, "group_mean")
    for other, values in known.items():
        if who.startswith("ours") and not other.startswith("ours"):
            say(setting, f"{who} minus {other}", lead(score, values, target))
        elif other.startswith("ours") and not who.startswith("ours"):
            say(setting, f"{other} minus {who}", lead(values, score, target))


def fold_of(where: str, kind: str, data: Path, most: int | None = None) -> tuple[PromptGroups, PromptGroups, str]:
    """Return what is trained on and what is ranked, at most so many prompts of each, and their sizes in words."""
    if where == "tts_knowledge":
        groups = read(data, "tts_knowledge/lengths.jsonl.gz#model=gpt-5-mini,level=high_effort,task_field=dataset")
    else:
        groups = read(
            data, "reasoning_gym_eval/lengths.jsonl.gz#model=meta-llama_llama-3.3-70b-instruct,split=zero-shot/easy"
        )
    folds = min(5, len(set(groups.task))) if kind == "task" else 5
    split = next(splits(groups, kind, folds, 0))
    rng = np.random.default_rng(0)
    train, test = (
        groups.take(np.sort(rng.permutation(np.flatnonzero(chosen))[:most])) for chosen in (split.train, split.test)
    )
    return train, test, f"fold 1, {len(train)} prompts to train on and {len(test)} to rank, group_mean"


def compare(setting: str, who: str, train: PromptGroups, test: PromptGroups) -> FloatArray:
    """Train a design, print how it ranks and the 95 % interval of that, and return its scores."""
    started = process_time()
    design, _, model = who.partition(" ")
    score = {"ours": ours, "listmle": listmle, "sft": sft}[design](train, test, model)
    target = Target.of(test, "group_mean")
    ends = bootstrap(score, target, test.prompt_number)
    found = ranking(score, target)
    for key in ("recall_20", "tau"):
        found |= dict(zip((f"{key}_low", f"{key}_high"), ends[key], strict=True))
    best = {f"ceiling_{key}": value for key, value in (ceiling(test, "group_mean") or {}).items()}
    say(setting, who, found | best | {"cpu_seconds": process_time() - started})
    return score


def lead(one: FloatArray, other: FloatArray, target: Target, draws: int = 1000) -> dict[str, float]:
    """Return how far one score is ahead of another on the same prompts, with 95 % intervals over prompts drawn again."""
    measures: dict[str, Measure] = {
        "recall_20": lambda score, length: recall(score, length, 0.2),
        "tau": tau,
    }
    found: dict[str, float] = {}
    for key, measure in measures.items():

        def ahead(a: FloatArray, b: FloatArray, truth: FloatArray, measure: Measure = measure) -> float:
            return measure(a, truth) - measure(b, truth)

        low, high = interval(ahead, one, other, target.length, draws=draws)
        found |= {key: ahead(one, other, target.length), f"{key}_low": low, f"{key}_high": high}
    return found


def ours(train: PromptGroups, test: PromptGroups, model: str) -> FloatArray:
    """Return the scores of the frozen encoder under the blend."""
    encoder = make_encoder(model)
    ranker = LengthRanker.fit(train, vectors(encoder, train.prompt), model, encoder.name)
    return ranker.scores_of(test.prompt, test.prompt_tokens, vectors(encoder, test.prompt))


def listmle(train: PromptGroups, test: PromptGroups, model: str) -> FloatArray:
    """Return the scores of vllm-ltr's design: ListMLE on lists of 32, five epochs at 2e-5."""
    if model == "minilm":
        return fine_tuned_minilm(train, test, "listmle")
    target = group_means(log_lengths(train), train)
    body, tokenizer = _smollm2()
    scorer = causal_scorer(body.model, body.config.hidden_size)
    ids = [[_cut(tokenizer(text)["input_ids"], 128) for text in part.prompt] for part in (train, test)]
    return scores_of(fine_tune(scorer, ids[0], target, Recipe("listmle", epochs=5, body_rate=2e-5)), ids[1])


def sft(train: PromptGroups, test: PromptGroups, model: str) -> FloatArray:
    """Return what StreamRL's design says, fine-tuned on pairs of prompt and length.

    SmolLM2 writes the length after two epochs; MiniLM, which writes nothing, is fitted to its logarithm.
    """
    if model == "minilm":
        return fine_tuned_minilm(train, test, "squared")
    body, tokenizer = _smollm2()
    digits = [tokenizer(str(digit), add_special_tokens=False)["input_ids"][-1] for digit in range(10)]
    ids = [[_cut(tokenizer(f"{text}\nLength: ")["input_ids"], 128) for text in part.prompt] for part in (train, test)]
    lengths = np.rint(train.mean_tokens).astype(np.int64)
    fine_tune_to_write(body, ids[0], lengths, digits, Recipe(epochs=2, body_rate=2e-5))
    return read_lengths_off(body, ids[1], digits)


def fine_tuned_minilm(train: PromptGroups, test: PromptGroups, loss: str) -> FloatArray:
    """Return the scores of MiniLM after three epochs under a loss."""
    target = group_means(log_lengths(train), train)
    tokenizer = load_tokenizer(128)
    ids = [[tokenizer.encode(text[:2048]).ids for text in part.prompt] for part in (train, test)]
    scorer = fine_tune(minilm_scorer(load_minilm(), WIDTH), ids[0], target, Recipe(loss))
    return scores_of(scorer, ids[1])


def _smollm2() -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from makespan.runtime.smollm2 import smollm2_folder

    folder = smollm2_folder()
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32", use_safetensors=True, local_files_only=True)
    return model, AutoTokenizer.from_pretrained(folder, local_files_only=True)


def _cut(ids: list[int], most: int) -> list[int]:
    """Keep the first and the last half."""
    return ids if len(ids) <= most else ids[: most // 2] + ids[-most // 2 :]


def _standard(score: FloatArray) -> FloatArray:
    scaled: FloatArray = (score - score.mean()) / score.std()
    return scaled
