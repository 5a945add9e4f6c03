"""gather_sum_mse on the CPU: values, gradients, refusals, and the op under torch's own checks."""

import pytest
import torch
from hypothesis import given

from kernels import reference
from kernels.gather_sum import gather_sum
from kernels.gather_sum_mse import gather_sum_mse, gather_sum_mse_op
from tests.kernels.cases import CASES, DTYPES, TOLERANCE, Case, integers, make, relative_error, with_threads


@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("index", [torch.int32, torch.int64], ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_equals_reference(case, dtype, index, with_bias):
    idx, coef, W, x = make(case, dtype, index)
    bias = torch.linspace(-3, 4, case.d, dtype=coef.dtype) if with_bias else None
    error, squared = gather_sum_mse(idx, coef, W, x, bias)
    assert error.dtype == squared.dtype == coef.dtype
    exact = reference.gather_sum_mse(
        idx, coef.double(), W.double(), x.double(), None if bias is None else bias.double()
    )
    for out, expected in zip((error, squared), exact, strict=True):
        assert relative_error(out, expected) < TOLERANCE[coef.dtype]


def test_inputs_stay_as_they_are_and_may_be_views():
    idx, coef, W, x = make(Case(6, 4, 12, 9, pad=0.3))
    wide = torch.cat([x, x], 1)
    before = wide.clone()
    error, _ = gather_sum_mse(idx, coef, W, wide[:, ::2])
    assert torch.equal(wide, before)
    exact, _ = reference.gather_sum_mse(idx, coef.double(), W.double(), wide[:, ::2].double())
    assert relative_error(error, exact) < 1e-6


def test_mixed_dtypes_use_the_wider_accumulator():
    idx, coef, W, x = make(Case(6, 4, 12, 9))
    half, _ = gather_sum_mse(idx, coef, W.bfloat16(), x)
    assert torch.equal(half, gather_sum(idx, coef, W.bfloat16().float()) - x)
    assert {t.dtype for t in gather_sum_mse(idx, coef, W, x.double())} == {torch.float64}


def test_the_op_and_the_plain_call_agree_bitwise_for_any_number_of_threads():
    idx, coef, W, x = make(Case(600, 6, 48, 8, zipf=True, gap=5))
    outs = [gather_sum_mse(idx, coef, W, x) for _ in with_threads(1, 2, 3)]
    outs.append(gather_sum_mse_op(idx, coef, W, x, None))
    for out in outs[1:]:
        assert torch.equal(out[0], outs[0][0]) and torch.equal(out[1], outs[0][1])


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        (dict(x=torch.zeros(3, 5)), ValueError, "x has 5 columns and W 4; both must have d"),
        (dict(x=torch.zeros(2, 4)), ValueError, "x has 2 rows; idx has B = 3"),
        (dict(x=torch.zeros(3, 4, dtype=torch.int64)), TypeError, "x is torch.int64"),
        (dict(x=torch.zeros(3, 4, device="meta")), ValueError, "x is on meta, idx on cpu"),
        (dict(bias=torch.zeros(3)), ValueError, r"bias has shape \(3,\); W has d = 4 columns"),
        (dict(idx=torch.full((3, 2), 5)), ValueError, "idx holds 5; it must lie in 0 … 4"),
        (dict(W=torch.zeros(4, 5).T), ValueError, r"W has strides \(1, 5\)"),
        (dict(coef=torch.zeros(3, 2).double()), TypeError, "coef is torch.float64 beside torch.float32 rows"),
    ],
)
@pytest.mark.parametrize("call", [gather_sum_mse, gather_sum_mse_op])
def test_refusals_are_sentences(call, change, error, says):
    good = dict(
        idx=torch.zeros(3, 2, dtype=torch.int64),
        coef=torch.zeros(3, 2),
        W=torch.zeros(5, 4),
        x=torch.zeros(3, 4),
        bias=torch.zeros(4),
    )
    with pytest.raises(error, match=says):
        call(*(good | change).values())


def differentiable(case: Case, dtype=torch.float64):
    idx, *tensors = make(case, dtype)
    bias = torch.linspace(-1, 1, case.d, dtype=tensors[0].dtype)
    return idx, *(t.detach().requires_grad_() for t in (*tensors, bias))


@pytest.mark.parametrize("case", [Case(3, 2, 5, 4), Case(4, 3, 5, 4, pad=0.4, gap=2)], ids=str)
@pytest.mark.parametrize("outputs", [slice(0, 1), slice(1, 2), slice(0, 2)], ids=["error", "squared", "both"])
def test_gradcheck(case, outputs):
    idx, *inputs = differentiable(case)
    assert torch.autograd.gradcheck(lambda *t: gather_sum_mse(idx, *t)[outputs], inputs)


def test_gradients_have_the_dtypes_of_their_inputs():
    idx, coef, W, x, bias = differentiable(Case(6, 4, 10, 5), torch.bfloat16)
    gather_sum_mse(idx, coef, W, x, bias)[1].mean().backward()
    assert (coef.grad.dtype, W.grad.dtype) == (torch.float32, torch.bfloat16)
    assert (x.grad.dtype, bias.grad.dtype) == (torch.bfloat16, torch.float32)


@pytest.mark.parametrize(
    "case", [Case(4, 3, 5, 6, gap=2), Case(5, 3, 4, 6, pad=0.4), Case(0, 3, 4, 6)], ids=str
)
def test_opcheck(case):
    *tensors, bias = differentiable(case)
    torch.library.opcheck(gather_sum_mse_op, (*tensors, None))
    torch.library.opcheck(gather_sum_mse_op, (*tensors, bias))


@pytest.mark.parametrize("dynamic", [False, True])
def test_compiles_without_a_graph_break(dynamic):
    def loss(idx, coef, W, x, bias):
        return gather_sum_mse(idx, coef, W, x, bias)[1].mean()

    eager, compiled = differentiable(Case(5, 3, 7, 11)), differentiable(Case(5, 3, 7, 11))
    loss(*eager).backward()
    torch._dynamo.reset()
    torch.compile(loss, fullgraph=True, backend="aot_eager", dynamic=dynamic)(*compiled).backward()
    for plain, traced in zip(eager[1:], compiled[1:], strict=True):
        assert torch.equal(plain.grad, traced.grad)


@given(integers())
def test_is_the_difference_of_gather_sum_and_x(entries):
    idx, coef, W, x = entries
    error, squared = gather_sum_mse(idx, coef, W, x, W[0])
    assert torch.equal(error, gather_sum(idx, coef, W, W[0]) - x)
    torch.testing.assert_close(squared, error.pow(2).sum(1), rtol=1e-15, atol=0)
