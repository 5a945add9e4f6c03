"""What the launchers of segment_sum and segment_sum_dot compile to for sm_90 and sm_80. No GPU needed."""

import pytest
import torch

pytest.importorskip("triton")

from kernels.inputs import accumulator
from kernels.plan import plan
from kernels.segment_sum_triton import launch
from tests.kernels.compile.compile_only import ARCHES, NEEDS_COMPILER, Budget, hold

pytestmark = NEEDS_COMPILER
DTYPES = [torch.bfloat16, torch.float16, torch.float32, torch.float64]


def call(dtype: torch.dtype, d: int, dots: bool, rows: int = 64):
    idx, coef = torch.zeros(8, 32, dtype=torch.int32), torch.zeros(8, 32, dtype=accumulator(dtype))
    X, W = torch.zeros(8, d, dtype=dtype), torch.zeros(rows, d, dtype=dtype) if dots else None
    return lambda: launch(plan(idx, rows), coef, X, W)


def budgets(dots: bool, registers: int, items_loads: int = 0, long_loads: int = 0) -> dict[str, Budget]:
    found = {
        "count_kernel": Budget(24),  # neighbours of int32, one a thread: nothing wide to load
        "fill_kernel": Budget(32, shared=64, barriers=2),  # its 4 warps agree on a maximum
        "items_kernel": Budget(registers, wide_loads=items_loads),
        "long_kernel": Budget(96, wide_loads=long_loads),
    }
    return found | ({"dots_kernel": Budget(32)} if dots else {})  # an entry a thread, as its `_dots` says


@pytest.mark.parametrize("arch", ARCHES)
@pytest.mark.parametrize("dots", [False, True])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_realistic_widths(dtype, dots, arch):
    # Of items_kernel: 55 to 64 registers, of float64 76, Triton 3.7.1.  T rows of X, with dots also one of W.
    within = budgets(dots, 80 if dtype == torch.float64 else 72, 5 if dots else 8, 8)
    for d in (768, 2304, 4096):
        hold(within, arch, call(dtype, d, dots))


@pytest.mark.parametrize("arch", ARCHES)
@pytest.mark.parametrize(("d", "rows"), [(70, 64), (1, 64), (64, 1), (1, 1)])
def test_odd_shapes_do_not_spill(d, rows, arch):
    hold(budgets(True, 96), arch, call(torch.bfloat16, d, True, rows))
