"""What a ranker changes: the share of the oracle's gain in makespan that it captures, cold, warm and live.

``pytest harness/bench_ranker_outcome.py --benchmark -s`` races on the shipped recording; with ``--data FOLDER`` on public
lengths too. A ranker is trained on half of the prompts, or on the earlier policy version, and raced on the rest.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from makespan.harness.defaults import ENCODER, INSTANCES, PROFILE
from makespan.harness.encoder_choice import make_encoder, vectors
from makespan.harness.experiment import Cell, simulate
from makespan.harness.informations import make_information
from makespan.harness.measures import makespan
from makespan.harness.recorded import OTHER_VERSION, RECORDING
from makespan.harness.set_up import Load, batch_limit
from makespan.harness.workload import Workload
from makespan.ranker.length_data import read_lengths
from makespan.ranker.length_ranker import LengthRanker
from makespan.ranker.model_folder import save_ranker
from makespan.ranker.prompt_groups import PromptGroups
from makespan.ranker.splits import splits
from makespan.schedulers.estimates import Estimates, Information
from makespan.schedulers.registry import load_policy
from makespan.schedulers.requests import Requests
from makespan.schedulers.sources import Fixed
from makespan.schedulers.types import FloatArray

pytestmark = pytest.mark.bench
POLICIES = ("ranker_guided", "pull_lpt")
LEVELS = (4.0, 16.0)
MOST_REQUESTS = 4096
PROMPT_ORACLE = "prompt oracle"
RG = "reasoning_gym_eval/lengths.jsonl.gz#model"


@dataclass(frozen=True)
class Setting:
    """What is trained on, and what is raced.

    Parameters
    ----------
    name
        In the results.
    halves
        From the folder of the data to what is trained on and what is raced.
    """

    name: str
    halves: Callable[[Path], tuple[PromptGroups, PromptGroups]]


def recording() -> tuple[PromptGroups, PromptGroups]:
    """Half of the recording's prompts; of the other half the ninth sample is the earlier epoch."""
    train, race = half(PromptGroups.of(read_lengths(RECORDING)))
    return train, with_last_as_previous(race)


def another_version() -> tuple[PromptGroups, PromptGroups]:
    """Half of the recording's prompts; of the other half the same prompts at another temperature are the earlier epoch."""
    return half(PromptGroups.of(read_lengths(f"{RECORDING}#earlier={OTHER_VERSION}")))


def reasoning_gym(data: Path) -> tuple[PromptGroups, PromptGroups]:
    """Half of the prompts of a 70B model, three samples each."""
    return half(read(data, f"{RG}=meta-llama_llama-3.3-70b-instruct,split=zero-shot/easy"))


def policy_versions(data: Path) -> tuple[PromptGroups, PromptGroups]:
    """AIME24 and AMC23 at RL step 400, then at step 800, fifty samples each."""
    rl = f"{RG}=llama-3.2-3b-instruct-rlft,version_field=split"
    steps = [
        joined([read(data, f"{rl},split=math-evals/step_{step}/{name}") for name in names])
        for step, names in ((400, ("aime2024", "amc23")), (800, ("aime2024", "amc2023")))
    ]
    return steps[0], steps[1]


def knowledge(data: Path) -> tuple[PromptGroups, PromptGroups]:
    """Half of the questions put to a reasoning model, one sample each; a lower effort is the earlier epoch."""
    path = "tts_knowledge/lengths.jsonl.gz#model=gpt-5-mini,level"
    groups, lower = read(data, f"{path}=high_effort"), read(data, f"{path}=medium_effort")
    earlier = dict(zip(lower.prompt, lower.mean_tokens.tolist(), strict=True))
    previous = np.array([earlier.get(text, np.nan) for text in groups.prompt])
    return half(replace(groups, previous_tokens=previous))


def arc(data: Path) -> tuple[PromptGroups, PromptGroups]:
    """Half of the puzzles put to DeepSeek-R1, two to six samples each."""
    return half(read(data, "arc_deepseek_r1/lengths.jsonl.gz"))


UNTRAINED = ["none", "siblings", "survival", "live", PROMPT_ORACLE, "oracle"]
PUBLIC = (
    Setting("reasoning_gym_eval, 3 samples", reasoning_gym),
    Setting("reasoning_gym_eval, RL 400 -> 800", policy_versions),
    Setting("tts_knowledge", knowledge),
    Setting("arc_deepseek_r1", arc),
)


def bench_recording(tmp_path: Path) -> None:
    """Race on half of the shipped recording."""
    outcome("recording", recording(), tmp_path)


def bench_another_version(tmp_path: Path) -> None:
    """Race on half of the shipped recording, its history being another policy version."""
    outcome("recording, another version as history", another_version(), tmp_path)


@pytest.mark.parametrize("setting", PUBLIC, ids=lambda setting: setting.name)
def bench_public(setting: Setting, data: Path, tmp_path: Path) -> None:
    """Race on public lengths."""
    outcome(setting.name, setting.halves(data), tmp_path)


