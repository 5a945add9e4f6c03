"""The gradients of a weighted sum of rows, per row of W and per entry, from one pass over the incoming gradient."""

import torch
from torch import Tensor

from kernels.gather_dot import gather_dot
from kernels.inputs import accumulator, check_coef, check_matrix, check_table, differentiated
from kernels.plan import Plan
from kernels.segment_sum import segment_sum


def segment_sum_dot(plan: Plan, coef: Tensor, X: Tensor, W: Tensor) -> tuple[Tensor, Tensor]:
    """Compute sums[i] = Σ_{b, j: idx[b, j] = i} coef[b, j] · X[b];  dots[b, j] = X[b] · W[idx[b, j]].

    plan: plan(idx, n);  coef: (B, k);  X: (B, d);  W: (n, d), any row stride.  Returns sums (n, d) in float32, float64
    for a float64 X (as `segment_sum`), and dots (B, k) in float32, float64 if X or W is float64, 0 at padding (as
    `gather_dot`). It is not differentiable: a backward pass through it raises.
    """
    if differentiated(coef, X, W):
        return segment_sum_dot_op(*plan.tensors, coef, X, W)
    return _forward(plan, coef, X, W)


def _forward(plan: Plan, coef: Tensor, X: Tensor, W: Tensor) -> tuple[Tensor, Tensor]:
    _check(plan, coef, X, W)
    if not X.is_cuda:
        return segment_sum(plan, coef, X), gather_dot(plan.idx, X, W)
    from kernels.segment_sum_triton import launch  # imported here because macOS has no Triton

    sums, dots = launch(plan, coef, X, W)
    assert dots is not None
    return sums, dots


def _check(plan: Plan, coef: Tensor, X: Tensor, W: Tensor) -> None:
    check_table(W, plan.idx.device)
    check_matrix("X", X, plan.idx.device, rows=plan.idx.shape[0])
    check_coef(coef, plan.idx.shape, X, accumulator(X.dtype))
    if W.shape[0] != plan.n:
        raise ValueError(f"W has {W.shape[0]} rows; the plan is of n = {plan.n} latents")
    if X.shape[1] != W.shape[1]:
        raise ValueError(f"X has {X.shape[1]} columns and W {W.shape[1]}; both must have d")


@torch.library.custom_op("saescale::segment_sum_dot", mutates_args=())
def segment_sum_dot_op(
    order: Tensor, rows: Tensor, bounds: Tensor, idx: Tensor, coef: Tensor, X: Tensor, W: Tensor
) -> tuple[Tensor, Tensor]:
    """`segment_sum_dot` as an op, for torch.compile and the gradients of gather_sum."""
    return _forward(Plan(order, rows, bounds, idx), coef, X, W)


@segment_sum_dot_op.register_fake
def _(
    order: Tensor, rows: Tensor, bounds: Tensor, idx: Tensor, coef: Tensor, X: Tensor, W: Tensor
) -> tuple[Tensor, Tensor]:
    _check(Plan(order, rows, bounds, idx), coef, X, W)
    dots = accumulator(torch.promote_types(X.dtype, W.dtype))
    return X.new_empty(W.shape, dtype=accumulator(X.dtype)), X.new_empty(idx.shape, dtype=dots)
