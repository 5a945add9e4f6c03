"""The Triton kernels of topk on CPU tensors, by the interpreter, every access watched."""

import pytest
import torch

pytest.importorskip("triton")

from kernels.topk_triton import launch
from kernels.tuning import using
from tests.kernels.cases import in_turn
from tests.kernels.interp.sanitizer import ORDERS, sanitize, why_not
from tests.kernels.topk_cases import HARD, SHAPES, hard, same, scores

if why_not():
    pytest.skip(why_not(), allow_module_level=True)
pytestmark = pytest.mark.interp

DTYPES = [torch.float32, torch.bfloat16, torch.float16]


@pytest.fixture(autouse=True)
def small_tiles():
    """The interpreter sorts 256 keys in 0.1 s: few columns a group, and blocks that several passes of a loop fill."""
    with using("topk", (4, 16, 16, 4)):
        yield


def check(z, k, order="forward"):
    with sanitize(order) as errors:
        values, idx = launch(z, k)
    assert not errors, errors
    assert values.dtype == z.dtype and idx.dtype == torch.int32
    same(z, values, idx, k)


@pytest.mark.parametrize(("shape", "dtype"), in_turn(SHAPES, DTYPES), ids=str)
def test_equals_a_stable_sort(shape, dtype):
    B, n, k = shape
    check(scores(min(B, 2), n, dtype), k)


@pytest.mark.parametrize(
    ("shape", "order"), in_turn([(1, 1, 1), (3, 33, 33), (4, 64, 1), (3, 70, 5)], ORDERS), ids=str
)
def test_any_program_order(shape, order):
    B, n, k = shape
    check(scores(B, n, torch.bfloat16), k, order)


@pytest.mark.parametrize(("what", "order"), in_turn(HARD, ["reverse", "shuffle"]))
def test_hard_rows_in_any_program_order(what, order):
    check(hard(what, 37), 5, order)


@pytest.mark.parametrize(("what", "dtype"), in_turn(HARD, DTYPES), ids=str)
def test_hard_rows(what, dtype):
    check(hard(what, 37, dtype), 5)


def test_wide_blocks():
    """One block holds all groups, and all candidates; more groups than a power of two."""
    with using("topk", (16, 64, 256, 4)):
        check(scores(1, 700, torch.bfloat16), 6)


def test_views():
    check(scores(3, 140)[:, 7:47], 3)
    check(scores(40, 2).T, 3)
    assert [tuple(out.shape) for out in launch(torch.zeros(0, 7), 3)] == [(0, 3)] * 2


def test_offsets_beyond_32_bits():
    """Row 2 begins at element 2³¹: 4 GiB of address space, three pages touched."""
    z = torch.empty(2**31 + 40, dtype=torch.float16).as_strided((3, 40), (2**30, 1))
    z.copy_(scores(3, 40))
    check(z, 2)
