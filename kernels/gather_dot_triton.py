"""The Triton kernel of gather_dot and its launcher. Imported by CUDA calls and by tests only."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.tuning import tuned


@triton.jit
def gather_dot_kernel(
    out,
    idx,
    G,
    W,
    n,
    k,
    d,
    blocks,
    stride_g,
    stride_w,
    BK: tl.constexpr,
    BD: tl.constexpr,
    ACC: tl.constexpr,
):
    """Compute out[b, j] = G[b] · W[idx[b, j]] for one b and BK values of j, with BK rows of W in flight; 0 at padding.

    Grid (B · blocks,). The blocks of a row are adjacent in the grid, so that they find its G in a cache.
    """
    b = (tl.program_id(0) // blocks).to(tl.int64)
    j = tl.program_id(0) % blocks * BK + tl.arange(0, BK)
    i = tl.load(idx + b * k + j, mask=j < k, other=-1).to(tl.int64)
    tl.device_assert(
        (i >= -1) & (i < n), "gather_dot: idx holds an index >= n or < -1"
    )  # compiled under TRITON_DEBUG=1 only
    live = (i >= 0) & (i < n)
    acc = tl.zeros([BK, BD], dtype=ACC)
    for first in range(0, d, BD):
        column = first + tl.arange(0, BD)
        inside = column < d
        g = tl.load(G + b * stride_g + column, mask=inside, other=0.0).to(ACC)
        rows = tl.load(
            W + i[:, None] * stride_w + column[None, :], mask=live[:, None] & inside[None, :], other=0.0
        ).to(ACC)
        acc += g[None, :] * rows
    # Padding is 0 even where G is infinite or NaN.
    dots = tl.where(live, tl.sum(acc, axis=1), 0.0)
    tl.store(out + b * k + j, dots, mask=j < k)


def tile(d: int, dtype: torch.dtype) -> tuple[int, int, int]:
    """Return (BK, BD, warps): BK rows of W in flight, BD columns at a time, and the warps per program."""
    BD = min(256, triton.next_power_of_2(d))
    return min(16, 2048 // (BD * dtype.itemsize)), BD, 1


def launch(idx: Tensor, G: Tensor, W: Tensor, acc: torch.dtype) -> Tensor:
    """Launch gather_dot on checked inputs: idx (B, k);  G (B, d);  W (n, d), columns adjacent.  Returns (B, k), acc."""
    (B, k), (n, d) = idx.shape, W.shape
    out = torch.empty(B, k, dtype=acc, device=W.device)
    if out.numel() == 0:
        return out
    BK, BD, warps = tuned("gather_dot", W, d) or tile(d, W.dtype)
    blocks, ACC = triton.cdiv(k, BK), tl.float64 if acc == torch.float64 else tl.float32
    G = G if d == 1 or G.stride(1) == 1 else G.contiguous()
    arguments = (out, idx.contiguous(), G, W, n, k, d, blocks, G.stride(0), W.stride(0))
    with torch.cuda.device_of(W):
        gather_dot_kernel[(B * blocks,)](*arguments, BK=BK, BD=BD, ACC=ACC, num_warps=warps)
    return out
