"""The Triton kernel of gather_sum and its launcher. Imported by CUDA calls and by tests only."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.tuning import tuned


@triton.jit
def weighted_rows(idx, coef, W, bias, b, column, n, k, d, stride_w, T: tl.constexpr, ACC: tl.constexpr):
    """Σ_j coef[b, j] · W[idx[b, j], column] + bias[column] in ACC, T rows of W in flight; bias may be None."""
    inside = column < d
    if bias is None:
        acc = tl.zeros([column.shape[0]], dtype=ACC)
    else:
        acc = tl.load(bias + column, mask=inside, other=0.0).to(ACC)
    for first in range(0, k, T):
        j = first + tl.arange(0, T)
        i = tl.load(idx + b * k + j, mask=j < k, other=-1).to(tl.int64)
        tl.device_assert(
            (i >= -1) & (i < n), "gather_sum: idx holds an index >= n or < -1"
        )  # compiled under TRITON_DEBUG=1 only
        live = (i >= 0) & (i < n)
        c = tl.load(coef + b * k + j, mask=live, other=0.0).to(ACC)
        rows = tl.load(
            W + i[:, None] * stride_w + column[None, :], mask=live[:, None] & inside[None, :], other=0.0
        ).to(ACC)
        acc += tl.sum(c[:, None] * rows, axis=0)
    return acc


@triton.jit
def gather_sum_kernel(
    out, idx, coef, W, bias, n, k, d, stride_w, T: tl.constexpr, BD: tl.constexpr, ACC: tl.constexpr
):
    """Compute out[b, slab] = Σ_j coef[b, j] · W[idx[b, j], slab] + bias[slab].

    Grid (B, slabs of BD columns), with rows fastest: all rows finish one slab before the next one begins, so the
    working set is n · BD elements instead of n · d.
    """
    b = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BD + tl.arange(0, BD)
    acc = weighted_rows(idx, coef, W, bias, b, column, n, k, d, stride_w, T, ACC)
    tl.store(out + b * d + column, acc.to(out.dtype.element_ty), mask=column < d)


def tile(d: int, dtype: torch.dtype) -> tuple[int, int, int]:
    """Return (T, BD, warps): T rows in flight, BD columns per slab, and the warps per program.

    One warp holds T rows of a 256-column slab. It has 4 KiB in flight, so T follows from the element size.
    """
    return 16 // dtype.itemsize, min(256, triton.next_power_of_2(max(d, 1))), 1


def launch(idx: Tensor, coef: Tensor, W: Tensor, bias: Tensor | None) -> Tensor:
    """Launch gather_sum on checked inputs: idx, coef (B, k);  W (n, d), columns adjacent;  bias (d,)."""
    (B, k), (n, d) = idx.shape, W.shape
    out = torch.empty(B, d, dtype=W.dtype, device=W.device)
    if out.numel() == 0:
        return out
    T, BD, warps = tuned("gather_sum", W, d) or tile(d, W.dtype)
    ACC = tl.float64 if W.dtype == torch.float64 else tl.float32
    bias = None if bias is None else bias.contiguous()
    arguments = (out, idx.contiguous(), coef.contiguous(), W, bias, n, k, d, W.stride(0))
    with torch.cuda.device_of(W):
        gather_sum_kernel[(B, triton.cdiv(d, BD))](*arguments, T=T, BD=BD, ACC=ACC, num_warps=warps)
    return out
