"""Weighted sum of batch rows per latent: the weight gradients of decoder and encoder, without a (B, n) tensor."""

import torch
from torch import Tensor

from kernels.inputs import accumulator, check_coef, check_matrix, differentiated
from kernels.plan import Plan

# On a CPU embedding_bag adds the entries of a bag one after another, and the error grows with their number: 8e-6 at
# 131,072 entries of one sign and 7e-5 at 524,288. Bags longer than _LONG are summed again, in pieces.
_LONG, _PIECE = 4096, 1024


def segment_sum(plan: Plan, coef: Tensor, X: Tensor) -> Tensor:
    """Compute out[i] = Σ_{b, j: idx[b, j] = i} coef[b, j] · X[b], where `plan` is plan(idx, n).

    coef: (B, k);  X: (B, d), float32/64, bfloat16 or float16.  Returns (n, d) in float32, float64 for a float64 X:
    every row is written, and latents without entries get 0. Padding is ignored.
    The result is bitwise the same in every call and for any number of threads, since each latent is summed in the order
    of its entries. It is not differentiable: a backward pass through it raises.
    """
    return segment_sum_op(*plan.tensors, coef, X) if differentiated(coef, X) else _forward(plan, coef, X)


def _check(plan: Plan, coef: Tensor, X: Tensor) -> None:
    check_matrix("X", X, plan.order.device, rows=plan.shape[0])
    check_coef(coef, plan.shape, X, accumulator(X.dtype))


def _forward(plan: Plan, coef: Tensor, X: Tensor) -> Tensor:
    _check(plan, coef, X)
    if X.is_cuda:
        from kernels.segment_sum_triton import launch  # imported here because macOS has no Triton

        return launch(plan, coef, X)[0]
    acc = accumulator(X.dtype)
    if plan.order.numel() == 0:
        return X.new_zeros(plan.n, X.shape[1], dtype=acc)
    weights = coef.reshape(-1).to(acc).index_select(0, plan.order)
    # X may be an expanded tensor, as the gradient of .sum() is. This takes 38 µs with a contiguous copy and 229 µs
    # without it (B = 1024, k = 4, d = 128).
    X = X.to(acc).contiguous()
    sums = torch.embedding_bag(X, plan.rows, plan.bounds, False, 0, False, weights, True)[0]
    sums = sums[:-1]  # the last segment is the padding
    for latent in (plan.ptr.diff() > _LONG).nonzero()[:, 0].tolist():
        begin, end = plan.ptr[latent : latent + 2].tolist()
        pieces = torch.arange(0, end - begin, _PIECE, dtype=torch.int32, device=X.device)
        of = plan.rows[begin:end], pieces, False, 0, False, weights[begin:end]
        sums[latent] = torch.embedding_bag(X, *of)[0].sum(0)
    return sums


@torch.library.custom_op("saescale::segment_sum", mutates_args=())
def segment_sum_op(
    order: Tensor, rows: Tensor, bounds: Tensor, idx: Tensor, coef: Tensor, X: Tensor
) -> Tensor:
    """`segment_sum` as an op, for torch.compile and gather_sum's gradients. It takes a plan's tensors first."""
    return _forward(Plan(order, rows, bounds, idx), coef, X)


@segment_sum_op.register_fake
def _(order: Tensor, rows: Tensor, bounds: Tensor, idx: Tensor, coef: Tensor, X: Tensor) -> Tensor:
    _check(Plan(order, rows, bounds, idx), coef, X)
    return X.new_empty(bounds.shape[0] - 2, X.shape[1], dtype=accumulator(X.dtype))