def outcome(name: str, halves: tuple[PromptGroups, PromptGroups], tmp_path: Path) -> None:
    """Train on the first half, and race on the other with no, cold, warm and live information and with the truth."""
    train, race = halves
    encoder = make_encoder(ENCODER)
    ranker = LengthRanker.fit(train, vectors(encoder, train.prompt), ENCODER, encoder.name)
    save_ranker(ranker, tmp_path)
    trained = [f"{source}={tmp_path}" for source in ("ranker", "warm", "live")]
    compare(name, race, ["none", "siblings", "survival", "live", *trained, PROMPT_ORACLE, "oracle"])


def bench_recording_untrained() -> None:
    """Race on half of the shipped recording with what needs no training."""
    compare("recording", recording()[1], UNTRAINED)


@pytest.mark.parametrize("setting", PUBLIC, ids=lambda setting: setting.name)
def bench_public_untrained(setting: Setting, data: Path) -> None:
    """Race on public lengths with what needs no training."""
    compare(setting.name, setting.halves(data)[1], UNTRAINED)


def compare(setting: str, race: PromptGroups, sources: list[str]) -> None:
    """Race every policy with every source, and print what each captures."""
    whole = stage(race, setting)
    workload = whole if len(whole) <= MOST_REQUESTS else whole.choose(MOST_REQUESTS, 0)
    for level in LEVELS:
        cell = Load(PROFILE, INSTANCES, batch_limit(len(workload), INSTANCES, level)).cell(workload, 0)
        for policy in POLICIES:
            took = {source: _makespan(cell, policy, source) for source in sources}
            for source, seconds in took.items():
                name, given, _ = source.partition("=")
                label = f"{name} (trained)" if given else source
                say(setting, level, policy, label, len(workload), seconds, captured(took, seconds))


def _makespan(cell: Cell, policy: str, source: str) -> float:
    """Return seconds; the prompt oracle knows the mean of each prompt's samples, as no ranker of prompts can know more."""
    workload = cell.workload
    if source == PROMPT_ORACLE:
        _, group = np.unique(workload.requests.group, return_inverse=True)
        means = np.bincount(group, weights=workload.output_tokens) / np.bincount(group)
        information: Information = Fixed(Estimates(means[group], source))
    else:
        information = make_information(source, workload, 0)
    return makespan(simulate(workload, cell.cluster, load_policy(policy), information).timeline)


def captured(took: dict[str, float], seconds: float) -> float | None:
    """Return the share of the oracle's gain over no information, None where the oracle gains nothing."""
    gain = took["none"] - took["oracle"]
    return (took["none"] - seconds) / gain if gain > 1e-3 * took["none"] else None


def stage(groups: PromptGroups, name: str) -> Workload:
    """Return groups as the requests of one stage."""
    group = groups.group
    cap = np.where(groups.cap > 0, groups.cap, groups.output_tokens.max())
    previous: FloatArray | None = groups.previous_tokens[group] if np.isfinite(groups.previous_tokens).any() else None
    requests = Requests.of(groups.prompt_tokens[group], cap[group], group=group)
    texts = tuple(groups.prompt[row] for row in group)
    return Workload(name, requests, groups.output_tokens, "half of the data", previous, prompts=texts)


def half(groups: PromptGroups) -> tuple[PromptGroups, PromptGroups]:
    """Return two halves that share no prompt."""
    split = next(splits(groups, "prompt", 2, 0))
    return groups.take(split.train), groups.take(split.test)


def with_last_as_previous(groups: PromptGroups) -> PromptGroups:
    """Take the last sample of every group for the earlier epoch."""
    last = groups.starts + groups.samples - 1
    kept = np.setdiff1d(np.arange(len(groups.output_tokens)), last)
    return replace(
        groups,
        samples=groups.samples - 1,
        output_tokens=groups.output_tokens[kept],
        capped=groups.capped[kept],
        previous_tokens=groups.output_tokens[last].astype(np.float64),
    )


def joined(parts: list[PromptGroups]) -> PromptGroups:
    """Return the groups of several files as one, numbered anew."""
    columns: dict[str, Any] = {}
    for name in PromptGroups.__dataclass_fields__:
        values = [getattr(part, name) for part in parts]
        columns[name] = np.concatenate(values) if isinstance(values[0], np.ndarray) else [v for part in values for v in part]
    texts = list(dict.fromkeys(columns["prompt"]))
    columns["prompt_number"] = np.array([texts.index(text) for text in columns["prompt"]])
    return PromptGroups(**columns)


def read(data: Path, spec: str) -> PromptGroups:
    """Read groups below the folder of the data."""
    return PromptGroups.of(read_lengths(f"{data}/{spec}"))


def say(name: str, level: float, policy: str, source: str, requests: int, seconds: float, share: float | None) -> None:
    """Print one result."""
    found = {"setting": name, "requests_per_slot": level, "policy": policy, "information": source, "requests": requests}
    captured_share = None if share is None else round(share, 4)
    print(json.dumps(found | {"makespan_s": round(seconds, 2), "captured": captured_share}), flush=True)
