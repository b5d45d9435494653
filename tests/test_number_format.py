"""The number format that a machine is found to multiply fast."""

from pathlib import Path

import pytest
import torch

from makespan.runtime.grpo import Grpo
from makespan.runtime.number_format import fitting_dtype
from makespan.runtime.trainer_actor import TrainerSpec


@pytest.mark.parametrize(("has", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_a_cpu_computes_in_bfloat16_only_where_it_multiplies_it(
    monkeypatch: pytest.MonkeyPatch, has: bool, expected: str
) -> None:
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: has)
    assert fitting_dtype() == expected
    assert fitting_dtype("cuda") == "bfloat16"


def test_a_format_that_a_trainer_does_not_know_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="dtype must be auto, bfloat16, float32 or float64, got float8"):
        TrainerSpec(model=tmp_path, grpo=Grpo(), checkpoints=tmp_path, dtype="float8")
