"""The Triton kernel of rowwise_adam_ on CPU tensors, by the interpreter, every access watched."""

import pytest
import torch

pytest.importorskip("triton")

from kernels.adam_step import AdamStep
from kernels.rowwise_adam_triton import launch
from tests.kernels.adam_cases import MODES, check, scalar, step_of, tables
from tests.kernels.cases import CASES, in_turn
from tests.kernels.interp.sanitizer import ORDERS, sanitize, why_not

if why_not():
    pytest.skip(why_not(), allow_module_level=True)
pytestmark = pytest.mark.interp


def watched(g, order="forward"):
    def call(adam):
        with sanitize(order) as errors:
            squared = launch(g, adam)
        assert not errors, errors
        return squared

    return call


SHAPES = [(1, 2), (7, 33), (3, 300), (6, 16)]


@pytest.mark.parametrize(("mode", "shape", "t"), in_turn(MODES + MODES, SHAPES, [1, 1000]), ids=str)
def test_equals_reference(mode, shape, t):
    n, d = shape
    *before, g = tables(n, d)
    check(watched(g), before, g, t, **mode)
    check(watched(g), before, g, t, **mode, scale=0.25, low=torch.empty(n, d, dtype=torch.bfloat16))


@pytest.mark.parametrize(("case", "order"), in_turn([c for c in CASES if c.d > 1], ORDERS), ids=str)
def test_any_program_order(case, order):
    """The tables of the cases: their other sizes are the gradient's, which is given here."""
    *before, g = tables(case.n, case.d)
    low = torch.empty(case.n, case.d, dtype=torch.float16)
    check(watched(g, order), before, g, 5, **MODES[3], low=low, scale=0.5)


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9999])
def test_bias_correction(beta):
    """At t = 1 it undoes 1 − β, whatever β is: the step is lr·sign(g)."""
    p, _, _, g = tables(3, 5)
    before, zero = p.clone(), torch.zeros(3, 5)
    launch(g, AdamStep(p, zero, zero.clone(), scalar(1), lr=0.25, beta1=beta, beta2=beta, eps=1e-30))
    torch.testing.assert_close(before - p, 0.25 * g.sign(), rtol=1e-6, atol=1e-6)


def test_no_rows_and_no_columns():
    for n, d in ((0, 4), (3, 0)):
        *empty, g = [torch.zeros(n, d) for _ in range(4)]
        assert torch.equal(launch(g, step_of(*empty, 1, **MODES[3])), torch.zeros(n))


def test_offsets_beyond_32_bits():
    """The last two rows of tables of 2³¹ + 2,048 elements each: their pages are the only ones touched."""
    n, d = 2**20 + 1, 2**11
    *before, g = tables(2, d)
    far = [torch.empty(n, d) for _ in range(4)]
    for table, rows in zip(far, (*before, g), strict=True):
        table[-2:] = rows

    def call(adam):
        p, m, v, gradient = far
        with sanitize(last=2) as errors:
            squared = launch(gradient, adam._replace(p=p, m=m, v=v))[-2:]
        assert not errors, errors
        for near, table in zip((adam.p, adam.m, adam.v), far, strict=False):
            near.copy_(table[-2:])
        return squared

    check(call, before, g, 5, **MODES[3])
