"""How many instances a training run starts with, and for how many more it keeps room."""

from pathlib import Path

import pytest

from makespan.runtime import training_run
from makespan.runtime.profiles import load_profile
from makespan.runtime.training_run import Rig, seats
from makespan.runtime.vllm_tokens import VllmSpec
from makespan.schedulers import catalog, sources
from makespan.schedulers.elastic import ElasticRule


def rig(instances: int | None = None, most: int | None = None) -> Rig:
    return Rig(
        engine=VllmSpec(model=Path("model")),
        profile=load_profile("smollm2-135m-cpu-core"),
        policy=catalog.lpt,
        information=sources.none,
        instances=instances,
        elastic=None if most is None else ElasticRule(most=most),
    )


@pytest.fixture(autouse=True)
def four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_run, "cores", lambda: [0, 1, 2, 3])


@pytest.mark.parametrize(
    ("asked", "resources", "shared", "expected"),
    [
        (rig(), {"CPU": 4}, True, (4, 0)),
        (rig(), {"CPU": 4}, False, (3, 0)),
        (rig(), {"CPU": 9}, False, (3, 0)),
        (rig(), {"CPU": 2}, False, (1, 0)),
        (rig(6), {"CPU": 7}, False, (6, 0)),
        (rig(1, most=3), {"CPU": 4}, False, (1, 2)),
        (rig(3, most=2), {"CPU": 4}, False, (3, 0)),
        (rig(), {"CPU": 64, "GPU": 8}, False, (7, 0)),
        (rig(2, most=7), {"CPU": 64, "GPU": 8}, False, (2, 5)),
    ],
)
def test_the_trainer_takes_one_place_and_whoever_may_join_has_another(
    asked: Rig, resources: dict[str, float], shared: bool, expected: tuple[int, int]
) -> None:
    assert seats(asked, resources, shared=shared) == expected


@pytest.mark.parametrize(("resources", "words"), [({"CPU": 4}, "3, the cores"), ({"CPU": 64, "GPU": 3}, "2, the GPUs")])
def test_more_instances_than_there_are_places_for_are_refused(resources: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=f"--elastic must be at most {words} of the cluster that are left, got 4"):
        seats(rig(1, most=4), resources, shared=False)
