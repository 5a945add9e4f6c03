"""The Triton kernel of gather_sum_mse on CPU tensors, by the interpreter, every access watched."""

import pytest
import torch

pytest.importorskip("triton")

from kernels import reference
from kernels.gather_sum_mse_triton import launch
from kernels.inputs import accumulator
from tests.kernels.cases import CASES, DTYPES, TOLERANCE, Case, in_turn, make, relative_error
from tests.kernels.interp.sanitizer import ORDERS, sanitize, why_not

if why_not():
    pytest.skip(why_not(), allow_module_level=True)
pytestmark = pytest.mark.interp


def check(idx, coef, W, x, bias=None, order="forward"):
    acc = accumulator(torch.promote_types(W.dtype, x.dtype))
    with sanitize(order) as errors:
        outs = launch(idx, coef, W, x, bias, acc)
    assert not errors, errors
    exact = reference.gather_sum_mse(
        idx, coef.double(), W.double(), x.double(), None if bias is None else bias.double()
    )
    for out, expected in zip(outs, exact, strict=True):
        assert out.dtype == acc and relative_error(out, expected) < TOLERANCE[acc]


@pytest.mark.parametrize(("case", "dtype", "with_bias"), in_turn(CASES, DTYPES, [False, True]), ids=str)
def test_equals_reference(case, dtype, with_bias):
    idx, coef, W, x = make(case, dtype, index=torch.int32)
    check(idx, coef, W, x, torch.linspace(-3, 4, case.d, dtype=coef.dtype) if with_bias else None)


@pytest.mark.parametrize(("case", "order"), in_turn(CASES, ORDERS[1:]), ids=str)
def test_any_program_order(case, order):
    check(*make(case), order=order)


def test_views_and_mixed_dtypes():
    idx, coef, W, x = make(Case(9, 4, 300, 5, pad=0.2, gap=3))
    bias = torch.linspace(-3, 4, 600)
    for rows in (torch.cat([x, x], 1)[:, 5:305], torch.cat([x, x], 1)[:, ::2], x[:1].expand(9, -1)):
        check(idx, coef, W, rows, bias[::2])
    check(idx.T.contiguous().T, coef.T.contiguous().T, W.bfloat16(), x)
    check(idx, coef, W, x.double(), bias[:300].half())


def test_no_columns():
    check(*make(Case(4, 3, 0, 5)))


def test_offsets_beyond_32_bits():
    """Rows of W and x that begin at element 2³¹: 4 GiB of address space each, three pages touched."""
    idx, coef, W, x = make(Case(3, 2, 40, 3), torch.float16, index=torch.int32)
    idx[0] = torch.tensor([2, 1])
    far = [torch.empty(2**31 + 40, dtype=torch.float16).as_strided((3, 40), (2**30, 1)) for _ in range(2)]
    for strided, values in zip(far, (W, x), strict=True):
        strided.copy_(values)
    check(idx, coef, *far)
