"""What a ranker costs while a stage runs: encoding, observing, scoring again. Targets are reported, never asserted."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import pytest

from makespan.harness.encoder_choice import make_encoder
from makespan.harness.experiment import simulate
from makespan.harness.generators import lognormal
from makespan.harness.recorded import RECORDING
from makespan.harness.speed import Speed
from makespan.ranker.encoders import encoded
from makespan.ranker.hand_features import hand_features
from makespan.ranker.length_data import read_lengths
from makespan.ranker.length_ranker import LengthRanker
from makespan.ranker.length_shapes import LengthShapes
from makespan.ranker.live_belief import LiveBelief
from makespan.ranker.prompt_groups import PromptGroups
from makespan.ranker.survival import Survival
from makespan.runtime.profiles import load_profile
from makespan.schedulers.catalog import pull_lpt
from makespan.schedulers.estimates import Estimates, Finished, Information, Watching
from makespan.schedulers.instances import Cluster
from makespan.schedulers.requests import Requests
from makespan.schedulers.sources import none

pytestmark = pytest.mark.bench
Report = Callable[[Speed], None]
WAITING, SIBLINGS = 512, 8
SOURCES = ("live", "survival")


class Learning(Information, Watching, Protocol):
    """A source that learns from finishes and from tokens."""


@pytest.fixture(scope="module")
def recording() -> PromptGroups:
    """The lengths that ship with the package."""
    return PromptGroups.of(read_lengths(RECORDING))


@pytest.fixture(scope="module")
def shapes(recording: PromptGroups) -> LengthShapes:
    """The shapes of its lengths."""
    return LengthShapes.fit(recording)


def learning(name: str, requests: Requests, shapes: LengthShapes) -> Learning:
    """Return a source that learns while the stage runs."""
    if name == "survival":
        return Survival(requests)
    return LiveBelief(requests, shapes, np.repeat(shapes.log_weight[None], len(requests), axis=0), 64.0)


def waiting_and_running() -> Requests:
    """Return 512 requests that wait and as many that run or have finished."""
    count = 2 * WAITING
    return Requests.of(np.full(count, 100), np.full(count, 2048), group=np.arange(count) // SIBLINGS)


@pytest.mark.parametrize("name", SOURCES)
def bench_observing(name: str, shapes: LengthShapes, benchmark: Any, speeds: Report) -> None:
    """Take note of one finished request."""
    requests = waiting_and_running()
    source = learning(name, requests, shapes)
    events = [Finished(np.array([row]), np.array([300 + row])) for row in range(WAITING)]

    def observe() -> None:
        for event in events:
            source.observe(event)

    benchmark.pedantic(observe, rounds=20)
    assert np.isfinite(source.estimate(requests).point).all()
    speeds(Speed(f"observing one finished request, {name}", benchmark.stats.stats.median / WAITING * 1e6, "µs", 20))


@pytest.mark.parametrize("name", SOURCES)
def bench_scoring_again(name: str, shapes: LengthShapes, benchmark: Any, speeds: Report) -> None:
    """Score 512 waiting requests again, with quantiles, while 512 others run."""
    requests = waiting_and_running()
    generated = np.where(np.arange(2 * WAITING) % 2 == 0, np.random.default_rng(0).integers(1, 2000, 2 * WAITING), 0)
    source = learning(name, requests, shapes)
    source.observe(Finished(np.array([1]), np.array([30])))

    def score() -> Estimates:
        # Enough news for new estimates.
        source.watch(generated)
        source.observe(Finished(np.arange(3, 43, 2), np.full(20, 40)))
        return source.estimate(requests)

    found = benchmark.pedantic(score, rounds=30, warmup_rounds=2)
    assert (found.point[generated > 0] >= 1).all()
    speeds(Speed(f"scoring 512 waiting requests again, {name}", benchmark.stats.stats.median * 1e3, "ms", 5))


@pytest.mark.parametrize("name", SOURCES)
def bench_a_stage(name: str, shapes: LengthShapes, benchmark: Any, speeds: Report) -> None:
    """Run a stage of 8,192 requests on 64 instances, and say what the source costs for each request."""
    workload = lognormal(1.0)(None, 8192, 0)
    cluster = Cluster.uniform(load_profile("streamrl-7b-h800").instance(max_batch=32), 64)
    known = simulate(workload, cluster, pull_lpt, none(workload.requests))
    run = benchmark.pedantic(
        lambda: simulate(workload, cluster, pull_lpt, learning(name, workload.requests, shapes)), rounds=1
    )
    assert run.timeline.finished.all()
    spent = (run.decide_s + run.simulate_s - known.decide_s - known.simulate_s) / len(workload)
    speeds(Speed(f"what it costs per request of a stage of 8,192 x 64 instances, {name}", spent * 1e6, "µs"))


@pytest.mark.parametrize("tokens", [16, 32, 64, 128])
@pytest.mark.parametrize("name", ["minilm", "minilm-int8"])
def bench_encoding(name: str, tokens: int, recording: PromptGroups, benchmark: Any, speeds: Report) -> None:
    """Encode one new prompt of so many tokens at a time."""
    from makespan.ranker.minilm import load_tokenizer

    encoder, tokenizer = make_encoder(name), load_tokenizer(512)
    long = [text for text in dict.fromkeys(recording.prompt) if len(tokenizer.encode(text).ids) >= tokens][:16]
    texts = [text[: tokenizer.encode(text).offsets[tokens - 2][1]] for text in long]
    encoded(encoder, texts[:1], {})
    found = benchmark.pedantic(lambda: [encoded(encoder, [text], {}) for text in texts], rounds=3)
    assert all(vector.shape == (1, encoder.width) for vector in found)
    each = benchmark.stats.stats.median / len(texts) * 1e3
    speeds(Speed(f"encoding one prompt of {tokens} tokens, {name}", each, "ms", 10))


def bench_hand_features(recording: PromptGroups, benchmark: Any, speeds: Report) -> None:
    """Read the hand-made features of prompts."""
    found = benchmark.pedantic(lambda: hand_features(recording.prompt, recording.prompt_tokens), rounds=3)
    assert np.isfinite(found).all()
    speeds(Speed("hand-made features of one prompt", benchmark.stats.stats.median / len(recording) * 1e3, "ms"))


def bench_training(recording: PromptGroups, benchmark: Any, speeds: Report) -> None:
    """Train on the recording, 512 prompts of nine samples, without an encoder."""
    nothing = np.empty((len(recording), 0))
    ranker = benchmark.pedantic(lambda: LengthRanker.fit(recording, nothing), rounds=1)
    assert ranker.verdict.tau > 0
    speeds(Speed("training on the recording, hand-made features", benchmark.stats.stats.median, "s"))
