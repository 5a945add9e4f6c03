"""The Triton kernel of gather_sum_mse and its launcher. Imported by CUDA calls and by tests only."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.gather_sum_triton import tile, weighted_rows
from kernels.tuning import tuned


@triton.jit
def gather_sum_mse_kernel(
    error,
    parts,
    idx,
    coef,
    W,
    bias,
    x,
    n,
    k,
    d,
    stride_w,
    stride_x,
    T: tl.constexpr,
    BD: tl.constexpr,
    ACC: tl.constexpr,
):
    """error[b, slab] = Σ_j coef[b, j] · W[idx[b, j], slab] + bias[slab] − x[b, slab].

    parts[slab, b] = ‖error[b, slab]‖². Grid (B, slabs of BD columns), with rows fastest, as in gather_sum.
    """
    b = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BD + tl.arange(0, BD)
    inside = column < d
    acc = weighted_rows(idx, coef, W, bias, b, column, n, k, d, stride_w, T, ACC)
    acc -= tl.load(x + b * stride_x + column, mask=inside, other=0.0).to(ACC)
    tl.store(error + b * d + column, acc, mask=inside)
    tl.store(parts + tl.program_id(1).to(tl.int64) * tl.num_programs(0) + b, tl.sum(acc * acc))


def launch(
    idx: Tensor, coef: Tensor, W: Tensor, x: Tensor, bias: Tensor | None, acc: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Launch gather_sum_mse on checked inputs: idx, coef (B, k);  W (n, d), columns adjacent;  x (B, d);  bias (d,)."""
    (B, k), (n, d) = idx.shape, W.shape
    T, BD, warps = tuned("gather_sum_mse", W, d) or tile(d, W.dtype)
    slabs = triton.cdiv(d, BD)
    error = torch.empty(B, d, dtype=acc, device=W.device)
    parts = torch.empty(slabs, B, dtype=acc, device=W.device)
    if error.numel():
        x = x if d == 1 or x.stride(1) == 1 else x.contiguous()
        bias = None if bias is None else bias.contiguous()
        sizes = (n, k, d, W.stride(0), x.stride(0))
        arguments = (error, parts, idx.contiguous(), coef.contiguous(), W, bias, x, *sizes)
        ACC = tl.float64 if acc == torch.float64 else tl.float32
        with torch.cuda.device_of(W):
            gather_sum_mse_kernel[(B, slabs)](*arguments, T=T, BD=BD, ACC=ACC, num_warps=warps)
    return error, parts[0] if slabs == 1 else parts.sum(0)
