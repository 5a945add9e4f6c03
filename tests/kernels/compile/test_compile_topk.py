"""What the launcher of topk compiles to for sm_90 and sm_80: no spills, few registers, 128-bit loads. No GPU needed."""

import pytest
import torch

pytest.importorskip("triton")

from kernels.topk_triton import launch
from tests.kernels.compile.compile_only import ARCHES, NEEDS_COMPILER, SLOW, Budget, hold

pytestmark = NEEDS_COMPILER
DTYPES = [torch.float32, *(pytest.param(dtype, marks=SLOW) for dtype in (torch.bfloat16, torch.float16))]
KIB = 1024


def call(dtype: torch.dtype, n: int, k: int):
    return lambda: launch(torch.zeros(4, n, dtype=dtype), k)


def budgets(maxima: Budget, groups: Budget, candidates: Budget) -> dict[str, Budget]:
    return {"maxima_kernel": maxima, "groups_kernel": groups, "candidates_kernel": candidates}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("arch", ARCHES)
def test_goal_shape(arch, dtype):
    """n = 131,072, k = 32: one block of 2,048 maxima, one of 2,048 candidates.

    Wide loads of the candidates too: their groups lie scattered, 16 adjacent columns or more each.
    """
    whole = 2 if dtype == torch.float32 else 1  # 128 threads take 2,048 places: 16 of 2 bytes are two loads
    merge = Budget(72, 4 * KIB if whole == 2 else KIB, barriers=8, wide_loads=2 * whole)  # 60, Triton 3.7.1
    # 1,024 elements a warp: 129 to 151 instructions, 233 to 240 of float32, Triton 3.7.1. Ordering the bits of each
    # element took 499, for which the loads had to wait.
    maxima = Budget(48, KIB, 1, 4 * whole, instructions=165 * whole)
    hold(budgets(maxima, merge, merge), arch, call(dtype, 131072, 32))


@pytest.mark.slow  # 20 to 45 CPU s each: tl.topk of 128
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("arch", ARCHES)
def test_most_elements_and_a_long_row(arch, dtype):
    """n = 2²⁰, k = 128: several blocks of maxima and of candidates, merged one after another."""
    if dtype == torch.float32:
        # 128 registers on sm_80, Triton 3.7.1: 4 programs of 128 threads a multiprocessor.
        merge = Budget(128, 16 * KIB, barriers=16, wide_loads=8)
    else:
        merge = Budget(96, 4 * KIB, barriers=16, wide_loads=4)
    hold(budgets(Budget(72, KIB, 1, merge.wide_loads), merge, merge), arch, call(dtype, 2**20, 128))


@pytest.mark.parametrize("arch", ARCHES)
@pytest.mark.parametrize(("n", "k"), [(4097, 8), (70, 3), (1, 1)])
def test_other_shapes_do_not_spill(n, k, arch):
    """Rows that begin at no multiple of 16 bytes: nothing wide to load but where n is one."""
    within = Budget(128, 16 * KIB, barriers=16)
    hold(budgets(within, within, within), arch, call(torch.float32, n, k))
