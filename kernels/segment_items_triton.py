"""Work items of a balanced segment sum: each latent is cut into pieces of at most C entries, without a GPU sync."""

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.tuning import tuned


@dataclass(frozen=True, slots=True)
class Items:
    """A latent with at most C entries, even 0, is one item; a longer one is several, each with a slot for its sum.

    The counts exist only on the GPU, so every size here is an upper bound computed from n and B·k.
    """

    table: Tensor  # (≤ n + B·k/C, 4) int32: latent, first position, entries, slot or −1 for the only item of a latent
    first: (
        Tensor  # (3·(n + 1),) int32, a running sum: the first item, slot and place in `long` of each latent
    )
    long: Tensor  # (≤ B·k/(C + 1),) int32: the latents that have several items
    slots: int  # an upper bound on the number of slots


@triton.jit
def count_kernel(counts, bounds, n, C: tl.constexpr, BN: tl.constexpr):
    """counts[q, i + 1] of latent i: its items (q = 0), slots (1), and whether it has several (2); counts[q, 0] = 0."""
    place = tl.program_id(0) * BN + tl.arange(0, BN)
    inside, some = place <= n, (place <= n) & (place > 0)
    entries = tl.load(bounds + place, mask=some, other=0) - tl.load(bounds + place - 1, mask=some, other=0)
    items = tl.where(some, tl.maximum((entries + (C - 1)) // C, 1), 0)
    several = items > 1
    tl.store(counts + place, items, mask=inside)
    tl.store(counts + n + 1 + place, tl.where(several, items, 0), mask=inside)
    tl.store(counts + 2 * (n + 1) + place, several.to(tl.int32), mask=inside)


@triton.jit
def fill_kernel(table, long, first, bounds, n, C: tl.constexpr, BN: tl.constexpr):
    """Write the items of BN latents, one item per latent at a time, and list the latents that have several items."""
    latent = tl.program_id(0) * BN + tl.arange(0, BN)
    inside = latent < n
    begin = tl.load(bounds + latent, mask=inside, other=0)
    entries = tl.load(bounds + latent + 1, mask=inside, other=0) - begin
    item = tl.load(first + latent, mask=inside, other=0)
    items = tl.load(first + latent + 1, mask=inside, other=0) - item
    several = items > 1
    # The running sum runs through all three rows; subtracting the value at a row's start makes that row begin at 0.
    slot = tl.load(first + n + 1 + latent, mask=several, other=0) - tl.load(first + n + 1)
    place = tl.load(first + 2 * (n + 1) + latent, mask=several, other=0) - tl.load(first + 2 * (n + 1))
    tl.store(long + place, latent, mask=several)
    for q in range(tl.max(items)):
        live = q < items
        entry = table + (item + q).to(tl.int64) * 4
        tl.store(entry, latent, mask=live)
        tl.store(entry + 1, begin + q * C, mask=live)
        tl.store(entry + 2, tl.minimum(entries - q * C, C), mask=live)
        tl.store(entry + 3, tl.where(several, slot + q, -1), mask=live)


def longest(entries: int) -> int:
    """C, from 32 to 256. In between, B·k/C is 2¹³ … 2¹⁴: several items for each of a GPU's warps, and few slots."""
    return min(max(triton.next_power_of_2(entries // 2**14), 32), 256)


def build(bounds: Tensor, entries: int) -> Items:
    """Build the work items.  bounds: (n + 2,) int32 as in `Plan`;  entries: B·k."""
    n, BN = bounds.shape[0] - 2, 128
    (C,) = tuned("segment_items", bounds, n, entries) or (longest(entries),)
    counts = bounds.new_empty(3 * (n + 1))
    table, long = bounds.new_empty(n + entries // C, 4), bounds.new_empty(entries // (C + 1))
    with torch.cuda.device_of(bounds):
        count_kernel[(triton.cdiv(n + 1, BN),)](counts, bounds, n, C=C, BN=BN)
        # The running sum is over the flattened tensor: along the last of two dimensions torch uses one block per row.
        first = counts.cumsum(0, dtype=torch.int32)
        if n:
            fill_kernel[(triton.cdiv(n, BN),)](table, long, first, bounds, n, C=C, BN=BN)
    return Items(table, first, long, entries // C + entries // (C + 1))
