"""Shapes and inputs of the kernel benchmark, whose latents fire as unevenly as in a trained autoencoder."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from benchmarks.train.case import device

SETS = 3  # different input sets, used in turn: a single one would stay in the cache
_SHARED = 2**30  # bytes: a larger table fits no cache, so all sets share one
_MOST = 0.5  # the most frequent latent is active on every second token


@dataclass(frozen=True)
class Shape:
    """d: width;  n: latents;  k: active latents per token;  B: tokens."""

    d: int
    n: int
    k: int
    B: int

    @property
    def entries(self) -> int:
        return self.B * self.k

    def __str__(self) -> str:
        return f"d = {self.d}, n = {self.n:,}, k = {self.k}, B = {self.B:,}"


GOAL = Shape(768, 2**17, 32, 2**14)  # the shape for which goals are set
TOPK_GOAL = Shape(768, 2**17, 32, 2**12)
# The shapes are measured in this order, as far as time and memory allow.
CUDA = (
    GOAL,
    TOPK_GOAL,
    Shape(768, 2**15, 32, 2**12),
    Shape(2304, 2**16, 64, 2**14),
    Shape(4096, 2**17, 64, 2**12),
    Shape(1600, 2**17, 64, 2**14),
    Shape(4096, 2**17, 64, 2**14),
    Shape(768, 2**15, 32, 2**17),
    Shape(768, 2**17, 32, 2**17),
    Shape(8192, 2**19, 128, 2**14),
    Shape(768, 2**22, 32, 2**14),
    Shape(4096, 2**20, 64, 2**14),
)
CPU = (Shape(384, 2**13, 32, 2**12), Shape(576, 2**12, 32, 2**10))
QUICK = (Shape(24, 64, 4, 48),)


def inclusion(n: int, k: int, skew: float) -> Tensor:
    """π_i = min(½, c·(i + 1)^−skew), the probability that latent i is active on a token; Σ π = k; (n,) float64."""
    weight = torch.arange(1, n + 1, dtype=torch.float64).pow(-skew)
    low, high = 0.0, float(n**skew)
    for _ in range(100):
        c = (low + high) / 2
        low, high = (c, high) if float((c * weight).clamp(max=_MOST).sum()) < k else (low, c)
    return (high * weight).clamp(max=_MOST)


def skewed(shape: Shape, skew: float, seed: int) -> Tensor:
    """idx (B, k) int32. Latent i is in a row with probability π_i, and at most once; latents and entries are shuffled.

    This is systematic sampling: from a random start, k points at distance 1 are placed on a line on which latent i has
    length π_i ≤ ½. k must be below n/2.
    """
    r = torch.Generator().manual_seed(seed)
    ends = inclusion(shape.n, shape.k, skew).cumsum(0).to(device())
    start = torch.rand(shape.B, 1, generator=r, dtype=torch.float64)
    points = (start + torch.arange(shape.k)).to(device())
    rank = torch.searchsorted(ends, points).clamp(max=shape.n - 1)
    entry = torch.rand(shape.B, shape.k, generator=r).argsort(1).to(device())
    named = torch.randperm(shape.n, generator=r).to(device())
    return named[rank.gather(1, entry)].to(torch.int32)


@dataclass(frozen=True)
class Inputs:
    """idx, coef: (B, k);  W: (n, d);  X: (B, d), which also serves as the incoming gradient."""

    idx: Tensor
    coef: Tensor
    W: Tensor
    X: Tensor

    @cached_property
    def long(self) -> Tensor:
        return self.idx.long()


def inputs(shape: Shape, skew: float, dtype: torch.dtype) -> list[Inputs]:
    """Make SETS different input sets on the device of the benchmark."""
    return list(_inputs(shape, skew, dtype))


def _inputs(shape: Shape, skew: float, dtype: torch.dtype) -> Iterator[Inputs]:
    r = torch.Generator(device()).manual_seed(0)
    W = None
    for seed in range(SETS):
        if W is None or W.numel() * W.element_size() <= _SHARED:
            W = torch.randn(shape.n, shape.d, generator=r, device=device(), dtype=dtype)
        X = torch.randn(shape.B, shape.d, generator=r, device=device(), dtype=dtype)
        coef = torch.rand(shape.B, shape.k, generator=r, device=device())
        yield Inputs(skewed(shape, skew, seed), coef, W, X)
