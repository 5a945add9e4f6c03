"""What the launcher of rowwise_adam_ compiles to for sm_90 and sm_80, called as the trainer calls it. No GPU needed."""

import pytest
import torch

pytest.importorskip("triton")

from kernels.rowwise_adam_triton import launch
from tests.kernels.adam_cases import step_of
from tests.kernels.compile.compile_only import ARCHES, NEEDS_COMPILER, SLOW, Budget, hold

pytestmark = NEEDS_COMPILER
RATES_KERNEL = Budget(32)


def call(d: int, scaled: bool, copies: bool, sphere: bool):
    """copies: a bfloat16 table and an average beside p;  sphere: W_dec, whose gradient is projected unless clipped."""
    p, m, v, g, average = (torch.zeros(4, d) for _ in range(5))
    scale, low = torch.ones(()) if scaled else None, torch.zeros(4, d, dtype=torch.bfloat16)
    kept = dict(low=low, average=average, decay=0.5) if copies else {}
    modes = dict(project=sphere and not scaled, renormalise=sphere, scale=scale)
    return lambda: launch(g, step_of(p, m, v, 1, **modes, **kept))


def row(d: int, copies: bool) -> Budget:
    """`low`, of 2 bytes an element, meets p's columns in shared memory. Loads: p, m, v, g and the average."""
    wide, tables = d > 4096, 5 if copies else 4
    # Registers: at most 62, and 116 at d = 8,192, Triton 3.7.1.
    return Budget(
        registers=120 if wide else 72,
        shared=16 * 1024 if copies else 512,
        barriers=32,
        wide_loads=(4 if wide else 2) * tables,
    )


@pytest.mark.parametrize(
    ("scaled", "copies"),
    [(False, False), (True, True), *(pytest.param(flag, not flag, marks=SLOW) for flag in (False, True))],
)
@pytest.mark.parametrize("d", [768, 2304, 4096, 8192])
@pytest.mark.parametrize("arch", ARCHES)
def test_realistic_widths(arch, d, scaled, copies):
    for sphere in (False, True):
        budgets = {"rates_kernel": RATES_KERNEL, "rowwise_adam_kernel": row(d, copies)}
        hold(budgets, arch, call(d, scaled, copies, sphere))


@pytest.mark.parametrize("arch", ARCHES)
@pytest.mark.parametrize("d", [1, 70, 2305])
def test_odd_widths_do_not_spill(d, arch):
    budget = Budget(128, shared=16 * 1024, barriers=32)  # 110 registers at 2,305
    hold({"rates_kernel": RATES_KERNEL, "rowwise_adam_kernel": budget}, arch, call(d, False, True, True))
