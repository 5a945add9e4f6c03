"""gather_sum on the CPU: values, gradients, refusals, and the op under torch's own checks."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kernels import reference
from kernels.gather_sum import gather_sum, gather_sum_op
from tests.kernels.cases import CASES, DTYPES, TOLERANCE, Case, integers, make, relative_error, with_threads

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("index", [torch.int32, torch.int64], ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_equals_reference(case, dtype, index):
    idx, coef, W, _ = make(case, dtype, index)
    out = gather_sum(idx, coef, W)
    assert out.dtype == dtype
    assert relative_error(out, reference.gather_sum(idx, coef.double(), W.double())) < TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_bias_is_added_before_rounding(case, dtype):
    idx, coef, W, _ = make(case, dtype)
    bias = torch.linspace(-3, 4, case.d, dtype=coef.dtype)
    out = gather_sum(idx, coef, W, bias)
    assert out.dtype == dtype
    exact = reference.gather_sum(idx, coef.double(), W.double(), bias.double())
    assert relative_error(out, exact) < TOLERANCE[dtype]


def test_padding_ignores_its_coefficient_and_every_row_of_w():
    idx, coef, W, _ = make(Case(6, 4, 10, 5, pad=0.5))
    idx[idx == 0] = -1
    idx[0] = -1
    coef[idx < 0], W[0] = float("nan"), float("nan")
    out = gather_sum(idx, coef, W)
    assert out.isfinite().all() and (out[0] == 0).all()


def test_the_op_and_the_plain_call_agree_bitwise():
    idx, coef, W, _ = make(Case(24, 6, 48, 8, zipf=True, gap=5))
    bias = torch.linspace(-1, 1, 48)
    assert torch.equal(gather_sum(idx, coef, W, bias), gather_sum_op(idx, coef, W, bias))


def test_bitwise_equal_for_any_number_of_threads():
    idx, coef, W, _ = make(Case(600, 8, 33, 50, zipf=True))
    outs = [gather_sum(idx, coef, W) for _ in with_threads(1, 2, 3)]
    assert torch.equal(outs[0], outs[1]) and torch.equal(outs[0], outs[2])


def test_works_without_triton():
    code = """import sys, torch; sys.modules["triton"] = None
