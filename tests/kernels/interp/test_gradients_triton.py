"""torch's gradcheck in float64 through the launchers that a CUDA backward pass calls, by the interpreter, watched."""

from functools import partial

import pytest
import torch

pytest.importorskip("triton")

from kernels import gather_dot_triton, gather_sum_mse_triton, gather_sum_triton, segment_sum_triton
from kernels.plan import plan
from tests.kernels.cases import Case, make
from tests.kernels.interp.sanitizer import sanitize, why_not

if why_not():
    pytest.skip(why_not(), allow_module_level=True)
pytestmark = pytest.mark.interp

PLAIN, HARD = [[0, 3], [2, 1], [3, 0]], [[1, 1], [-1, 3], [0, -1]]  # a latent twice in a row, padding


def row_gradients(ctx, idx, coef, W, grad):
    """∂coef and ∂W, as kernels.gather_sum has them: by one pass over the plan for both, or by one kernel each."""
    if ctx.both:
        d_W, d_coef = segment_sum_triton.launch(plan(idx, len(W)), coef, grad, W)
    else:
        d_W, _ = segment_sum_triton.launch(plan(idx, len(W)), coef, grad)
        d_coef = gather_dot_triton.launch(idx, grad, W, torch.float64)
    return d_coef, d_W


class GatherSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx, idx, both, coef, W, bias):
        ctx.both = both
        ctx.save_for_backward(idx, coef, W)
        return gather_sum_triton.launch(idx, coef, W, bias)

    @staticmethod
    def backward(ctx, grad):
        return None, None, *row_gradients(ctx, *ctx.saved_tensors, grad), grad.sum(0)


class GatherSumMse(torch.autograd.Function):
    @staticmethod
    def forward(ctx, idx, both, coef, W, bias, x):
        error, squared = gather_sum_mse_triton.launch(idx, coef, W, x, bias, torch.float64)
        ctx.both = both
        ctx.save_for_backward(idx, coef, W, error)
        return error, squared

    @staticmethod
    def backward(ctx, d_error, d_squared):
        *tensors, error = ctx.saved_tensors
        grad = d_error + 2 * d_squared[:, None] * error
        return None, None, *row_gradients(ctx, *tensors, grad), grad.sum(0), -grad


@pytest.mark.parametrize("function", [GatherSum, GatherSumMse])
@pytest.mark.parametrize(("rows", "both"), [(PLAIN, True), (HARD, True), (HARD, False)], ids=str)
def test_gradcheck(rows, function, both):
    idx, (_, coef, W, x) = torch.tensor(rows, dtype=torch.int32), make(Case(3, 2, 3, 4, gap=2), torch.float64)
    bias = torch.linspace(-3, 4, 3, dtype=torch.float64)
    given = [coef, W, bias, x] if function is GatherSumMse else [coef, W, bias]
    with sanitize("shuffle") as errors:
        inputs = [t.requires_grad_() for t in given]
        # Sums and squares: central differences are exact but for rounding, 1e-16 over a step of 1e-6.
        call = partial(function.apply, idx, both)
        assert torch.autograd.gradcheck(call, inputs, rtol=1e-6, atol=1e-7)
    assert not errors, errors
