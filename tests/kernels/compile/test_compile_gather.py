"""What the launchers of gather_dot and gather_sum_mse compile to for sm_90 and sm_80. No GPU needed."""

import pytest
import torch

pytest.importorskip("triton")

from benchmarks.kernels import read_rows as kernel_read_rows
from kernels import gather_dot_triton, gather_sum_mse_triton
from kernels.inputs import accumulator
from tests.kernels.compile.compile_only import ARCHES, NEEDS_COMPILER, Budget, hold

pytestmark = NEEDS_COMPILER
DTYPES = [torch.bfloat16, torch.float16, torch.float32, torch.float64]


def gather_dot(dtype: torch.dtype, d: int, index=torch.int32, n: int = 64):
    idx = torch.zeros(8, 32, dtype=index)
    G, W = torch.zeros(8, d, dtype=dtype), torch.zeros(n, d, dtype=dtype)
    return lambda: gather_dot_triton.launch(idx, G, W, accumulator(dtype))


def gather_sum_mse(dtype: torch.dtype, d: int, index=torch.int32, n: int = 64, bias: bool = True):
    idx, coef = torch.zeros(8, 32, dtype=index), torch.zeros(8, 32)
    W, x, b = torch.zeros(n, d, dtype=dtype), torch.zeros(8, d, dtype=dtype), torch.zeros(d) if bias else None
    return lambda: gather_sum_mse_triton.launch(idx, coef, W, x, b, accumulator(dtype))


# At most 66 registers, Triton 3.7.1; one warp needs no barrier where it passes sums through shared memory.
DOT, MSE = Budget(72, shared=512, wide_loads=5), Budget(72, wide_loads=9)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("arch", ARCHES)
def test_realistic_widths(arch, dtype):
    for index in (torch.int32, torch.int64):
        for d in (768, 2304, 4096):
            hold({"gather_dot_kernel": DOT}, arch, gather_dot(dtype, d, index))
            hold({"gather_sum_mse_kernel": MSE}, arch, gather_sum_mse(dtype, d, index))


@pytest.mark.parametrize("arch", ARCHES)
@pytest.mark.parametrize(("d", "n"), [(70, 64), (1, 64), (1, 1)])
def test_odd_shapes_do_not_spill(d, n, arch):
    hold({"gather_dot_kernel": Budget(96, shared=1024)}, arch, gather_dot(torch.bfloat16, d, n=n))
    mse = {"gather_sum_mse_kernel": Budget(96, shared=1024, barriers=2)}
    for bias in (False, True):
        hold(mse, arch, gather_sum_mse(torch.bfloat16, d, n=n, bias=bias))


@pytest.mark.parametrize("arch", ARCHES)
@pytest.mark.parametrize("tile", kernel_read_rows.TILES)
def test_the_gathers_ceiling_has_its_rows_in_flight(tile, arch):
    out, W = torch.zeros(8, 768), torch.zeros(64, 768, dtype=torch.bfloat16)
    loads = tile[0] * tile[1] * 2 // 512  # 32 lanes of 16 bytes a load
    budget = {"read_rows_kernel": Budget(128, wide_loads=loads)}
    hold(budget, arch, lambda: kernel_read_rows.launch(out, W, 32, tile))
