"""How simulation and reality are compared."""

from dataclasses import replace

import pytest
from scipy.stats import kendalltau
from test_report import record

from makespan.harness.agreement import Agreement, Foretold, agreements, markdown
from makespan.harness.record import Record


def real(policy: str, repetition: int, measured: float, simulated: float) -> Record:
    return replace(
        record(),
        policy=policy,
        engine="vllm-forced",
        repetition=repetition,
        makespan_s=measured,
        measured_makespan_s=measured,
        simulated_makespan_s=simulated,
        error=simulated / measured - 1,
    )


def test_medians_ranges_and_errors() -> None:
    records = [real("lpt", k, s, 10.0) for k, s in enumerate((9.0, 10.0, 11.0))]
    [found] = agreements(records)
    [row] = found.rows
    assert (row.measured, row.low, row.high, row.simulated, row.runs) == (10.0, 9.0, 11.0, 10.0, 3)
    assert row.error == pytest.approx(0.0)
    assert found.worst_error == pytest.approx(0.0)
    assert found.tau is None
    assert "lpt" in "\n".join(markdown([found]))


def row(name: str, measured: float, noise: float, simulated: float) -> Foretold:
    return Foretold(name, "none", measured, measured - noise, measured + noise, simulated, simulated / measured - 1, 3)


def test_tau_is_kendalls_where_there_is_no_noise() -> None:
    measured, simulated = [1.0, 2.0, 3.0, 4.0, 5.0], [1.1, 3.0, 2.0, 4.0, 6.0]
    rows = tuple(row(str(k), m, 0.0, s) for k, (m, s) in enumerate(zip(measured, simulated, strict=True)))
    assert Agreement("vllm-forced", rows).tau == pytest.approx(kendalltau(measured, simulated).statistic)


def test_pairs_within_the_noise_do_not_count() -> None:
    rows = (row("a", 10.0, 1.0, 5.0), row("b", 11.0, 1.0, 4.0), row("c", 20.0, 1.0, 9.0))
    found = Agreement("vllm-forced", rows)
    assert [(a.policy, b.policy) for a, b in found.pairs] == [("a", "c"), ("b", "c")]
    assert found.tau == 1.0


def test_a_policy_that_ran_once_says_nothing_about_order() -> None:
    once = [replace(entry, runs=1) for entry in (row("a", 10.0, 0.0, 5.0), row("b", 12.0, 0.0, 4.0))]
    found = Agreement("vllm-free", tuple(once))
    assert found.tau is None
    assert "nothing is said about their order" in str(found)
