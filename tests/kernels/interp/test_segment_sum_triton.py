"""The Triton kernels of segment_sum and segment_sum_dot on CPU tensors, by the interpreter, every access watched."""

import pytest
import torch

pytest.importorskip("triton")

from kernels import reference
from kernels.plan import plan
from kernels.segment_sum_triton import launch, tile
from kernels.tuning import using
from tests.kernels.cases import CASES, DTYPES, TOLERANCE, Case, in_turn, make, relative_error
from tests.kernels.interp.sanitizer import ORDERS, sanitize, why_not

if why_not():
    pytest.skip(why_not(), allow_module_level=True)
pytestmark = pytest.mark.interp

LONG = Case(50, 8, 270, 4, pad=0.1, zipf=True)  # two slabs of columns, latents of up to seven items


def check(p, coef, X, W=None, order="forward"):
    with sanitize(order) as errors:
        sums, dots = launch(p, coef, X, W)
    assert not errors, errors
    exact = reference.segment_sum(p.idx, coef.double(), X.double(), p.n)
    assert sums.dtype == (torch.float64 if X.dtype == torch.float64 else torch.float32)
    assert relative_error(sums, exact) < TOLERANCE[sums.dtype]
    if W is not None:
        assert (dots[p.idx < 0] == 0).all()
        assert (
            relative_error(dots, reference.gather_dot(p.idx, X.double(), W.double())) < TOLERANCE[dots.dtype]
        )
    return sums, dots


@pytest.mark.parametrize(("case", "dtype", "with_dots"), in_turn(CASES, DTYPES, [False, True]), ids=str)
def test_equals_reference(case, dtype, with_dots):
    idx, coef, W, X = make(case, dtype, index=torch.int32)
    check(plan(idx, case.n), coef, X, W if with_dots else None)


@pytest.mark.parametrize(("case", "order"), in_turn([*CASES, LONG], ORDERS[1:]), ids=str)
def test_any_program_order(case, order):
    idx, coef, W, X = make(case)
    p = plan(idx, case.n)
    assert all(map(torch.equal, check(p, coef, X, W, order), launch(p, coef, X, W)))


@pytest.mark.parametrize(("BD", "ITEMS"), in_turn([64, 128], [1, 3]))
def test_bitwise_equal_however_the_work_is_shared_out(ITEMS, BD):
    """Only the rows in flight, T, and the columns of a partial dot may change the order of a sum."""
    idx, coef, W, X = make(LONG)
    p = plan(idx, LONG.n)
    before = launch(p, coef, X, W)[0]
    _, T, *_ = tile(LONG.d, X.dtype, True)
    with using("segment_sum_dot", (ITEMS, T, BD, 1)):
        assert torch.equal(check(p, coef, X, W)[0], before)


def test_views_of_rows_and_coefficients():
    idx, coef, W, X = make(Case(9, 4, 12, 5, pad=0.2, gap=3))
    p = plan(idx, 5)
    for rows in (torch.cat([X, X], 1)[:, 5:17], torch.cat([X, X], 1)[:, ::2], X[:1].expand(9, -1)):
        check(p, coef, rows, W)
    check(p, coef.T.contiguous().T, torch.ones(()).expand(9, 12), W)
    check(p, coef, torch.ones(9, 1), None)


def test_mixed_dtypes():
    idx, coef, W, X = make(Case(9, 4, 12, 5, pad=0.2))
    p = plan(idx, 5)
    check(p, coef.bfloat16(), X, W.bfloat16())
    sums, dots = check(p, coef, X, W.double())
    assert (sums.dtype, dots.dtype) == (torch.float32, torch.float64)


def test_padding_ignores_its_coefficient():
    idx, coef, W, X = make(Case(8, 4, 30, 9, pad=0.5))
    idx[0] = -1
    coef[idx < 0], X[0] = float("nan"), float("nan")
    sums, dots = launch(plan(idx, 9), coef, X, W)
    assert sums.isfinite().all() and dots.isfinite().all()


def test_offsets_beyond_32_bits():
    """Rows of X and W that begin at element 2³¹: 4 GiB of address space each, three pages touched."""
    idx, coef, W, X = make(Case(3, 2, 40, 3), torch.float16, index=torch.int32)
    idx[0] = torch.tensor([2, 1])
    far = [torch.empty(2**31 + 40, dtype=torch.float16).as_strided((3, 40), (2**30, 1)) for _ in range(2)]
    for strided, values in zip(far, (X, W), strict=True):
        strided.copy_(values)
    check(plan(idx, 3), coef, *far)
