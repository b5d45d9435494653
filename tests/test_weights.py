"""Packing weights: what is unpacked is what was packed, in every dtype and shape."""

import os

import torch
from hypothesis import given
from hypothesis import strategies as st

from makespan.runtime.weights import ALIGNMENT, pack, unpack

DTYPES = (torch.bfloat16, torch.float32, torch.float16, torch.int64)


@given(st.lists(st.tuples(st.lists(st.integers(1, 5), max_size=3), st.sampled_from(DTYPES)), max_size=6), st.integers(0, 99))
def test_what_is_packed_comes_out_again(shapes: list[tuple[list[int], torch.dtype]], seed: int) -> None:
    torch.manual_seed(seed)
    weights = {f"layer.{k}": torch.randn(shape).mul(10).to(dtype) for k, (shape, dtype) in enumerate(shapes)}
    packed = pack(weights)
    found = dict(unpack(packed.buffer, packed.tensors))
    assert list(found) == list(weights)
    for name, tensor in weights.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)
    assert all(placed.start % ALIGNMENT == 0 for placed in packed.tensors)


def test_a_tensor_that_is_not_contiguous_is_packed_as_it_reads() -> None:
    tensor = torch.arange(12.0).reshape(3, 4).t()
    packed = pack({"turned": tensor})
    [(_, found)] = unpack(packed.buffer, packed.tensors)
    assert torch.equal(found, tensor)


def test_shared_weights_leave_no_file_behind() -> None:
    # vLLM comes along, which the other tests do without.
    from makespan.runtime.weight_transfer import shared

    before, files = set(os.listdir("/dev/shm")), set(os.listdir("/proc/self/fd"))
    with shared(pack({"a": torch.ones(1000)})) as where:
        with open(where["path"], "rb") as file:
            assert len(file.read()) == 4032
        assert set(os.listdir("/dev/shm")) == before
    assert set(os.listdir("/proc/self/fd")) == files
