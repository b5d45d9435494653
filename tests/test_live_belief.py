"""The in-group update: evidence adds up, what runs is censored, and more of it never misleads on average."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ranker_cases import drawn

from makespan.ranker.evidence import Drift, TextEvidence
from makespan.ranker.length_bins import LengthBins
from makespan.ranker.length_shapes import LengthShapes
from makespan.ranker.live_belief import LEVELS, LiveBelief
from makespan.ranker.metrics import tau
from makespan.ranker.shadow import Shadowed
from makespan.schedulers.estimates import Estimates, Finished
from makespan.schedulers.requests import Requests
from makespan.schedulers.sources import Fixed, none

quick = settings(max_examples=25, deadline=None, derandomize=True)
CAP = 4000


@pytest.fixture(scope="module")
def shapes() -> LengthShapes:
    return LengthShapes.fit(drawn(400, 6, 0, cap=CAP)[0])


def belief(shapes: LengthShapes, groups: int = 1, samples: int = 4, cap: int = CAP) -> LiveBelief:
    count = groups * samples
    requests = Requests.of(np.full(count, 10), np.full(count, cap), group=np.arange(count) // samples)
    return LiveBelief(requests, shapes, np.repeat(shapes.log_weight[None], count, axis=0))


def finished(*pairs: tuple[int, int]) -> Finished:
    rows, tokens = zip(*pairs, strict=True)
    return Finished(np.array(rows), np.array(tokens))


@quick
@given(st.integers(2, 10**6))
def test_bins_cover_every_length_in_order(longest: int) -> None:
    bins = LengthBins(longest)
    lengths = np.unique(np.geomspace(1, longest, 200).astype(int))
    places = bins.of(lengths)
    assert (np.diff(places) >= 0).all()
    assert places[0] == 0
    assert (bins.edges[places] <= lengths).all()
    assert [bins.place(int(n)) for n in lengths] == places.tolist()


def test_shapes_are_distributions_and_reproduce_what_they_were_fitted_to(shapes: LengthShapes) -> None:
    np.testing.assert_allclose(shapes.mass.sum(axis=1), 1)
    assert shapes.weight.sum() == pytest.approx(1)
    groups, _ = drawn(400, 6, 0, cap=CAP)
    pooled = shapes.weight @ shapes.mass
    for share in (0.1, 0.5, 0.9):
        predicted = shapes.quantiles(shapes.weight[None], (share,), np.array([1e9]))[0, 0]
        assert np.log(predicted) == pytest.approx(np.log(np.quantile(groups.output_tokens, share)), abs=0.25)
    assert pooled @ shapes.bins.log_tokens == pytest.approx(np.log1p(groups.output_tokens).mean(), abs=0.15)


@quick
@given(st.lists(st.integers(1, CAP - 1), min_size=1, max_size=3), st.lists(st.integers(0, CAP - 1), min_size=1, max_size=3))
def test_the_belief_is_that_of_a_slow_loop(shapes: LengthShapes, ended: list[int], running: list[int]) -> None:
    live = belief(shapes, samples=len(ended) + len(running) + 1)
    live.observe(finished(*enumerate(ended)))
    generated = np.zeros(len(live.requests), dtype=np.int64)
    generated[len(ended) : len(ended) + len(running)] = running
    live.watch(generated)
    log = shapes.log_weight.copy()
    for tokens in ended:
        log += np.log(shapes.mass[:, shapes.bins.place(tokens)])
    for tokens in running:
        if tokens:
            log += np.log(shapes.mass[:, shapes.bins.place(tokens) :].sum(axis=1))
    share = np.exp(log - log.max())
    share /= share.sum()
    quantiles = live.estimate(live.requests).quantiles
    assert quantiles is not None
    lengths = np.minimum(shapes.bins.tokens, CAP)
    for row, reached in enumerate(running, start=len(ended)):
        first = max(shapes.bins.place(reached), 0) if reached else 0
        conditional = shapes.mass[:, first:] / shapes.mass[:, first:].sum(axis=1, keepdims=True)
        mean = max(share @ conditional @ lengths[first:], reached + 1)
        assert live.expected_tokens()[row] == pytest.approx(mean, rel=1e-6)
        below = np.append(0, np.cumsum(share @ conditional))
        for quantile, level in zip(quantiles[row], LEVELS, strict=True):
            if reached + 1 < quantile < CAP:
                at = shapes.bins.place(int(quantile)) - first
                assert below[at] - 1e-9 <= level <= below[min(at + 1, len(below) - 1)] + 1e-9
    np.testing.assert_array_equal(live.expected_tokens()[: len(ended)], ended)
    assert live.expected_tokens()[-1] == pytest.approx(share @ shapes.mass @ lengths, rel=1e-6)


@quick
@given(st.permutations([(0, 30), (1, 300), (2, 50)]))
def test_the_order_in_which_siblings_finish_does_not_matter(shapes: LengthShapes, order: list[tuple[int, int]]) -> None:
    one, other = belief(shapes), belief(shapes)
    one.observe(finished((0, 30), (1, 300), (2, 50)))
    for pair in order:
        other.observe(finished(pair))
    np.testing.assert_allclose(one.expected_tokens(), other.expected_tokens())


def test_more_evidence_narrows_the_belief_on_average_and_never_misleads(shapes: LengthShapes) -> None:
    # Drawn from the shapes themselves: then what follows is a theorem, up to the noise of the draw.
    rng = np.random.default_rng(0)
    count, samples = 400, 6
    shape = rng.choice(len(shapes), count, p=shapes.weight)
    below = np.cumsum(shapes.mass, axis=1)
    bins = np.array([np.searchsorted(below[k] / below[k, -1], rng.random(samples)) for k in shape])
    truth = shapes.bins.log_tokens[bins[:, -1]]
    log = np.repeat(shapes.log_weight[None], count, axis=0)
    variances, errors = [], []
    for seen in range(samples):
        share = shapes.posterior(log)
        mean = share @ shapes.log_mean
        second = share @ (shapes.mass @ shapes.bins.log_tokens**2)
        variances.append(float((second - mean**2).mean()))
        errors.append(float(((mean - truth) ** 2).mean()))
        log += shapes.log_mass.T[bins[:, seen]]
    assert all(later < earlier * 1.005 for earlier, later in pairwise(variances))
    assert variances[-1] < 0.5 * variances[0]
    assert errors[-1] < 0.5 * errors[0]
    # The belief knows how uncertain it is.
    np.testing.assert_allclose(errors, variances, rtol=0.3)


def test_intervals_never_widen_on_average_while_siblings_finish(shapes: LengthShapes) -> None:
    rng = np.random.default_rng(1)
    groups, samples = 300, 6
    shape = rng.choice(len(shapes), groups, p=shapes.weight)
    longest = np.full(groups, float(CAP))
    tokens = shapes.draw(np.eye(len(shapes))[shape], samples, 1, longest)[:, 0]
    live = belief(shapes, groups, samples)
    rows = np.arange(groups * samples).reshape(groups, samples)
    widths = []
    for seen in range(samples):
        quantiles = live.estimate(live.requests).quantiles
        assert quantiles is not None
        widths.append(float(np.log(quantiles[rows[:, -1], -1] / quantiles[rows[:, -1], 0]).mean()))
        live = belief(shapes, groups, samples)
        live.observe(Finished(rows[:, : seen + 1].ravel(), tokens[:, : seen + 1].ravel()))
    assert all(later < earlier for earlier, later in pairwise(widths))
    assert widths[-1] < 0.7 * widths[0]


@quick
@given(st.lists(st.integers(1, CAP), min_size=3, max_size=3), st.booleans())
def test_a_finished_group_is_exact(shapes: LengthShapes, tokens: list[int], one_by_one: bool) -> None:
    live = belief(shapes, groups=2, samples=3)
    ended = list(enumerate(tokens))
    for part in [[pair] for pair in ended] if one_by_one else [ended]:
        live.observe(finished(*part))
        live.watch(np.array([*tokens, 5, 0, 0]))
    known = live.estimate(live.requests)
    assert known.quantiles is not None
    assert known.point[:3].tolist() == tokens
    assert (known.quantiles[:3] == np.array(tokens)[:, None]).all()
    assert (np.diff(known.quantiles[3:], axis=1) > 0).any()


def test_a_sibling_that_runs_on_makes_its_group_longer_and_a_short_finish_shorter(shapes: LengthShapes) -> None:
    before, longer, shorter = belief(shapes), belief(shapes), belief(shapes)
    longer.watch(np.array([1500, 0, 0, 0]))
    shorter.observe(finished((0, 8)))
    assert (longer.expected_tokens()[1:] > before.expected_tokens()[1:]).all()
    assert (shorter.expected_tokens()[1:] < before.expected_tokens()[1:]).all()
    assert longer.expected_tokens()[0] >= 1500


def test_censored_evidence_undoes_the_bias_of_early_finishers(shapes: LengthShapes) -> None:
    # The first to finish are short; that the others still run says that the group is not.
    biased, corrected = belief(shapes, samples=8), belief(shapes, samples=8)
    for live in (biased, corrected):
        live.observe(finished((0, 60)))
    corrected.watch(np.array([0, *[400] * 6, 0]))
    assert corrected.expected_tokens()[-1] > 2 * biased.expected_tokens()[-1]


def test_a_sample_at_its_cap_says_only_that_it_is_at_least_that_long(shapes: LengthShapes) -> None:
    low, high = belief(shapes, cap=500), belief(shapes, cap=CAP)
    low.observe(finished((0, 500)))
    high.observe(finished((0, 500)))
    cut, ended = (live.shapes.posterior(live._belief) @ shapes.log_mean for live in (low, high))
    assert cut[0] > ended[0]
    assert (low.expected_tokens() <= 500).all()


def test_a_shape_that_is_certain_is_exact() -> None:
    bins = LengthBins(1000)
    mass = np.full((3, len(bins)), 1e-12)
    for k, tokens in enumerate((10, 100, 900)):
        mass[k, bins.place(tokens)] = 1
    exact = LengthShapes(bins, mass / mass.sum(axis=1, keepdims=True), np.full(3, 1 / 3))
    live = belief(exact, cap=1000)
    live.observe(finished((0, 100)))
    step = float(np.diff(bins.edges)[bins.place(100)])
    assert live.expected_tokens()[1] == pytest.approx(100, abs=step)


def test_the_same_estimates_are_given_while_nothing_has_changed(shapes: LengthShapes) -> None:
    live = belief(shapes, groups=2)
    first = live.estimate(live.requests)
    assert live.estimate(live.requests) is first
    live.observe(finished((0, 50)))
    second = live.estimate(live.requests)
    assert second is not first
    np.testing.assert_array_equal(second.point[4:], first.point[4:])


@quick
@given(st.lists(st.integers(0, CAP - 1), min_size=12, max_size=12), st.permutations(range(12)), st.integers(0, 4))
def test_relabelling_relabels_the_belief(shapes: LengthShapes, tokens: list[int], order: list[int], relabel: int) -> None:
    found = []
    for rows, shift in ((list(range(12)), 0), (order, relabel)):
        generated, group = np.array(tokens)[rows], np.arange(12)[rows] // 3
        requests = Requests.of(np.ones(12), np.full(12, CAP), group=(group + shift) % 5)
        live = LiveBelief(requests, shapes, np.repeat(shapes.log_weight[None], 12, axis=0), 4.0)
        ended = np.flatnonzero((np.array(rows) % 3 == 0) & (generated > 0))
        live.observe(Finished(ended, generated[ended]))
        live.watch(generated)
        found.append(live.estimate(requests))
    np.testing.assert_array_equal(found[0].point[order], found[1].point)
    np.testing.assert_array_equal(np.asarray(found[0].quantiles)[order], found[1].quantiles)


def test_a_stage_teaches_how_common_each_shape_is() -> None:
    groups, mean = drawn(100, 4, 9, cap=CAP)
    shapes = LengthShapes.untrained(CAP)
    first = np.arange(80) * 4
    requests = Requests.of(np.ones(400), np.full(400, CAP), group=groups.group)
    log_prior = np.repeat(shapes.log_weight[None], 400, axis=0)
    kept, taught = LiveBelief(requests, shapes, log_prior), LiveBelief(requests, shapes, log_prior, 1.0)
    usual = float(np.exp(mean).mean())
    errors, widths = [], []
    for live in (kept, taught):
        live.observe(Finished(first, groups.output_tokens[first]))
        found = live.estimate(requests)
        assert found.quantiles is not None
        errors.append(abs(np.log(found.point[-1] / usual)))
        widths.append(np.log(found.quantiles[-1, 2] / found.quantiles[-1, 0]))
    assert errors[1] < 0.3 < errors[0]
    assert widths[1] < widths[0]


def test_a_prior_that_counts_for_nothing_is_refused(shapes: LengthShapes) -> None:
    with pytest.raises(ValueError, match="a prior must count for more than 0 groups, got 0"):
        LiveBelief(Requests.of([1], [9]), shapes, shapes.log_weight[None], 0)


def test_a_prior_of_another_shape_is_refused(shapes: LengthShapes) -> None:
    requests = Requests.of([1, 1], [9, 9])
    with pytest.raises(ValueError, match="a prior must have shape"):
        LiveBelief(requests, shapes, np.zeros((2, 3)))


def test_text_evidence_finds_how_good_a_predictor_is() -> None:
    groups, mean = drawn(500, 6, 2)
    shapes = LengthShapes.fit(groups)
    rng = np.random.default_rng(0)
    found = [TextEvidence.fit(shapes, groups, mean + s * rng.standard_normal(500)) for s in (0.1, 0.6)]
    assert found[0].deviation < found[1].deviation == pytest.approx(0.6, abs=0.15)
    assert found[1].slope == pytest.approx(1.0, abs=0.15)
    useless = TextEvidence.fit(shapes, groups, rng.standard_normal(500))
    spread = np.ptp(useless.log_likelihood(shapes, np.array([0.0])) - useless.log_likelihood(shapes, np.array([1.0])))
    assert spread < 0.6, "a predictor that knows nothing moves the belief by next to nothing"


def test_drift_finds_shift_and_spread_between_versions() -> None:
    earlier, _ = drawn(300, 8, 3, within=0.3)
    shapes = LengthShapes.fit(earlier)
    rng = np.random.default_rng(0)
    moved = np.exp(np.repeat(0.4 + 0.3 * rng.standard_normal(300), 8))
    later = replace(earlier, output_tokens=np.maximum(np.rint(earlier.output_tokens * moved), 1).astype(np.int64))
    drift = Drift.fit(shapes, earlier, later)
    assert drift.shift == pytest.approx(0.4, abs=0.15)
    assert 0.15 <= drift.deviation <= 0.5
    still = Drift.fit(shapes, earlier, earlier)
    assert still.deviation <= 0.1


def test_a_shadowed_ranker_is_heard_only_once_it_has_ranked_better_than_chance() -> None:
    count = 2 * 128
    requests = Requests.of(np.full(count, 1), np.full(count, 10**6), group=np.arange(count) // 2)
    truth = np.random.default_rng(0).permutation(128)[np.arange(count) // 2] * 10 + 5
    ranker, fallback = Fixed(Estimates(truth.astype(float), "ranker")), none(requests)
    good = Shadowed(requests, ranker, fallback, truth.astype(float), trusted=False)
    bad = Shadowed(requests, ranker, fallback, np.random.default_rng(1).random(count), trusted=True)
    assert good.estimate(requests).basis == "none"
    assert bad.estimate(requests).basis == "ranker"
    for row in range(count):
        for source in (good, bad):
            source.observe(finished((row, int(truth[row]))))
    assert good.estimate(requests).basis == "ranker"
    assert bad.estimate(requests).basis == "none"


def test_live_estimates_order_groups_by_what_their_siblings_showed(shapes: LengthShapes) -> None:
    groups, mean = drawn(100, 4, 9, cap=CAP)
    live = belief(shapes, groups=100)
    first = np.arange(100) * 4
    live.observe(Finished(first, groups.output_tokens[first]))
    assert tau(live.expected_tokens()[first + 1], mean) > 0.6
