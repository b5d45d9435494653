"""What finished siblings and history are worth without any text, on every data set that has several samples of a prompt.

``pytest harness/bench_ranker_live.py --benchmark -s`` ranks the shipped recording, whose ninth sample is the earlier
epoch, and again with another policy version as its history, the same prompts at another temperature; with ``--data FOLDER``
public lengths too. One JSON line for each setting.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from makespan.harness.bench_ranker_outcome import read, with_last_as_previous
from makespan.harness.bench_ranker_quality import say
from makespan.harness.recorded import OTHER_VERSION, RECORDING
from makespan.ranker.evaluation import Target, ceiling, ranking
from makespan.ranker.evidence import Drift
from makespan.ranker.length_data import read_lengths
from makespan.ranker.length_shapes import LengthShapes
from makespan.ranker.probes import after_probes
from makespan.ranker.prompt_groups import PromptGroups
from makespan.ranker.splits import splits

pytestmark = pytest.mark.bench
FOLDS = 5
PUBLIC = {
    "llama-3.3-70b, 3 samples": "reasoning_gym_eval/lengths.jsonl.gz#model=meta-llama_llama-3.3-70b-instruct,"
    "split=zero-shot/easy",
    "mistral-small-3.1-24b, 3 samples": "reasoning_gym_eval/lengths.jsonl.gz"
    "#model=mistralai_mistral-small-3.1-24b-instruct,split=zero-shot/easy",
    "arc_deepseek_r1, 2 to 6 samples": "arc_deepseek_r1/lengths.jsonl.gz",
}


def bench_recording() -> None:
    """Rank the recording, eight samples a prompt, with a ninth of the same policy as history."""
    whole = PromptGroups.of(read_lengths(RECORDING))
    groups = with_last_as_previous(whole)
    before = replace(
        groups,
        samples=np.ones_like(groups.samples),
        output_tokens=groups.previous_tokens.astype(np.int64),
        capped=whole.capped[whole.starts + whole.samples - 1],
    )
    live("recording, 8 samples", groups, before)


def bench_recording_of_another_version() -> None:
    """Rank the recording, its history being another policy version, and say how far prompts have moved."""
    recorded = with_last_as_previous(PromptGroups.of(read_lengths(RECORDING)))
    version = PromptGroups.of(read_lengths(OTHER_VERSION))
    place = {text: row for row, text in enumerate(version.prompt)}
    groups = recorded.take(np.array([text in place for text in recorded.prompt]))
    live("recording, 8 samples, another version", groups, version.take(np.array([place[text] for text in groups.prompt])))


@pytest.mark.parametrize("name", PUBLIC)
def bench_public(name: str, data: Path) -> None:
    """Rank public lengths, without any history."""
    live(name, read(data, PUBLIC[name]), None)


def live(name: str, groups: PromptGroups, before: PromptGroups | None) -> None:
    """Print what history, and one and two finished siblings with it, score on prompts that taught nothing."""
    folds: dict[str, list[dict[str, float]]] = {}
    for split in splits(groups, "prompt", FOLDS, 0):
        test = groups.take(split.test)
        shapes = LengthShapes.fit(groups.take(split.train))
        prior = np.repeat(shapes.log_weight[None], len(test), axis=0)
        if before is not None:
            drift = Drift.fit(shapes, before.take(split.train), groups.take(split.train))
            prior = drift.log_prior(shapes, shapes.log_weight + shapes.log_likelihood(before.take(split.test)))
            target = Target.of(test, "group_mean")
            folds.setdefault("history alone", []).append(ranking(shapes.posterior(prior) @ shapes.log_mean, target))
            folds.setdefault("drift", []).append({"shift": drift.shift, "deviation": drift.deviation})
        folds.setdefault("prompt-only ceiling", []).append(ceiling(test, "group_mean") or {})
        for count in (1, 2):
            if (test.samples > count).any():
                for source, measures in after_probes(test, count, shapes, prior).items():
                    folds.setdefault(f"{count} finished, {source}", []).append(measures)
    for what, measured in folds.items():
        mean = {key: float(np.mean([each[key] for each in measured])) for key in measured[0]}
        say(f"{name}, group_mean, {what}", "none", mean)
