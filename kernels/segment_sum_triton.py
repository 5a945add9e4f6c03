"""The Triton kernels of segment_sum and segment_sum_dot. Imported by CUDA calls and by tests only."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.inputs import accumulator
from kernels.plan import Plan
from kernels.tuning import tuned


@triton.jit
def items_kernel(
    sums,
    slots,
    parts,
    table,
    first,
    rows,
    coef,
    X,
    W,
    n,
    d,
    entries,
    stride_x,
    stride_w,
    ITEMS: tl.constexpr,
    T: tl.constexpr,
    BD: tl.constexpr,
    ACC: tl.constexpr,
):
    """Sum ITEMS items over a slab of BD columns, T rows of X in flight. A part of a latent goes to `slots`, not `sums`.

    With W, also write parts[slab, t] = X[rows[t], slab] · W[latent, slab]; an item reads its latent's row of W once.
    Grid (items, slabs), with items fastest: all finish one slab before the next one begins, so L2 must hold B · BD
    elements.
    """
    column = tl.program_id(1) * BD + tl.arange(0, BD)
    inside = column < d
    begin = tl.program_id(0) * ITEMS
    for item in range(begin, tl.minimum(begin + ITEMS, tl.load(first + n))):
        entry = table + tl.cast(item, tl.int64) * 4
        latent, t0 = tl.load(entry).to(tl.int64), tl.load(entry + 1)
        size, slot = tl.load(entry + 2), tl.load(entry + 3)
        acc = tl.zeros([BD], dtype=ACC)
        if W is not None:
            part = parts + tl.program_id(1).to(tl.int64) * entries + t0
            touched = column < tl.where(size > 0, d, 0)  # W is not read for a latent without entries
            w = tl.load(W + latent * stride_w + column, mask=touched, other=0.0).to(ACC)
        for done in range(0, size, T):
            # All T loads come before their use, since a store between them would delay the next load. Rows are loaded
            # one by one: the dots of a tile [T, BD] would pass through shared memory and a barrier before their store.
            cs, xs = tl.tuple(()), tl.tuple(())
            for j in tl.static_range(T):
                t, live = t0 + done + j, done + j < size
                b = tl.load(rows + t, mask=live, other=0).to(tl.int64)
                cs = cs + (tl.load(coef + t, mask=live, other=0.0).to(ACC),)
                touched = column < tl.where(live, d, 0)
                xs = xs + (tl.load(X + b * stride_x + column, mask=touched, other=0.0).to(ACC),)
            for j in tl.static_range(T):
                acc += cs[j] * xs[j]
                if W is not None:
                    tl.store(part + done + j, tl.sum(xs[j] * w), mask=done + j < size)
        if slot < 0:
            tl.store(sums + latent * d + column, acc.to(sums.dtype.element_ty), mask=inside)
        else:
            tl.store(slots + slot.to(tl.int64) * d + column, acc, mask=inside)


@triton.jit
def long_kernel(sums, slots, long, first, n, d, T: tl.constexpr, BD: tl.constexpr, ACC: tl.constexpr):
    """For latents with several items, sums[i] = their slots added in order, T at a time. Grid (≥ latents, slabs)."""
    second, third = first + n + 1, first + 2 * (n + 1)
    if tl.program_id(0) < tl.load(third + n) - tl.load(third):
        latent = tl.load(long + tl.program_id(0)).to(tl.int64)
        column = tl.program_id(1) * BD + tl.arange(0, BD)
        inside = column < d
        begin, end = (
            tl.load(second + latent) - tl.load(second),
            tl.load(second + latent + 1) - tl.load(second),
        )
        acc = tl.zeros([BD], dtype=ACC)
        for done in range(begin, end, T):
            slot = done + tl.arange(0, T)
            mask = (slot < end)[:, None] & inside[None, :]
            acc += tl.sum(
                tl.load(slots + slot[:, None].to(tl.int64) * d + column[None, :], mask=mask, other=0.0),
                axis=0,
            )
        tl.store(sums + latent * d + column, acc.to(sums.dtype.element_ty), mask=inside)


@triton.jit
def dots_kernel(dots, parts, order, bounds, n, slabs, entries, BM: tl.constexpr):
    """dots[order[t]] = Σ_slab parts[slab, t], added in the order of slabs; 0 at padding, which comes last."""
    t = tl.program_id(0).to(tl.int64) * BM + tl.arange(0, BM)
    inside, live = t < entries, t < tl.load(bounds + n)
    acc = tl.zeros([BM], dtype=dots.dtype.element_ty)
    for slab in range(slabs):
        acc += tl.load(parts + tl.cast(slab, tl.int64) * entries + t, mask=live, other=0.0)
    tl.store(dots + tl.load(order + t, mask=inside, other=0), acc, mask=inside)


def tile(d: int, dtype: torch.dtype, dots: bool) -> tuple[int, int, int, int]:
    """Return (items per program, T rows in flight, BD columns per slab, warps per program).

    One warp holds 4 KiB of X. With dots, T is at most 4: 8 rows of bfloat16 take 80 registers, so that only 25 warps,
    not 32, fit one multiprocessor of an H100, and ptxas delays half of their loads.
    """
    BD = min(256, triton.next_power_of_2(d))
    return 4, min(4 if dots else 32, 4096 // (BD * dtype.itemsize)), BD, 1


def launch(plan: Plan, coef: Tensor, X: Tensor, W: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
    """Launch segment_sum, or with W segment_sum_dot, on checked inputs: coef, dots (B, k);  X (B, d);  W (n, d)."""
    (n, d), M = (plan.n, X.shape[1]), plan.order.shape[0]
    sums = torch.empty(n, d, dtype=accumulator(X.dtype), device=X.device)
    acc = accumulator(X.dtype if W is None else torch.promote_types(X.dtype, W.dtype))
    if n == 0 or d == 0:
        return sums, None if W is None else torch.zeros(plan.shape, dtype=acc, device=X.device)
    items, ACC = plan.items, tl.float64 if acc == torch.float64 else tl.float32
    kernel = "segment_sum" if W is None else "segment_sum_dot"
    ITEMS, T, BD, warps = tuned(kernel, X, d) or tile(d, X.dtype, W is not None)
    slabs = triton.cdiv(d, BD)
    slots = torch.empty(items.slots, d, dtype=acc, device=X.device)
    parts = None if W is None else torch.empty(slabs, M, dtype=acc, device=X.device)
    X = X if d == 1 or X.stride(1) == 1 else X.contiguous()
    shape = (n, d, M, X.stride(0), 0 if W is None else W.stride(0))
    weights = coef.reshape(-1).index_select(0, plan.order)
    constants = dict(T=T, BD=BD, ACC=ACC, num_warps=warps)
    with torch.cuda.device_of(X):
        items_kernel[(triton.cdiv(len(items.table), ITEMS), slabs)](
            sums,
            slots,
            parts,
            items.table,
            items.first,
            plan.rows,
            weights,
            X,
            W,
            *shape,
            ITEMS=ITEMS,
            **constants,
        )
        if len(items.long):
            long_kernel[(len(items.long), slabs)](sums, slots, items.long, items.first, n, d, **constants)
        return sums, None if parts is None else _dots(plan, parts)


def _dots(plan: Plan, parts: Tensor) -> Tensor:
    (slabs, M), BM = parts.shape, 128  # one entry per thread: wider loads would need exchanges across warps
    dots = torch.empty(plan.shape, dtype=parts.dtype, device=parts.device)
    if M:
        dots_kernel[(triton.cdiv(M, BM),)](
            dots, parts, plan.order, plan.bounds, plan.n, slabs, M, BM=BM, num_warps=4
        )
    return dots
