"""Decode and compare in one pass: reconstruction errors and their squared norms; the reconstruction is never stored."""

import torch
from torch import Tensor

from kernels.gather_sum import bags_cpu, check, row_gradients
from kernels.inputs import accumulator, check_indices, check_matrix, check_table, differentiated


def gather_sum_mse(
    idx: Tensor, coef: Tensor, W: Tensor, x: Tensor, bias: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Compute error[b] = Σ_j coef[b, j] · W[idx[b, j]] + bias − x[b];  squared[b] = ‖error[b]‖².

    idx: (B, k), int32 or int64, −1 = padding;  coef: (B, k);  W: (n, d), any row stride;  x: (B, d);  bias: (d,) or
    None; each float32/64, bfloat16 or float16.  Returns (B, d) and (B,) in float32, float64 if W or x is float64.
    Differentiable once in coef, W, x and bias; deterministic. It raises as `gather_sum` does.
    """
    call = gather_sum_mse_op if differentiated(coef, W, x, bias) else _forward
    return call(idx, coef, W, x, bias)


def _check(idx: Tensor, coef: Tensor, W: Tensor, x: Tensor, bias: Tensor | None) -> torch.dtype:
    """Check the inputs and return the dtype of the sums."""
    check_indices(idx)
    check_table(W, idx.device)
    check_matrix("x", x, idx.device, rows=idx.shape[0])
    acc = accumulator(torch.promote_types(W.dtype, x.dtype))
    check(idx, coef, W, bias, acc)
    if x.shape[1] != W.shape[1]:
        raise ValueError(f"x has {x.shape[1]} columns and W {W.shape[1]}; both must have d")
    return acc


def _forward(idx: Tensor, coef: Tensor, W: Tensor, x: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    acc = _check(idx, coef, W, x, bias)
    if W.is_cuda:
        from kernels.gather_sum_mse_triton import launch  # imported here because macOS has no Triton

        return launch(idx, coef, W, x, bias, acc)
    error = bags_cpu(idx, coef, W, bias, acc).sub_(x)
    # The norm needs no (B, d) tensor of squares: 0.15 ms; pow(2).sum(1) takes 0.23 ms (B = 4096, d = 384, one core).
    return error, torch.linalg.vector_norm(error, dim=1).square_()


@torch.library.custom_op("saescale::gather_sum_mse", mutates_args=())
def gather_sum_mse_op(
    idx: Tensor, coef: Tensor, W: Tensor, x: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor]:
    """`gather_sum_mse` as an op, for autograd and torch.compile."""
    return _forward(idx, coef, W, x, bias)


@gather_sum_mse_op.register_fake
def _(idx: Tensor, coef: Tensor, W: Tensor, x: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    acc = _check(idx, coef, W, x, bias)
    return x.new_empty(idx.shape[0], W.shape[1], dtype=acc), x.new_empty(idx.shape[0], dtype=acc)


def _save(ctx, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
    idx, coef, W, x, bias = inputs
    ctx.save_for_backward(idx, coef, W, output[0])
    ctx.dtypes = x.dtype, None if bias is None else bias.dtype


def _backward(ctx, d_error: Tensor, d_squared: Tensor) -> tuple[Tensor | None, ...]:
    """The gradient with respect to the error, through both outputs, is d_error + 2 · d_squared · error."""
    idx, coef, W, error = ctx.saved_tensors
    x_dtype, bias_dtype = ctx.dtypes
    _, need_coef, need_W, need_x, need_bias = ctx.needs_input_grad
    grad = torch.addcmul(d_error, d_squared[:, None], error, value=2)
    d_coef, d_W = row_gradients(idx, coef, W, grad, need_coef, need_W)
    d_x = grad.neg().to(x_dtype) if need_x else None
    return None, d_coef, d_W, d_x, grad.sum(0).to(bias_dtype) if need_bias else None


gather_sum_mse_op.register_autograd(_backward, setup_context=_save)
