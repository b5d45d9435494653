"""Shared settings of the tests."""

import sys
from pathlib import Path

import pytest
from hypothesis import settings

# How long an example takes says nothing on a busy machine.
settings.register_profile("makespan", deadline=None)
settings.load_profile("makespan")

# importlib mode does not put this folder on the path; the tests share two modules that lie in it.
sys.path.insert(0, str(Path(__file__).parent))


ENGINES = (
    "test_calibration",
    "test_elastic_pool",
    "test_faults",
    "test_ray_address",
    "test_real_",
    "test_recording",
    "test_servable",
    "test_shutdown",
    "test_small_model",
    "test_sweep",
    "test_trainer_service",
    "test_training_run",
    "test_weights",
)
"""Files whose tests start engines, Ray or both, which want a core each: they run one after the other, beside the rest."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests with engines into one group, of which one process takes care."""
    for item in items:
        if item.path.stem.startswith(ENGINES):
            item.add_marker(pytest.mark.xdist_group("engines"))
