"""What a ranker costs while a stage runs: encoding, observing, scoring again. Targets are reported, never asserted."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from makespan.harness.defaults import ENCODER
from makespan.harness.encoder_choice import make_encoder
from makespan.harness.recorded import RECORDING
from makespan.harness.speed import Speed
from makespan.ranker.encoders import encoded
from makespan.ranker.hand_features import hand_features
from makespan.ranker.length_data import read_lengths
from makespan.ranker.length_ranker import LengthRanker
from makespan.ranker.length_shapes import LengthShapes
from makespan.ranker.live_belief import LiveBelief
from makespan.ranker.prompt_groups import PromptGroups
from makespan.schedulers.estimates import Finished
from makespan.schedulers.requests import Requests

pytestmark = pytest.mark.bench
Report = Callable[[Speed], None]
WAITING, SIBLINGS = 512, 8


@pytest.fixture(scope="module")
def recording() -> PromptGroups:
    """The lengths that ship with the package."""
    return PromptGroups.of(read_lengths(RECORDING))


@pytest.fixture(scope="module")
def shapes(recording: PromptGroups) -> LengthShapes:
    """The shapes of its lengths."""
    return LengthShapes.fit(recording)


def stage(shapes: LengthShapes) -> LiveBelief:
    """Return a stage of 512 requests that wait and as many that run or have finished."""
    count = 2 * WAITING
    requests = Requests.of(np.full(count, 100), np.full(count, 2048), group=np.arange(count) // SIBLINGS)
    return LiveBelief(requests, shapes, np.repeat(shapes.log_weight[None], count, axis=0))


def bench_observing(shapes: LengthShapes, benchmark: Any, speeds: Report) -> None:
    """Take note of one finished request."""
    live = stage(shapes)
    events = [Finished(np.array([row]), np.array([300 + row])) for row in range(WAITING)]

    def observe() -> None:
        for event in events:
            live.observe(event)

    benchmark.pedantic(observe, rounds=20)
    assert np.isfinite(live.expected_tokens()).all()
    speeds(Speed("observing one finished request", benchmark.stats.stats.median / WAITING * 1e6, "µs", 20))


def bench_scoring_again(shapes: LengthShapes, benchmark: Any, speeds: Report) -> None:
    """Score 512 waiting requests again while 512 others run."""
    live = stage(shapes)
    generated = np.where(np.arange(2 * WAITING) % 2 == 0, np.random.default_rng(0).integers(1, 2000, 2 * WAITING), 0)
    live.observe(Finished(np.array([1]), np.array([30])))

    def score() -> None:
        live.watch(generated)
        live.expected_tokens()

    benchmark.pedantic(score, rounds=50, warmup_rounds=2)
    assert (live.expected_tokens()[generated > 0] >= 1).all()
    speeds(Speed("scoring 512 waiting requests again", benchmark.stats.stats.median * 1e3, "ms", 5))


def bench_encoding(recording: PromptGroups, benchmark: Any, speeds: Report) -> None:
    """Encode one new prompt at a time, and read its hand-made features."""
    encoder = make_encoder(ENCODER)
    texts = list(dict.fromkeys(recording.prompt))[:64]
    encoded(encoder, texts[:1], {})
    found = benchmark.pedantic(lambda: [encoded(encoder, [text], {}) for text in texts], rounds=3)
    assert all(vector.shape == (1, encoder.width) for vector in found)
    each = benchmark.stats.stats.median / len(texts) * 1e3
    speeds(Speed(f"encoding one prompt of the recording, {encoder.name}", each, "ms", 10))


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
