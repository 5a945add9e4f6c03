"""What segment_sum_adam_'s launcher compiles to for sm_90 and sm_80, called as the trainer calls it. No GPU needed."""

import pytest
import torch

pytest.importorskip("triton")

from kernels.plan import plan
from kernels.segment_sum_adam_triton import launch
from tests.kernels.adam_cases import step_of
from tests.kernels.compile.compile_only import ARCHES, NEEDS_COMPILER, SLOW, Budget, hold

pytestmark = NEEDS_COMPILER


def call(dtype: torch.dtype, d: int, scaled: bool, copies: bool, sphere: bool = False, n: int = 64):
    """copies: a bfloat16 table and an average beside p. The trainer steps W_enc so, which is on no sphere."""
    idx, coef = torch.zeros(8, 32, dtype=torch.int32), torch.zeros(8, 32)
    p, m, v, average = (torch.zeros(n, d) for _ in range(4))
    X, low, scale = torch.zeros(8, d, dtype=dtype), torch.zeros(n, d, dtype=torch.bfloat16), torch.ones(())
    kept = dict(low=low, average=average, decay=0.5) if copies else {}
    modes = dict(project=sphere, renormalise=sphere, scale=scale if scaled else None)
    return lambda: launch(plan(idx, n), coef, X, step_of(p, m, v, 1, **modes, **kept))


def budgets(registers: int, shared: int, wide_loads: int = 0) -> dict[str, Budget]:
    step = Budget(registers, shared, barriers=32, wide_loads=wide_loads)
    items = {"count_kernel": Budget(24), "fill_kernel": Budget(32, shared=64, barriers=2)}
    return {**items, "rates_kernel": Budget(32), "step_items_kernel": step, "step_long_kernel": step}


def row(d: int, copies: bool) -> dict[str, Budget]:
    # Registers: at most 70, and 116 at d = 8,192, Triton 3.7.1.  Rows of 2 bytes meet p's in shared memory.
    # Loads: 8 of X (4 where a thread has twice the columns: 8 again), and of p, m, v and the average two (four) each.
    wide = d > 4096
    loads = 8 + (4 if wide else 2) * (4 if copies else 3)
    return budgets(120 if wide else 72, 16 * 1024, loads)


# Every pair of values of dtype, scaled and copies is here; the other four triples are slow.
PAIRS = [(torch.bfloat16, True, True), (torch.bfloat16, False, False)]
PAIRS += [(torch.float32, True, False), (torch.float32, False, True)]
REST = [pytest.param(dtype, scaled, not copies, marks=SLOW) for dtype, scaled, copies in PAIRS]


@pytest.mark.parametrize(("dtype", "scaled", "copies"), PAIRS + REST, ids=str)
@pytest.mark.parametrize("d", [768, 4096, 8192])
@pytest.mark.parametrize("arch", ARCHES)
def test_as_the_trainer_steps_the_encoder(arch, d, dtype, scaled, copies):
    hold(row(d, copies), arch, call(dtype, d, scaled, copies))


@pytest.mark.parametrize("d", [768, 4096, 8192])
@pytest.mark.parametrize("arch", ARCHES)
def test_on_the_sphere_and_from_float16(arch, d):
    hold(row(d, True), arch, call(torch.float16, d, True, True, sphere=True))


@pytest.mark.parametrize("arch", ARCHES)
@pytest.mark.parametrize(("d", "n"), [(70, 64), (1, 1)])
def test_odd_shapes_do_not_spill(d, n, arch):
    hold(budgets(72, 2 * 1024), arch, call(torch.bfloat16, d, True, True, sphere=True, n=n))
