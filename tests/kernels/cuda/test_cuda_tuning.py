"""Tiles worth measuring on a CUDA device: the results of the reasoned tile, and the same bits twice."""

import pytest
import torch

pytest.importorskip("triton")

from benchmarks.kernels.candidates import candidates
from benchmarks.kernels.case import Shape
from benchmarks.kernels.tuning_cases import Case
from kernels.tuning import KERNELS, using
from tests.kernels.cases import relative_error

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
OUT_OF_PLACE = [kernel for kernel in KERNELS if "adam" not in kernel]


@pytest.mark.parametrize("kernel", OUT_OF_PLACE)
def test_tiles_agree(kernel):
    """Every fourth tile: the interpreter has been through all of them, but it knows no warps."""
    case = Case(kernel, torch.bfloat16, Shape(d=768, n=4096, k=32, B=512))
    call, (inputs, *_) = case.work()
    reasoned, *others = candidates(kernel, torch.bfloat16, *case.sizes)
    with using(kernel, reasoned):
        expected = outputs(call(inputs))
    for tile in others[::4]:
        with using(kernel, tile):
            first, again = outputs(call(inputs)), outputs(call(inputs))
        assert all(map(torch.equal, first, again)), tile
        for out, other in zip(first, expected, strict=True):
            # Sums in another order, of bfloat16 a rounding apart; topk has one answer.
            limit = 5e-3 if out.dtype == torch.bfloat16 else 2e-6
            assert torch.equal(out, other) if kernel == "topk" else relative_error(out, other) < limit, tile


def outputs(of) -> list[torch.Tensor]:
    return [out for out in (of if isinstance(of, tuple) else (of,)) if out is not None]
