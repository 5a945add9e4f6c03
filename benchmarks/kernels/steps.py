"""Whole training steps of a TopK autoencoder on the same rows: ours, dense autograd, and steps with peers' kernels.

All of them train fp32 weights with a fused Adam and matrix products in the benchmark's precision; AuxK is off. Only our
step also does the rest of the recipe: projection, unit norm, weight average and counters.
"""

from collections.abc import Callable, Container, Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.kernels.case import Shape
from benchmarks.kernels.peers import (
    OPENAI,
    SPARSIFY,
    openai_decode,
    openai_segment_sum,
    sparsify_decode,
    sparsify_encode,
)
from benchmarks.kernels.works import OURS
from benchmarks.train.case import Case, device
from benchmarks.train.ours import PRECISION, Memory, a_run

DENSE, ENCODER = "dense autograd", "encoder product"
Forward = Callable[["Weights", Tensor], Tensor]


class Weights:
    """The parameters of a peer's step, and their Adam optimiser."""

    def __init__(self, shape: Shape) -> None:
        self.k = shape.k
        r = torch.Generator(device()).manual_seed(0)
        W = F.normalize(torch.randn(shape.n, shape.d, generator=r, device=device()), dim=1)
        self.W_enc, self.W_dec = torch.nn.Parameter(W.clone()), torch.nn.Parameter(W)
        self.b_pre = torch.nn.Parameter(torch.zeros(shape.d, device=device()))
        self.b_enc = torch.nn.Parameter(torch.zeros(shape.n, device=device()))
        self.adam = torch.optim.Adam([self.W_enc, self.W_dec, self.b_pre, self.b_enc], lr=1e-4, fused=True)


class Step:
    """A peer's step: autograd through `forward` with the mean squared error as the loss, then Adam."""

    def __init__(self, shape: Shape, forward: Forward) -> None:
        self.weights, self.forward = Weights(shape), forward

    def __call__(self, x: Tensor) -> None:
        bf16 = PRECISION[device()] == "bf16"
        with torch.autocast(device(), torch.bfloat16, enabled=bf16):
            out = self.forward(self.weights, x)
        (out.float() - x).pow(2).sum(1).mean().backward()
        self.weights.adam.step()
        self.weights.adam.zero_grad()


def _pre(w: Weights, x: Tensor) -> Tensor:
    return F.linear(x - w.b_pre, w.W_enc, w.b_enc)


def dense(w: Weights, x: Tensor) -> Tensor:
    """The straightforward implementation: five dense products over the (B, n) latents."""
    pre = _pre(w, x)
    values, idx = pre.topk(w.k, dim=1, sorted=False)
    z = torch.zeros_like(pre).scatter(1, idx, values.relu())
    return z @ w.W_dec + w.b_pre


def openai(w: Weights, x: Tensor) -> Tensor:
    """OpenAI's decoder, and an encoder whose weight gradient uses the same kernels."""
    centred = x - w.b_pre
    dtype = torch.bfloat16 if torch.is_autocast_enabled(device()) else x.dtype
    values, idx = _SparseEncoder.apply(centred.to(dtype), w.W_enc.to(dtype), w.b_enc.to(dtype), w.k)
    return openai_decode(idx, values.relu(), w.W_dec.to(dtype)) + w.b_pre


class _SparseEncoder(torch.autograd.Function):
    """The k largest pre-activations. The gradient of x, and so that of b_pre through the encoder, is omitted."""

    @staticmethod
    def forward(ctx, x: Tensor, W: Tensor, b: Tensor, k: int) -> tuple[Tensor, Tensor]:
        values, idx = F.linear(x, W, b).topk(k, dim=1, sorted=False)
        ctx.save_for_backward(x, idx)
        ctx.n = len(W)
        ctx.mark_non_differentiable(idx)
        return values, idx

    @staticmethod
    def backward(ctx, d_values: Tensor, _: Any) -> tuple[None, Tensor, Tensor, None]:
        x, idx = ctx.saved_tensors
        d_W = openai_segment_sum(idx, d_values, x, ctx.n)
        d_b = d_values.new_zeros(ctx.n).index_add_(0, idx.flatten(), d_values.flatten())
        return None, d_W, d_b, None


def sparsify(w: Weights, x: Tensor) -> Tensor:
    """eai-sparsify's fused encoder and decoder."""
    dtype = torch.bfloat16 if torch.is_autocast_enabled(device()) else x.dtype
    W_enc, b_enc, W_dec = (p.to(dtype) for p in (w.W_enc, w.b_enc, w.W_dec))
    values, idx = sparsify_encode((x - w.b_pre).to(dtype), W_enc, b_enc, w.k)
    return sparsify_decode(idx, values, W_dec) + w.b_pre


FORWARDS: dict[str, Forward] = {
    DENSE: dense,
    OPENAI: openai,
    SPARSIFY: sparsify,
}


def batches(shape: Shape) -> list[Tensor]:
    """Three batches (B, d), float32; the scale of the columns falls from 1 to 0.1.

    The rows then have about as many effective directions as a trained model's.
    """
    r = torch.Generator(device()).manual_seed(0)
    scale = torch.logspace(0, -1, shape.d, device=device())
    return [torch.randn(shape.B, shape.d, generator=r, device=device()) * scale for _ in range(3)]


def ours(shape: Shape, x: list[Tensor]) -> Callable[[Tensor], object]:
    """Our `Run.step`: gradients, projection, Adam, unit norm, weight average and counters."""
    source = Memory(torch.cat([part[:512] for part in x]))
    return a_run(Case(shape.d, shape.n, shape.k, shape.B, laps=0), source).step


def encoder(shape: Shape) -> Callable[[Tensor], object]:
    """The encoder's product, the one dense product that every step needs, in the benchmark's precision."""
    dtype = torch.bfloat16 if PRECISION[device()] == "bf16" else torch.float32
    W = torch.randn(shape.n, shape.d, device=device(), dtype=dtype)
    rows = max(1, min(shape.B, 2**31 // shape.n))
    z = torch.empty(rows, shape.n, device=device(), dtype=dtype)

    def product(x: Tensor) -> None:
        for part in x.to(dtype).split(rows):
            torch.mm(part, W.T, out=z[: len(part)])

    return product


def bytes_of(shape: Shape, who: str) -> float:
    """Rough upper bound on a step's memory: weights, gradients, moments, copies of both tables, and (B, n) tensors."""
    tables = 2 * shape.n * shape.d * (26 if who == OURS else 22)
    scores = 2 * shape.B * shape.n
    whole = {DENSE: 6, OPENAI: 1, SPARSIFY: 2}.get(who, 0)
    return tables + whole * scores + 24 * shape.B * shape.d


def contenders(
    shape: Shape, x: list[Tensor], absent: Container[str]
) -> Iterator[tuple[str, Callable[[], Callable[[Tensor], object]]]]:
    """The name of each contender, and a function that builds its step for batches like x."""
    yield ENCODER, lambda: encoder(shape)
    yield OURS, lambda: ours(shape, x)
    for name, forward in FORWARDS.items():
        if name not in absent:
            yield name, partial(Step, shape, forward)
