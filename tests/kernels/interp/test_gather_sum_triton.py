"""The Triton kernel of gather_sum on CPU tensors, by the interpreter, every access watched."""

import pytest
import torch

pytest.importorskip("triton")

from kernels import reference
from kernels.gather_sum_triton import launch
from tests.kernels.cases import CASES, DTYPES, TOLERANCE, Case, in_turn, make, relative_error
from tests.kernels.interp.sanitizer import ORDERS, sanitize, why_not

if why_not():
    pytest.skip(why_not(), allow_module_level=True)
pytestmark = pytest.mark.interp

INTERPRETED = TOLERANCE | {torch.bfloat16: 1e-2}  # the interpreter truncates to bfloat16 where a GPU rounds


def check(idx, coef, W, order="forward", bias=None):
    with sanitize(order) as errors:
        out = launch(idx, coef, W, bias)
    assert not errors, errors
    assert out.dtype == W.dtype
    exact = reference.gather_sum(idx, coef.double(), W.double(), None if bias is None else bias.double())
    assert relative_error(out, exact) < INTERPRETED[W.dtype]


@pytest.mark.parametrize(("case", "dtype"), in_turn(CASES, DTYPES), ids=str)
def test_equals_reference(case, dtype):
    idx, coef, W, _ = make(case, dtype, index=torch.int32)
    check(idx, coef, W)


@pytest.mark.parametrize(("case", "order"), in_turn(CASES, ORDERS[1:]), ids=str)
def test_any_program_order(case, order):
    check(*make(case)[:3], order)


def test_views_of_indices_and_coefficients():
    idx, coef, W, _ = make(Case(4, 6, 20, 9))
    check(idx.T, coef.T, W)
    check(idx[1:, 1:4].clamp(max=6), coef[1:, 1:4], W[2:, 3:14])
    check(idx, coef.bfloat16(), W)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_bias(case):
    idx, coef, W, _ = make(case, torch.bfloat16)
    bias = torch.linspace(-3, 4, 2 * case.d)
    check(idx, coef, W, bias=bias[::2])
    check(idx, coef, W, bias=bias[: case.d].bfloat16())


def test_padding_ignores_its_coefficient():
    idx, coef, W, _ = make(Case(5, 4, 30, 9, pad=0.5))
    coef[idx < 0] = float("nan")
    check(idx, coef, W)


def test_an_index_beyond_the_table_counts_as_padding():
    idx, coef, W, _ = make(Case(5, 4, 30, 9))
    beyond = idx.masked_fill(idx == idx[0, 0], 9)
    with sanitize() as errors:
        out = launch(beyond, coef, W, None)
    assert not errors
    assert torch.equal(out, launch(beyond.masked_fill(beyond == 9, -1), coef, W, None))


def test_offsets_beyond_32_bits():
    """Row 2 begins at element 2³¹: 4 GiB of address space, three pages touched."""
    W = torch.empty(2**31 + 40, dtype=torch.float16).as_strided((3, 40), (2**30, 1))
    idx, coef, values, _ = make(Case(4, 2, 40, 3), torch.float16, index=torch.int32)
    idx[0] = torch.tensor([2, 1])
    W.copy_(values)
    check(idx, coef, W)


def test_an_output_beyond_32_bits():
    """The last two rows of an output of 2³¹ + 512 elements, 4 GiB of address space of which their pages are touched."""
    B, d = 2**22 + 1, 2**9
    idx, coef, W, _ = make(Case(2, 1, d, 3), torch.float16, index=torch.int32)
    many = [torch.zeros(B, 1, dtype=table.dtype) for table in (idx, coef)]
    for table, rows in zip(many, (idx, coef), strict=True):
        table[-2:] = rows
    with sanitize(last=2) as errors:
        out = launch(*many, W, None)
    assert not errors
    assert torch.equal(out[-2:], launch(idx, coef, W, None))
