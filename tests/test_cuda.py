"""The kernels on a CUDA device: same cases, same reference, bitwise repeatable, never waiting for the GPU."""

import contextlib

import pytest
import torch

from kernels import reference
from kernels.gather_dot import gather_dot
from kernels.gather_sum import gather_sum
from kernels.plan import plan
from kernels.segment_sum import segment_sum
from tests.kernel_cases import CASES, DTYPES, TOLERANCE, Case, make, relative_error

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@contextlib.contextmanager
def no_waiting():
    """Raise where torch would wait for the GPU."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_equals_reference(case, dtype):
    idx, coef, W, X = make(case, dtype, torch.int32, "cuda")
    with no_waiting():
        out = gather_sum(idx, coef, W)
        dots = gather_dot(idx, X, W)
        sums = segment_sum(plan(idx, case.n), coef, X)
    exact = reference.gather_sum(idx, coef.double(), W.double())
    assert relative_error(out, exact) < TOLERANCE[dtype]
    assert relative_error(dots, reference.gather_dot(idx, X.double(), W.double())) < TOLERANCE[coef.dtype]
    exact = reference.segment_sum(idx, coef.double(), X.double(), case.n)
    assert relative_error(sums, exact) < TOLERANCE[coef.dtype]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_two_runs_are_bitwise_equal(dtype):
    case = Case(4096, 32, 768, 4096, zipf=True, pad=0.1)
    idx, coef, W, X = make(case, dtype, torch.int32, "cuda")

    def step():
        return gather_sum(idx, coef, W), gather_dot(idx, X, W), segment_sum(plan(idx, case.n), coef, X)

    for first, second in zip(step(), step(), strict=True):
        assert torch.equal(first, second)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradients_equal_reference(case):
    idx, coef, W, _ = make(case, device="cuda")
    coef, W = coef.requires_grad_(), W.detach().requires_grad_()
    gather_sum(idx, coef, W).sum().backward()
    exact_coef, exact_W = coef.detach().double().requires_grad_(), W.detach().double().requires_grad_()
    reference.gather_sum(idx, exact_coef, exact_W).sum().backward()
    assert relative_error(coef.grad, exact_coef.grad) < 1e-6
    assert relative_error(W.grad, exact_W.grad) < 1e-6


def test_an_index_beyond_the_table_counts_as_padding():
    idx, coef, W, X = make(Case(5, 4, 30, 9), device="cuda")
    beyond = idx.masked_fill(idx == idx[0, 0], 9)
    padded = idx.masked_fill(idx == idx[0, 0], -1)
    assert torch.equal(gather_sum(beyond, coef, W), gather_sum(padded, coef, W))
    assert torch.equal(gather_dot(beyond, X, W), gather_dot(padded, X, W))
    assert torch.equal(segment_sum(plan(beyond, 9), coef, X), segment_sum(plan(padded, 9), coef, X))
