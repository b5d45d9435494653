"""Intervals held against the lengths that came, while the stage runs."""

import numpy as np
import pytest

from makespan.harness.experiment import Cell
from makespan.harness.generators import lognormal
from makespan.ranker.calibrated import Calibrated
from makespan.ranker.conformal import ConformalWindow
from makespan.ranker.survival import Survival
from makespan.runtime.profiles import load_profile
from makespan.schedulers.catalog import pull_lpt
from makespan.schedulers.estimates import Estimates, Finished
from makespan.schedulers.instances import Cluster
from makespan.schedulers.requests import Requests
from makespan.schedulers.sources import Fixed, none
from makespan.schedulers.types import FloatArray

COUNT, SLOTS, CAP = 1500, 32, 20_000


def stage(seed: int = 0) -> tuple[Requests, FloatArray, FloatArray]:
    """Return requests, the middle of what is believed of each, and their lengths: log-normal around it."""
    rng = np.random.default_rng(seed)
    middle = np.exp(rng.normal(5, 1, COUNT))
    lengths = np.clip(np.rint(middle * np.exp(0.5 * rng.standard_normal(COUNT))), 1, CAP)
    return Requests.of(np.ones(COUNT), np.full(COUNT, CAP)), middle, lengths


def believed(requests: Requests, middle: FloatArray, spread: float) -> Fixed:
    """Return a source that believes lengths to lie so far around the middle."""
    scale = np.exp(1.2816 * spread * np.array([-1, 0, 1]))
    quantiles = np.clip(middle[:, None] * scale, 1, CAP)
    return Fixed(Estimates(middle, "believed", (0.1, 0.5, 0.9), quantiles))


class Renewing:
    """A source that is asked anew at every decision, as one that learns is."""

    def __init__(self, source: Fixed) -> None:
        self.source = source

    def estimate(self, requests: Requests) -> Estimates:
        known = self.source.estimate(requests)
        return Estimates(known.point, known.basis, known.levels, known.quantiles)

    def observe(self, event: Finished) -> None:
        self.source.observe(event)


def run(calibrated: Calibrated, lengths: FloatArray) -> None:
    """Run the requests on so many slots, in order, a token of each at a time."""
    generated, running, following = np.zeros(COUNT, dtype=np.int64), list(range(SLOTS)), SLOTS
    calibrated.estimate(calibrated.requests)
    while running:
        step = int((lengths[running] - generated[running]).min())
        generated[running] += max(step, 1)
        done = [row for row in running if generated[row] >= lengths[row]]
        calibrated.watch(generated)
        calibrated.observe(Finished(np.array(done), generated[done]))
        calibrated.estimate(calibrated.requests)
        running = [row for row in running if row not in done]
        fresh = range(following, min(following + len(done), COUNT))
        running, following = running + list(fresh), following + len(fresh)


@pytest.mark.parametrize("spread", [0.15, 0.5, 1.5])
def test_intervals_that_are_too_narrow_or_too_wide_are_moved_until_they_keep_their_promise(spread: float) -> None:
    requests, middle, lengths = stage()
    source = believed(requests, middle, spread)
    low, high = np.asarray(source.estimates.quantiles)[:, [0, -1]].T
    calibrated = Calibrated(requests, Renewing(source), ConformalWindow(0.8, 200))
    assert np.isnan(calibrated.coverage)
    run(calibrated, lengths)
    untouched = float(((low <= lengths) & (lengths <= high)).mean())
    assert abs(untouched - 0.8) > 0.1 or spread == 0.5
    assert calibrated.judged == 200
    assert calibrated.coverage == pytest.approx(0.8, abs=0.09)


def test_a_promise_is_judged_only_when_all_earlier_ones_can_be() -> None:
    requests = Requests.of(np.ones(5), np.full(5, 100))
    calibrated = Calibrated(requests, believed(requests, np.full(5, 20.0), 0.1), ConformalWindow(0.8, 10))
    calibrated.estimate(requests)
    calibrated.watch(np.array([5, 5, 5, 0, 0]))
    calibrated.observe(Finished(np.array([1, 2]), np.array([20, 90])))
    assert calibrated.judged == 0
    calibrated.observe(Finished(np.array([0]), np.array([20])))
    assert calibrated.judged == 3
    assert calibrated.coverage == pytest.approx(2 / 3)
    # One that began and ended between two decisions counts too.
    calibrated.observe(Finished(np.array([3]), np.array([20])))
    assert calibrated.judged == 4


def test_points_and_sources_without_quantiles_are_left_as_they_are() -> None:
    requests = Requests.of(np.ones(3), np.full(3, 100))
    blind = none(requests)
    calibrated = Calibrated(requests, blind, ConformalWindow(0.8, 10))
    assert calibrated.estimate(requests) is blind.estimates
    calibrated.watch(np.array([3, 0, 0]))
    calibrated.observe(Finished(np.array([0]), np.array([4])))
    assert calibrated.judged == 0
    source = believed(requests, np.full(3, 20.0), 0.1)
    assert Calibrated(requests, source, ConformalWindow(0.8, 10)).estimate(requests).point is source.estimates.point


def test_moved_intervals_stay_between_what_was_generated_and_the_cap() -> None:
    requests, _, lengths = stage(1)
    window = ConformalWindow(0.8, 50)
    window.observe(np.zeros(50), np.zeros(50), np.full(50, 9.0))
    assert window.widening > 8
    source = Survival(requests)
    calibrated = Calibrated(requests, source, window)
    generated = np.minimum(lengths, 150).astype(np.int64)
    calibrated.estimate(requests)
    calibrated.watch(np.where(lengths <= 150, generated - 1, generated))
    ended = np.flatnonzero(lengths <= 150)
    calibrated.observe(Finished(ended, generated[ended]))
    found = calibrated.estimate(requests).quantiles
    assert found is not None
    unfinished = lengths > 150
    assert (found[unfinished] >= 151).all()
    assert (found <= CAP).all()
    assert (np.diff(found, axis=1) >= 0).all()
    np.testing.assert_array_equal(found[ended], generated[ended][:, None] + np.zeros(3))


def test_the_same_estimates_are_given_while_the_source_gives_the_same() -> None:
    requests, middle, _ = stage()
    calibrated = Calibrated(requests, believed(requests, middle, 0.5), ConformalWindow(0.8, 100))
    first = calibrated.estimate(requests)
    calibrated.watch(np.ones(COUNT, dtype=np.int64))
    calibrated.observe(Finished(np.array([0]), np.array([5])))
    assert calibrated.estimate(requests) is first


def test_an_experiment_with_live_information_says_how_many_intervals_kept_their_promise() -> None:
    workload = lognormal(1.0)(None, 128, 0)
    cell = Cell(workload, Cluster.uniform(load_profile("streamrl-7b-h800").instance(max_batch=8), 2), "streamrl-7b-h800")
    coverage = cell.race("pull_lpt", pull_lpt, "live").coverage_80
    assert coverage is not None
    assert 0.5 < coverage <= 1
    assert cell.race("pull_lpt", pull_lpt, "siblings").coverage_80 is None
