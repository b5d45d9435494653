"""Published figures beside ours: ratios, verdicts, tables; rankers of published recall."""

import json
from pathlib import Path

import numpy as np
import pytest

from makespan.harness.degraded import ranker_of_recalls, tail_recall
from makespan.harness.drift import drifting
from makespan.harness.generators import codemath_20k
from makespan.harness.reproduction import Figure, Reproduction, for_terminal, markdown, write_reproductions
from makespan.harness.streamrl_world import RECALLS, Assumptions, World, samples_per_s
from makespan.schedulers.elastic import ElasticRule
from makespan.schedulers.roofline import Efficiency

FIGURES = (Figure("a", 1.0, 1.09), Figure("b", 2.0, 1.5), Figure("c", None, 3.0))


@pytest.mark.parametrize(
    ("paper", "ours", "verdict"),
    [
        (1.0, 1.1, "reproduces"),
        (1.0, 0.9, "reproduces"),
        (1.0, 1.11, "does not reproduce"),
        (2.0, 1.79, "does not reproduce"),
        (None, 1.0, "not published"),
    ],
)
def test_a_figure_reproduces_when_it_is_within_a_tenth(paper: float | None, ours: float, verdict: str) -> None:
    assert Figure("x", paper, ours).verdict == verdict


def test_a_reproduction_counts_only_what_was_published_and_says_what_moves_it() -> None:
    changed = (Figure("a", 1.0, 2.18), Figure("b", 2.0, 1.95), Figure("c", None, 3.0))
    found = Reproduction("T", FIGURES, (("other", changed),), "A note.")
    assert found.reproduced == (1, 2)
    assert found.moved() == [["a", "+100%"], ["b", "+30%"], ["c", "+0%"], ["**reproduce**", "1 of 2"]]
    page = markdown([found])
    assert "1 of 2 within 10 %. A note." in page
    assert "| b | 2 | 1.5 | 0.75 | does not reproduce |" in page
    assert len(for_terminal(found)) == 2
    assert len(for_terminal(Reproduction("T", FIGURES))) == 1


def test_reproductions_are_written_for_people_and_machines(tmp_path: Path) -> None:
    page = write_reproductions([Reproduction("T", FIGURES)], tmp_path / "new")
    found = json.loads((tmp_path / "new" / "reproductions.json").read_text())
    assert [f["ours"] for f in found[0]["figures"]] == [1.09, 1.5, 3.0]
    assert page.read_text().startswith("# Published figures beside ours")


def test_a_figure_that_is_no_positive_number_and_changes_of_other_figures_are_refused() -> None:
    with pytest.raises(ValueError, match="positive and finite, got 0"):
        Figure("x", 1.0, 0.0)
    with pytest.raises(ValueError, match="must give the same figures"):
        Reproduction("T", FIGURES, (("other", FIGURES[:1]),))


@pytest.mark.parametrize("name", list(RECALLS))
def test_a_degraded_oracle_has_the_published_recalls(name: str) -> None:
    workload = codemath_20k(None, 1024, 0)
    point = ranker_of_recalls(workload, RECALLS[name], 0).estimates.point
    for share, recall in RECALLS[name].items():
        assert tail_recall(point, workload.output_tokens, share) == pytest.approx(recall, abs=0.05)


def test_a_perfect_ranker_finds_all_and_a_blind_one_what_chance_gives() -> None:
    workload = codemath_20k(None, 1024, 1)
    perfect = ranker_of_recalls(workload, {0.2: 1.0, 0.05: 1.0}).estimates.point
    assert tail_recall(perfect, workload.output_tokens, 0.05) == 1.0
    blind = np.random.default_rng(0).random(1024)
    assert tail_recall(blind, workload.output_tokens, 0.2) == pytest.approx(0.2, abs=0.06)
    with pytest.raises(ValueError, match="must lie above its share"):
        ranker_of_recalls(workload, {0.2: 0.1})


def test_the_setting_of_the_paper_gives_pipelines_in_their_order() -> None:
    world = World("qwen2.5-72b", 5_000, Assumptions())
    split = world.split(128, "lpt", "oracle")
    assert sum(split) <= 128
    colocated = samples_per_s(world.colocated(128, "random", "none"))
    stream, asynchronous = (samples_per_s(world.run(p, split, "lpt", "oracle", 4)) for p in ("stream", "fully_async"))
    assert asynchronous >= stream > colocated > 0


def test_while_lengths_grow_the_elastic_rule_adds_machines_and_throughput() -> None:
    rule = ElasticRule(most=8)
    # At half the bandwidth the KV of longer outputs weighs more, and generation falls behind.
    given = Assumptions(dispatch="lpt", information="oracle", efficiency=Efficiency(bandwidth=0.41))
    elastic, fixed = (drifting(given, r, iterations=10) for r in (rule, None))
    assert fixed.gpus == (32,) * 10
    assert elastic.gpus[0] == 32
    assert max(elastic.gpus) > 32
    assert elastic.samples_per_s >= fixed.samples_per_s
    assert all(len(i.staleness) <= 2 for i in elastic.iterations)
