"""Triton kernels and launcher of segment_sum_adam_. Imported by CUDA calls and by tests only."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.adam_step import AdamStep
from kernels.plan import Plan
from kernels.rowwise_adam_triton import adam_row, betas_of, step_sizes
from kernels.rowwise_adam_triton import tile as row_tile
from kernels.tuning import tuned


@triton.jit
def step_items_kernel(
    slots,
    table,
    first,
    rows,
    coef,
    X,
    p,
    m,
    v,
    low,
    average,
    squared,
    rates,
    scale,
    n,
    d,
    stride_x,
    beta1,
    beta2,
    rest1,
    rest2,
    eps,
    fresh,
    PROJECT: tl.constexpr,
    RENORMALISE: tl.constexpr,
    T: tl.constexpr,
    BD: tl.constexpr,
):
    """Sum an item's rows of X, T in flight, and update its latent; if the latent has several items, write to `slots`.

    Grid (upper bound on the items,). A program holds the whole row, since the projection and the norm need it.
    """
    item = tl.program_id(0)
    if item < tl.load(first + n):
        entry = table + item.to(tl.int64) * 4
        latent, t0 = tl.load(entry).to(tl.int64), tl.load(entry + 1)
        size, slot = tl.load(entry + 2), tl.load(entry + 3)
        column = tl.arange(0, BD)
        acc = tl.zeros([BD], dtype=tl.float32)
        for done in range(0, size, T):
            cs, xs = tl.tuple(()), tl.tuple(())
            for j in tl.static_range(T):
                t, live = t0 + done + j, done + j < size
                b = tl.load(rows + t, mask=live, other=0).to(tl.int64)
                cs = cs + (tl.load(coef + t, mask=live, other=0.0).to(tl.float32),)
                touched = column < tl.where(live, d, 0)
                xs = xs + (tl.load(X + b * stride_x + column, mask=touched, other=0.0).to(tl.float32),)
            for j in tl.static_range(T):
                acc += cs[j] * xs[j]
        if slot < 0:
            tables = (p, m, v, low, average, squared)
            betas = (beta1, beta2, rest1, rest2, eps, fresh)
            adam_row(tables, rates, scale, betas, acc, latent, column, d, PROJECT, RENORMALISE)
        else:
            tl.store(slots + slot.to(tl.int64) * d + column, acc, mask=column < d)


@triton.jit
def step_long_kernel(
    slots,
    long,
    first,
    p,
    m,
    v,
    low,
    average,
    squared,
    rates,
    scale,
    n,
    d,
    beta1,
    beta2,
    rest1,
    rest2,
    eps,
    fresh,
    PROJECT: tl.constexpr,
    RENORMALISE: tl.constexpr,
    T: tl.constexpr,
    BD: tl.constexpr,
):
    """Update each latent that has several items, with the sum of its slots in order. Grid (upper bound on these,)."""
    second, third = first + n + 1, first + 2 * (n + 1)
    if tl.program_id(0) < tl.load(third + n) - tl.load(third):
        latent = tl.load(long + tl.program_id(0)).to(tl.int64)
        begin = tl.load(second + latent) - tl.load(second)
        end = tl.load(second + latent + 1) - tl.load(second)
        column = tl.arange(0, BD)
        acc = tl.zeros([BD], dtype=tl.float32)
        for slot in range(begin, end, T):
            parts = tl.tuple(())
            for j in tl.static_range(T):
                touched = column < tl.where(slot + j < end, d, 0)
                at = tl.cast(slot + j, tl.int64) * d + column
                parts = parts + (tl.load(slots + at, mask=touched, other=0.0),)
            for j in tl.static_range(T):
                acc += parts[j]
        tables = (p, m, v, low, average, squared)
        betas = (beta1, beta2, rest1, rest2, eps, fresh)
        adam_row(tables, rates, scale, betas, acc, latent, column, d, PROJECT, RENORMALISE)


def tile(d: int, dtype: torch.dtype) -> tuple[int, int]:
    """Return (T, warps): rows in flight and warps per program.

    T · 256 columns are 4 KiB of X per warp, or 2 KiB if d > 4,096.
    """
    return 16 // dtype.itemsize // (2 if d > 4096 else 1), *row_tile(d)


def launch(plan: Plan, coef: Tensor, X: Tensor, adam: AdamStep) -> Tensor:
    """Launch segment_sum_adam_ on checked inputs."""
    p = adam.p
    n, d = p.shape
    squared = torch.empty(n, dtype=torch.float32, device=p.device)
    if p.numel() == 0:
        return squared.zero_()
    T, warps = tuned("segment_sum_adam_", X, d) or tile(d, X.dtype)
    items, BD = plan.items, triton.next_power_of_2(d)
    slots = torch.empty(items.slots, d, dtype=torch.float32, device=p.device)
    X = X if d == 1 or X.stride(1) == 1 else X.contiguous()
    weights = coef.reshape(-1).index_select(0, plan.order)
    betas = betas_of(adam)
    constants = dict(PROJECT=adam.project, RENORMALISE=adam.renormalise, T=T, BD=BD, num_warps=warps)
    with torch.cuda.device_of(p):
        tables = (p, adam.m, adam.v, adam.low, adam.average, squared, step_sizes(adam), adam.scale, n, d)
        entries = (items.table, items.first, plan.rows, weights, X)
        step_items_kernel[(len(items.table),)](slots, *entries, *tables, X.stride(0), *betas, **constants)
        if len(items.long):
            step_long_kernel[(len(items.long),)](slots, items.long, items.first, *tables, *betas, **constants)
    return squared
