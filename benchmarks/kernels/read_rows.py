"""A Triton kernel that only reads rows of a table in random order: the upper limit of every gather's speed."""

import torch
import triton
import triton.language as tl
from torch import Tensor

TILES = ((8, 128), (4, 256), (8, 256), (4, 512))  # T rows in flight, BD columns; one warp per program


@triton.jit
def read_rows_kernel(out, W, n, d, K: tl.constexpr, T: tl.constexpr, BD: tl.constexpr):
    """out[b, slab] = the sum of K rows of W selected by a hash of (b, j). Grid (B, slabs), with rows fastest."""
    b = tl.program_id(0)
    column = tl.program_id(1) * BD + tl.arange(0, BD)
    acc = tl.zeros([BD], dtype=tl.float32)
    for j in range(0, K, T):
        seed = (b * K + j + tl.arange(0, T)).to(tl.uint32) * 2654435761  # Knuth's multiplicative hash
        row = ((seed ^ (seed >> 15)) >> 1).to(tl.int32) % n
        inside = (j + tl.arange(0, T) < K)[:, None] & (column < d)[None, :]
        rows = tl.load(W + row.to(tl.int64)[:, None] * d + column[None, :], mask=inside, other=0.0)
        acc += tl.sum(rows.to(tl.float32), axis=0)
    tl.store(out + b.to(tl.int64) * d + column, acc, mask=column < d)


def launch(out: Tensor, W: Tensor, k: int, tile: tuple[int, int]) -> None:
    """out: (B, d) float32;  W: (n, d), contiguous."""
    (n, d), (T, BD) = W.shape, tile
    grid = (len(out), triton.cdiv(d, BD))
    with torch.cuda.device_of(W):
        read_rows_kernel[grid](out, W, n, d, K=k, T=T, BD=BD, num_warps=1)
