"""Upper limits of the machine's speed, measured in the same run as the kernels that are compared with them."""

from collections.abc import Callable
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.kernels.case import Shape
from benchmarks.kernels.clock import laps
from benchmarks.train.case import device

_COPIED = {"cuda": 2**31, "cpu": 2**27}  # bytes, too many for any cache


def copy_gb_s() -> float:
    """GB/s of copying memory, counting both the bytes read and the bytes written."""
    a = torch.empty(_COPIED[device()] // 2, dtype=torch.float32, device=device()).normal_()
    b = torch.empty_like(a)
    return 2 * a.numel() * a.element_size() / _seconds(lambda _: b.copy_(a)) / 1e9


def product_tflop_s(shape: Shape, dtype: torch.dtype) -> float:
    """TFLOP/s of the encoder's product (B, d)·(d, n) in torch, with B at most 4,096."""
    rows = min(shape.B, 4096)
    x, W = (torch.randn(r, shape.d, device=device(), dtype=dtype) for r in (rows, shape.n))
    z = torch.empty(rows, shape.n, device=device(), dtype=dtype)
    return 2 * rows * shape.n * shape.d / _seconds(lambda _: torch.mm(x, W.T, out=z)) / 1e12


def gather_gb_s(shape: Shape, dtype: torch.dtype, rows: int) -> float:
    """GB/s of reading B·k pseudo-random rows of a table (rows, d) in slabs, with no index and no weight to read.

    On CUDA a kernel sums the rows it reads, with the best of several tiles. With rows = n this is the ceiling of
    kernels that read W. With rows = B it is the ceiling of kernels that read X, which is smaller: this is the speed of
    L2 wherever a slab of the table fits there. On a CPU it is F.embedding_bag without weights, which reads 45 GB/s at
    the first shape on one EPYC core; index_select reads 21.
    """
    W = torch.randn(rows, shape.d, device=device(), dtype=dtype)
    read = shape.entries * shape.d * W.element_size()
    if device() == "cpu":
        idx = torch.randint(rows, (shape.B, shape.k))
        return read / _seconds(lambda _: F.embedding_bag(idx, W, mode="sum")) / 1e9
    from benchmarks.kernels.read_rows import TILES, launch

    out = torch.empty(shape.B, shape.d, dtype=torch.float32, device=device())
    return read / min(_seconds(_call(launch, out, W, shape.k, tile)) for tile in TILES) / 1e9


def _call(launch: Callable[..., None], out: Tensor, W: Tensor, k: int, tile: tuple[int, int]) -> Any:
    return lambda _: launch(out, W, k, tile)


def _seconds(work: Callable[[Any], object]) -> float:
    return median(laps(work, [None])) / 1000
