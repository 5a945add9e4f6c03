"""Weighted sum of table rows: the decoder of a TopK sparse autoencoder, differentiable, without a (B, n) tensor."""

import torch
from torch import Tensor

from kernels.gather_dot import gather_dot_op
from kernels.inputs import accumulator, check_coef, check_indices, check_range, check_table, differentiated
from kernels.segment_sum import segment_sum_op


def gather_sum(idx: Tensor, coef: Tensor, W: Tensor) -> Tensor:
    """out[b] = Σ_j coef[b, j] · W[idx[b, j]].

    idx: (B, k), int32 or int64, −1 = padding;  coef: (B, k);  W: (n, d), float32/64, bfloat16 or float16, any row
    stride.  Returns (B, d) in W's dtype, summed in float32 (float64 for float64). Differentiable once in coef and W;
    deterministic. A wrong shape or device raises ValueError, a wrong dtype TypeError. An index ≥ n raises ValueError
    on a CPU and counts as padding on CUDA, where looking would wait for the GPU (TRITON_DEBUG=1 traps it).

    Where nothing is differentiated or compiled the op's dispatch is skipped: 47 against 63 µs a call at
    (d, n, k, B) = (128, 512, 4, 1024), one core, 5 µs of it these checks.
    """
    return gather_sum_op(idx, coef, W) if differentiated(coef, W) else _forward(idx, coef, W)


def _check(idx: Tensor, coef: Tensor, W: Tensor) -> None:
    check_indices(idx)
    check_table(W, idx.device)
    check_coef(coef, idx.shape, W)


def _forward(idx: Tensor, coef: Tensor, W: Tensor) -> Tensor:
    _check(idx, coef, W)
    if idx.numel() == 0:
        return W.new_zeros(idx.shape[0], W.shape[1])
    if W.is_cuda:
        from kernels.gather_sum_triton import launch  # here, since Triton is absent on macOS

        return launch(idx, coef, W)
    return _bags_cpu(idx, coef, W)


def _bags_cpu(idx: Tensor, coef: Tensor, W: Tensor) -> Tensor:
    """One bag of `embedding_bag` per row of idx. Padding leaves its bag: what coef holds there cannot matter."""
    B, k = idx.shape
    acc = accumulator(W.dtype)
    start = torch.arange(0, B * k, k, dtype=idx.dtype)
    if check_range(idx, W.shape[0]):
        live = idx >= 0
        count = live.sum(1, dtype=idx.dtype)
        start = count.cumsum(0, dtype=idx.dtype) - count
        idx, coef = idx[live], coef[live]
    sums = torch.embedding_bag(W.to(acc), idx.flatten(), start, False, 0, False, coef.flatten().to(acc))[0]
    return sums.to(W.dtype)


@torch.library.custom_op("saescale::gather_sum", mutates_args=())
def gather_sum_op(idx: Tensor, coef: Tensor, W: Tensor) -> Tensor:
    """`gather_sum` as an op, for autograd and torch.compile."""
    return _forward(idx, coef, W)


@gather_sum_op.register_fake
def _(idx: Tensor, coef: Tensor, W: Tensor) -> Tensor:
    _check(idx, coef, W)
    return W.new_empty(idx.shape[0], W.shape[1])


def _save(ctx, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx, grad: Tensor) -> tuple[None, Tensor | None, Tensor | None]:
    """∂coef[b, j] = grad[b] · W[idx[b, j]];  ∂W[i] = Σ_{b, j: idx[b, j] = i} coef[b, j] · grad[b]."""
    idx, coef, W = ctx.saved_tensors
    _, need_coef, need_W = ctx.needs_input_grad
    d_coef = gather_dot_op(idx, grad, W).to(coef.dtype) if need_coef else None
    d_W = segment_sum_op(idx, coef, grad, W.shape[0]).to(W.dtype) if need_W else None
    return None, d_coef, d_W


gather_sum_op.register_autograd(_backward, setup_context=_save)
