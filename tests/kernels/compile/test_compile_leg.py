"""What the launcher of gather_sum compiles to for sm_90 and sm_80: no spills, few registers, 128-bit loads. No GPU."""

import pytest
import torch

pytest.importorskip("triton")

import triton

from kernels.gather_sum_triton import launch
from kernels.inputs import accumulator
from tests.kernels.compile.compile_only import ARCHES, NEEDS_COMPILER, Budget, compile_only, hold, resources

pytestmark = NEEDS_COMPILER
NARROW, EXACT = [torch.bfloat16, torch.float16], [torch.float32, torch.float64]


def call(dtype: torch.dtype, d: int, index=torch.int32, bias: bool = True, n: int = 64):
    idx, coef = torch.zeros(8, 32, dtype=index), torch.zeros(8, 32, dtype=accumulator(dtype))
    W, b = torch.zeros(n, d, dtype=dtype), torch.zeros(d) if bias else None
    return lambda: launch(idx, coef, W, b)


@pytest.mark.parametrize("arch", ARCHES)
@pytest.mark.parametrize("dtype", NARROW + EXACT, ids=str)
def test_gather_sum(arch, dtype):
    # 57 to 64 registers, Triton 3.7.1. 4 KiB of W: 8 loads of 16 bytes in each of 32 lanes.
    for index in (torch.int32, torch.int64):
        for d in (768, 4096):
            for bias in (False, True):
                hold({"gather_sum_kernel": Budget(72, wide_loads=8)}, arch, call(dtype, d, index, bias))


@pytest.mark.parametrize("arch", ARCHES)
@pytest.mark.parametrize(("d", "n"), [(70, 64), (1, 64), (1, 1)])
def test_odd_shapes_do_not_spill(d, n, arch):
    hold({"gather_sum_kernel": Budget(96, shared=1024)}, arch, call(torch.bfloat16, d, n=n))


def test_sizes_of_one_compile():
    """Triton makes a constant of every integer argument that is 1."""
    with compile_only(90) as kernels:
        launch(torch.zeros(1, 1, dtype=torch.int32), torch.zeros(1, 1), torch.zeros(1, 1), None)
    assert len(kernels) == 1


def test_range_check_compiles_in_debug_mode(monkeypatch):
    monkeypatch.setattr(triton.knobs.runtime, "debug", True)  # what TRITON_DEBUG=1 sets at import
    with compile_only(90) as kernels:
        launch(torch.zeros(8, 32, dtype=torch.int32), torch.zeros(8, 32), torch.zeros(64, 96), None)
    assert "idx holds an index >= n" in kernels[0].asm["ttir"]


def test_a_budget_too_small_is_refused(tmp_path):
    """Each number of `hold` can fail: one below what the kernel has."""
    with compile_only(90) as kernels:
        call(torch.bfloat16, 768)()
    of = resources(kernels[0], tmp_path)
    within = Budget(of.registers, of.shared, of.barriers, of.wide_loads)
    hold({"gather_sum_kernel": within}, 90, call(torch.bfloat16, 768))
    for change in (
        dict(registers=of.registers - 1),
        dict(shared=of.shared - 1),
        dict(barriers=of.barriers - 1),
        dict(wide_loads=of.wide_loads + 1),
    ):
        with pytest.raises(AssertionError, match="gather_sum_kernel"):
            hold({"gather_sum_kernel": within._replace(**change)}, 90, call(torch.bfloat16, 768))