from kernels.gather_sum import gather_sum
print(gather_sum(torch.tensor([[1, -1]]), torch.tensor([[2.0, 0.0]]), torch.eye(2)).tolist())"""
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.stdout.strip() == "[[0.0, 2.0]]", run.stderr


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        (dict(idx=torch.zeros(3, 2)), TypeError, "idx is torch.float32"),
        (
            dict(idx=torch.zeros(3, dtype=torch.int64)),
            ValueError,
            r"idx has shape \(3,\); it must be \(B, k\)",
        ),
        (dict(idx=torch.full((3, 2), 5)), ValueError, "idx holds 5; it must lie in 0 … 4"),
        (dict(idx=torch.full((3, 2), -2)), ValueError, "idx holds -2"),
        (dict(idx=torch.zeros(3, 2, dtype=torch.int64, device="meta")), ValueError, "idx is on meta"),
        (
            dict(coef=torch.zeros(2, 3)),
            ValueError,
            r"coef has shape \(2, 3\); the indices have shape \(3, 2\)",
        ),
        (dict(coef=torch.zeros(3, 2, dtype=torch.int64)), TypeError, "coef is torch.int64"),
        (dict(coef=torch.zeros(3, 2).double()), TypeError, "coef is torch.float64 beside torch.float32 rows"),
        (dict(coef=torch.zeros(3, 2, device="meta")), ValueError, "coef is on meta, the rows on cpu"),
        (dict(W=torch.zeros(5)), ValueError, r"W has shape \(5,\)"),
        (dict(W=torch.zeros(5, 4, dtype=torch.int32)), TypeError, "W is torch.int32"),
        (dict(W=torch.zeros(4, 5).T), ValueError, r"W has strides \(1, 5\); .* pass W.contiguous\(\)"),
        (dict(W=torch.zeros(5, 4, device="meta")), ValueError, "W is on meta, idx on cpu"),
        (dict(bias=torch.zeros(5)), ValueError, r"bias has shape \(5,\); W has d = 4 columns"),
        (dict(bias=torch.zeros(4, dtype=torch.int32)), TypeError, "bias is torch.int32"),
        (dict(bias=torch.zeros(4).double()), TypeError, "bias is torch.float64, but the sums are formed in"),
        (dict(bias=torch.zeros(4, device="meta")), ValueError, "bias is on meta, idx on cpu"),
    ],
)
def test_refusals_are_sentences(change, error, says):
    good = dict(idx=torch.zeros(3, 2, dtype=torch.int64), coef=torch.zeros(3, 2), W=torch.zeros(5, 4))
    with pytest.raises(error, match=says):
        gather_sum(**good | change)


def test_the_op_refuses_too():
    with pytest.raises(ValueError, match="idx holds 5"):
        gather_sum_op(torch.full((3, 2), 5), torch.zeros(3, 2), torch.zeros(5, 4), None)


def differentiable(case: Case, dtype=torch.float64):
    idx, coef, W, _ = make(case, dtype)
    return idx, coef.requires_grad_(), W.detach().requires_grad_()


@pytest.mark.parametrize(
    "case", [Case(3, 2, 5, 4), Case(4, 3, 5, 4, pad=0.4, gap=2), Case(4, 3, 2, 3, duplicate=True)]
)
def test_gradcheck(case):
    idx, coef, W = differentiable(case)
    assert torch.autograd.gradcheck(lambda c, w: gather_sum(idx, c, w), (coef, W))
    bias = torch.linspace(-1, 1, case.d, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda c, w, b: gather_sum(idx, c, w, b), (coef, W, bias))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradients_equal_reference(case, dtype):
    idx, coef, W = differentiable(case, dtype)
    gather_sum(idx, coef, W).sum().backward()  # .sum() makes the incoming gradient an expanded one
    exact_coef, exact_W = coef.detach().double().requires_grad_(), W.detach().double().requires_grad_()
    reference.gather_sum(idx, exact_coef, exact_W).sum().backward()
    assert coef.grad.dtype == coef.dtype and W.grad.dtype == dtype
    assert relative_error(coef.grad, exact_coef.grad) < max(TOLERANCE[coef.dtype], 1e-14)
    assert relative_error(W.grad, exact_W.grad) < TOLERANCE[dtype]


def test_only_the_wanted_gradient():
    idx, coef, W = differentiable(Case(4, 3, 5, 4))
    gather_sum(idx, coef, W.detach()).sum().backward()
    assert coef.grad is not None and W.grad is None
    gather_sum(idx, coef.detach(), W).sum().backward()
    assert W.grad is not None
    bias = torch.zeros(5, dtype=torch.float32, requires_grad=True)
    (d_bias,) = torch.autograd.grad(gather_sum(idx, coef.detach(), W.detach(), bias).sum(), bias)
    assert d_bias.dtype == torch.float32 and d_bias.tolist() == [4.0] * 5


def test_second_derivative_raises():
    idx, coef, W = differentiable(Case(4, 3, 5, 4))
    for inputs, op in ((coef, "gather_dot"), ((coef, W), "segment_sum_dot")):
        d_coef, *_ = torch.autograd.grad(
            gather_sum(idx, coef, W if op != "gather_dot" else W.detach()).pow(2).sum(),
            inputs,
            create_graph=True,
        )
        with pytest.raises(RuntimeError, match=f"saescale.{op}"):
            d_coef.sum().backward()


@pytest.mark.parametrize(
    "case", [Case(4, 3, 5, 6, gap=2), Case(5, 3, 4, 6, pad=0.4), Case(0, 3, 4, 6)], ids=str
)
def test_opcheck(case):
    bias = torch.zeros(case.d, dtype=torch.float64, requires_grad=True)
    torch.library.opcheck(gather_sum_op, (*differentiable(case), None))
    torch.library.opcheck(gather_sum_op, (*differentiable(case), bias))


@pytest.mark.parametrize("dynamic", [False, True])
def test_compiles_without_a_graph_break(dynamic):
    def loss(idx, coef, W):
        return (gather_sum(idx, coef, W) - 1).pow(2).mean()

    eager, compiled = differentiable(Case(5, 3, 7, 11)), differentiable(Case(5, 3, 7, 11))
    loss(*eager).backward()
    torch._dynamo.reset()
    torch.compile(loss, fullgraph=True, backend="aot_eager", dynamic=dynamic)(*compiled).backward()
    for plain, traced in zip(eager[1:], compiled[1:], strict=True):
        assert torch.equal(plain.grad, traced.grad)


@given(integers(), st.integers(-3, 3))
def test_linear_in_the_coefficients(entries, scale):
    idx, coef, W, _ = entries
    other = coef.flip(0)
    whole = gather_sum(idx, coef + scale * other, W)
    assert torch.equal(whole, gather_sum(idx, coef, W) + scale * gather_sum(idx, other, W))


@given(integers(), st.randoms(use_true_random=False))
def test_order_of_the_pairs_does_not_matter_and_order_of_rows_follows(entries, random):
    idx, coef, W, _ = entries
    pairs, rows = list(range(idx.shape[1])), list(range(idx.shape[0]))
    random.shuffle(pairs)
    random.shuffle(rows)
    out = gather_sum(idx, coef, W)
    assert torch.equal(gather_sum(idx[:, pairs], coef[:, pairs], W), out)
    assert torch.equal(gather_sum(idx[rows], coef[rows], W), out[rows])


@given(integers())
def test_a_duplicate_counts_as_the_sum_of_its_coefficients(entries):
    idx, coef, W, _ = entries
    twice = gather_sum(torch.cat([idx, idx], 1), torch.cat([coef, 2 * coef], 1), W)
    assert torch.equal(twice, gather_sum(idx, 3 * coef, W))
