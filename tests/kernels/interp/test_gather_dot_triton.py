"""The Triton kernel of gather_dot on CPU tensors, by the interpreter, every access watched."""

import pytest
import torch

pytest.importorskip("triton")

from kernels import reference
from kernels.gather_dot_triton import launch
from kernels.inputs import accumulator
from tests.kernels.cases import CASES, DTYPES, TOLERANCE, Case, in_turn, make, relative_error
from tests.kernels.interp.sanitizer import ORDERS, sanitize, why_not

if why_not():
    pytest.skip(why_not(), allow_module_level=True)
pytestmark = pytest.mark.interp


def check(idx, G, W, order="forward"):
    acc = accumulator(torch.promote_types(G.dtype, W.dtype))
    with sanitize(order) as errors:
        out = launch(idx, G, W, acc)
    assert not errors, errors
    assert out.dtype == acc and (out[idx < 0] == 0).all()
    assert relative_error(out, reference.gather_dot(idx, G.double(), W.double())) < TOLERANCE[acc]
    return out


@pytest.mark.parametrize(("case", "dtype"), in_turn(CASES, DTYPES), ids=str)
def test_equals_reference(case, dtype):
    idx, _, W, G = make(case, dtype, index=torch.int32)
    check(idx, G, W)


@pytest.mark.parametrize(("case", "order"), in_turn(CASES, ORDERS[1:]), ids=str)
def test_any_program_order(case, order):
    idx, _, W, G = make(case)
    check(idx, G, W, order)


def test_views_and_mixed_dtypes():
    idx, _, W, G = make(Case(9, 4, 12, 5, pad=0.2, gap=3))
    for rows in (torch.cat([G, G], 1)[:, 5:17], torch.cat([G, G], 1)[:, ::2], G[:1].expand(9, -1)):
        check(idx, rows, W)
    check(idx.T.contiguous().T, G.bfloat16(), W)
    check(idx, G, W.double())


def test_padding_is_zero_whatever_its_row_holds():
    idx, _, W, G = make(Case(6, 4, 10, 5))
    idx[0], G[0] = -1, float("nan")
    idx[idx == 2], W[2] = -1, float("nan")
    with sanitize() as errors:
        out = launch(idx, G, W, torch.float32)
    assert not errors and out.isfinite().all() and (out[idx < 0] == 0).all()


def test_an_index_beyond_the_table_counts_as_padding():
    idx, _, W, G = make(Case(5, 4, 30, 9))
    beyond = idx.masked_fill(idx == idx[0, 0], 9)
    with sanitize() as errors:
        out = launch(beyond, G, W, torch.float32)
    assert not errors
    assert torch.equal(out, launch(beyond.masked_fill(beyond == 9, -1), G, W, torch.float32))


def test_offsets_beyond_32_bits():
    """Rows of G and W that begin at element 2³¹: 4 GiB of address space each, three pages touched."""
    idx, _, W, G = make(Case(3, 2, 40, 3), torch.float16, index=torch.int32)
    idx[0], idx[2] = torch.tensor([2, 1]), torch.tensor([0, 2])
    far = [torch.empty(2**31 + 40, dtype=torch.float16).as_strided((3, 40), (2**30, 1)) for _ in range(2)]
    for strided, values in zip(far, (G, W), strict=True):
        strided.copy_(values)
    check(idx, *far)
