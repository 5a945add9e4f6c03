"""The Triton kernel of rowwise_adam_ and its launcher. Imported by CUDA calls and by tests only."""

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.adam_step import AdamStep
from kernels.tuning import tuned


@triton.jit
def rates_kernel(rates, step, lr, log_beta1, log_beta2):
    """rates = lr/(1 − β₁ᵗ), 1/√(1 − β₂ᵗ), in float64, since 1 − 0.999 keeps only 4 digits in float32. Grid (1,)."""
    t = tl.load(step).to(tl.float64)
    tl.store(rates, (lr / (1.0 - tl.exp2(t * log_beta1))).to(tl.float32))
    tl.store(rates + 1, (1.0 / tl.sqrt(1.0 - tl.exp2(t * log_beta2))).to(tl.float32))


@triton.jit
def adam_row(
    tables, rates, scale, betas, g, row, column, d, PROJECT: tl.constexpr, RENORMALISE: tl.constexpr
):
    """Apply Adam to one row. Its gradient g is in registers, and is 0 beyond column d.

    tables: p, m, v, low, average, squared; low, average and the argument scale may be None;  betas: beta1, beta2,
    1 − beta1, 1 − beta2, eps, 1 − decay.
    """
    p, m, v, low, average, squared = tables
    beta1, beta2, rest1, rest2, eps, fresh = betas
    inside, at = column < d, row * d + column
    w = tl.load(p + at, mask=inside, other=0.0)
    first = tl.load(m + at, mask=inside, other=0.0)
    second = tl.load(v + at, mask=inside, other=0.0)
    if PROJECT:
        g -= tl.sum(g * w) * w
    tl.store(squared + row, tl.sum(g * g))
    if scale is not None:
        g *= tl.load(scale)
    first = beta1 * first + rest1 * g
    second = beta2 * second + rest2 * g * g
    w -= tl.load(rates) * first / (tl.sqrt(second) * tl.load(rates + 1) + eps)
    if RENORMALISE:
        w = w / tl.maximum(tl.sqrt(tl.sum(tl.where(inside, w * w, 0.0))), 1e-12)
    tl.store(m + at, first, mask=inside)
    tl.store(v + at, second, mask=inside)
    tl.store(p + at, w, mask=inside)
    if low is not None:
        tl.store(low + at, w.to(low.dtype.element_ty), mask=inside)
    if average is not None:
        mean = tl.load(average + at, mask=inside, other=0.0)
        tl.store(average + at, mean + fresh * (w - mean), mask=inside)


@triton.jit
def rowwise_adam_kernel(
    p,
    m,
    v,
    low,
    average,
    squared,
    rates,
    scale,
    g,
    d,
    beta1,
    beta2,
    rest1,
    rest2,
    eps,
    fresh,
    PROJECT: tl.constexpr,
    RENORMALISE: tl.constexpr,
    BD: tl.constexpr,
):
    """Apply Adam to a row per program; the row stays in registers. Grid (n,)."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BD)
    gradient = tl.load(g + row * d + column, mask=column < d, other=0.0)
    tables = (p, m, v, low, average, squared)
    betas = (beta1, beta2, rest1, rest2, eps, fresh)
    adam_row(tables, rates, scale, betas, gradient, row, column, d, PROJECT, RENORMALISE)


def tile(d: int) -> tuple[int]:
    """Return the warps per program: 8 columns per thread, or 16 at d = 8,192.

    A wider row spills with any number of warps: four rows of 16,384 floats fill all registers of a multiprocessor.
    """
    return (min(max(triton.next_power_of_2(d) // 256, 1), 16),)


def step_sizes(adam: AdamStep) -> Tensor:
    """lr/(1 − β₁ᵗ) and 1/√(1 − β₂ᵗ), (2,) float32, on the device of adam.step."""
    rates = torch.empty(2, dtype=torch.float32, device=adam.step.device)
    logs = [math.log2(beta) if beta > 0 else -math.inf for beta in (adam.beta1, adam.beta2)]
    rates_kernel[(1,)](rates, adam.step, adam.lr, *logs, num_warps=1)
    return rates


def betas_of(adam: AdamStep) -> tuple[float, ...]:
    """The `betas` of adam_row."""
    return adam.beta1, adam.beta2, 1 - adam.beta1, 1 - adam.beta2, adam.eps, 1 - adam.decay


def launch(g: Tensor, adam: AdamStep) -> Tensor:
    """Launch rowwise_adam_ on checked inputs."""
    p = adam.p
    n, d = p.shape
    squared = torch.empty(n, dtype=torch.float32, device=p.device)
    if p.numel() == 0:
        return squared.zero_()
    (warps,) = tuned("rowwise_adam_", p, d) or tile(d)
    with torch.cuda.device_of(p):
        tables = (p, adam.m, adam.v, adam.low, adam.average, squared, step_sizes(adam), adam.scale)
        modes = dict(PROJECT=adam.project, RENORMALISE=adam.renormalise, BD=triton.next_power_of_2(d))
        rowwise_adam_kernel[(n,)](*tables, g, d, *betas_of(adam), **modes, num_warps=warps)
    return squared
