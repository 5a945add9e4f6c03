"""The kernels on a CUDA device: same cases, same reference, bitwise repeatable, never waiting for the GPU."""

import contextlib

import pytest
import torch

from kernels import reference
from kernels.gather_dot import gather_dot
from kernels.gather_sum import gather_sum
from kernels.gather_sum_mse import gather_sum_mse
from kernels.plan import plan
from kernels.segment_sum import segment_sum
from kernels.segment_sum_dot import segment_sum_dot
from tests.kernels.cases import CASES, DTYPES, TOLERANCE, Case, make, relative_error

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


def passes(idx, coef, W, X) -> dict[str, torch.Tensor]:
    """Every output of every kernel, X standing for what is decoded and for gradients alike."""
    bias, p = X.new_ones(X.shape[1]), plan(idx, len(W))
    outs = dict(gather_sum=gather_sum(idx, coef, W, bias), gather_dot=gather_dot(idx, X, W))
    outs["error"], outs["squared"] = gather_sum_mse(idx, coef, W, X, bias)
    outs["segment_sum"] = segment_sum(p, coef, X)
    outs["sums"], outs["dots"] = segment_sum_dot(p, coef, X, W)
    return outs


def exact_passes(idx, coef, W, X) -> dict[str, torch.Tensor]:
    coef, W, X = coef.double(), W.double(), X.double()
    bias = X.new_ones(X.shape[1])
    outs = dict(
        gather_sum=reference.gather_sum(idx, coef, W, bias), gather_dot=reference.gather_dot(idx, X, W)
    )
    outs["error"], outs["squared"] = reference.gather_sum_mse(idx, coef, W, X, bias)
    outs["segment_sum"] = outs["sums"] = reference.segment_sum(idx, coef, X, len(W))
    outs["dots"] = outs["gather_dot"]
    return outs


def check(inputs, outs) -> None:
    for name, exact in exact_passes(*inputs).items():
        assert relative_error(outs[name], exact) < TOLERANCE[outs[name].dtype], name


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_equals_reference(case, dtype):
    inputs = make(case, dtype, torch.int32, "cuda")
    with no_waiting():
        outs = passes(*inputs)
    check(inputs, outs)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_two_runs_are_bitwise_equal(dtype):
    inputs = make(Case(4096, 32, 768, 4096, zipf=True, pad=0.1), dtype, torch.int32, "cuda")
    first, second = passes(*inputs), passes(*inputs)
    for name in first:
        assert torch.equal(first[name], second[name]), name
    check(inputs, first)


def test_a_captured_graph_follows_its_inputs():
    """Capture forbids waiting; the replay must see new indices, whose longest latents are others."""
    case = Case(512, 16, 300, 64, zipf=True, pad=0.1)
    idx, coef, W, X = make(case, index=torch.int32, device="cuda")
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        passes(idx, coef, W, X)  # compiles
    side.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outs = passes(idx, coef, W, X)
    idx.copy_(torch.where(idx < 0, idx, case.n - 1 - idx))
    X.mul_(-0.5)
    graph.replay()
    torch.cuda.synchronize()
    check((idx, coef, W, X), outs)


def test_tensors_of_more_than_2_31_elements():
    """W and X of 2³¹ + 768·2¹⁰ elements each, bfloat16: 4 GiB each, 8 GiB of float32 weight gradient."""
    d = 768
    n = B = 2**31 // d + 2**10
    if torch.cuda.mem_get_info()[0] < 40 * 2**30:
        pytest.skip("needs 40 GiB of free GPU memory")
    W = torch.zeros(n, d, dtype=torch.bfloat16, device="cuda")
    X = torch.zeros(B, d, dtype=torch.bfloat16, device="cuda")
    W[-1], X[-1] = 2.0, 3.0
    idx = torch.full((B, 1), -1, dtype=torch.int32, device="cuda")
    idx[-1] = n - 1
    coef = torch.ones(B, 1, device="cuda")
    assert gather_sum(idx, coef, W)[-1].tolist() == [2.0] * d
    error, squared = gather_sum_mse(idx, coef, W, X)
    assert error[-1].tolist() == [-1.0] * d and squared[-1] == d
    del error
    sums, dots = segment_sum_dot(plan(idx, n), coef, X, W)
    assert sums[-1].tolist() == [3.0] * d and not sums[:-1].any() and dots[-1, 0] == 6 * d
    del sums
    assert gather_dot(idx, X, W)[-1, 0] == 6 * d


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
    found, expected = passes(beyond, coef, W, X), passes(padded, coef, W, X)
    for name in expected:
        assert torch.equal(found[name], expected[name]), name
