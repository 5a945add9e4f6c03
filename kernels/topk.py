"""The k largest pre-activations of each token, computed exactly and with a fixed rule for ties."""

import math
from functools import partial

import torch
from torch import Tensor

from kernels.inputs import check_topk, differentiated

GROUP = 8  # columns in a group on the CPU
LOW = 2**32 - 1  # the lower half of a 64-bit key


def topk(z: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return values[b] and idx[b], the k largest elements of z[b, :], in unspecified order.

    z: (B, n), float32/64, bfloat16 or float16;  1 ≤ k ≤ n.  Returns values (B, k) in z's dtype and idx (B, k) int32.
    Elements equal to the k-th largest are taken from the lowest index up; −0 equals 0. NaN is larger than every number,
    as in torch.topk, and equal to NaN. It is not differentiable: a backward pass through it raises.
    """
    return topk_op(z, k) if differentiated(z) else _forward(z, k)


def _forward(z: Tensor, k: int) -> tuple[Tensor, Tensor]:
    check_topk(z, k)
    if not z.is_cuda:
        return _topk_cpu(z, k)
    if z.dtype != torch.float64:
        from kernels.topk_triton import MAX_K, MAX_N, launch  # imported here because macOS has no Triton

        if k <= MAX_K and z.shape[1] <= MAX_N:
            return launch(z, k)
    values, idx = topk_by_groups(z, k)
    return values, idx.to(torch.int32)


def _topk_cpu(z: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Find the k + 1 largest; where the last one equals the k-th, the wrong ties may be chosen, so settle these rows.

    Times on one core in ms, this function first, then torch.topk(sorted=False), at (B, n, k):
    66, 84 at (4096, 8192, 32);  42, 55 there after a ReLU;  7.4, 10.3 at (1024, 2048, 32);
    26, 51 at (1024, 8192, 128);  17, 42 at (256, 131072, 32);  29, 24 at (4096, 512, 256);
    1.5, 1.1 at (1024, 512, 4). In bfloat16 many rows tie: 14.5, 10 at (512, 8192, 32).
    """
    B, n = z.shape
    if k == n or B == 0:
        every = torch.arange(k, dtype=torch.int32, device=z.device).repeat(B, 1)
        return z[:, :k].clone(memory_format=torch.contiguous_format), every
    values, idx = _largest(z, k + 1)
    keys = _finite_order(values)
    next, smallest = keys.min(1, keepdim=True)
    for table in (keys, values, idx):  # overwrite the smallest by the last column, which is then dropped
        table.scatter_(1, smallest, table[:, k:].clone())
    kth = keys[:, :k].amin(1, keepdim=True)
    values, idx = values[:, :k].contiguous(), idx[:, :k].to(torch.int32)
    tied = ((kth == next) & (kth < math.inf)).nonzero()[:, 0]
    for rows in tied.split(256) if len(tied) else ():
        _settle_ties_(z, values, idx, rows, kth[rows])
    endless = (kth == math.inf).nonzero()[:, 0]  # k infinities or NaN, which `keys` does not distinguish
    if len(endless):
        top, column = z[endless].sort(dim=1, descending=True, stable=True)
        values[endless], idx[endless] = top[:, :k], column[:, :k].to(torch.int32)
    return values, idx


def _finite_order(values: Tensor) -> Tensor:
    """values with NaN, which counts as the largest, replaced by infinity, so that a minimum over them is never NaN."""
    return values.nan_to_num(math.inf, math.inf, -math.inf)


def _largest(z: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """torch.topk; for wide rows by group maxima. The columns of a group are n/8 apart, to reduce whole vectors."""
    n, groups = z.shape[1], z.shape[1] // GROUP
    # At 64·k > n torch.topk switches to a slower algorithm: 4.5 ms instead of 2.0 ms at (1024, 512, 9).
    if groups < 2 * k or 64 * k <= n < 1024:
        return z.topk(k, 1, sorted=False)
    rows = max(
        2**19 * torch.get_num_threads() // n, 1
    )  # 2 MiB of float32 per core, so that the second read hits its cache
    parts = [_largest_by_groups(block, k, groups) for block in z.split(rows)]
    values, idx = zip(*parts, strict=True)
    return torch.cat(values), torch.cat(idx)


def _largest_by_groups(z: Tensor, k: int, groups: int) -> tuple[Tensor, Tensor]:
    """Like `topk_by_groups`, but column c is in group c mod `groups`, and ties are broken arbitrarily."""
    whole = groups * GROUP
    chosen = z[:, :whole].unflatten(1, (GROUP, groups)).amax(1).topk(k, 1, sorted=False)[1]
    candidates = (chosen[:, None, :] + torch.arange(0, whole, groups, device=z.device)[:, None]).flatten(1)
    if whole < z.shape[1]:
        last = torch.arange(whole, z.shape[1], device=z.device).expand(len(z), -1)
        candidates = torch.cat([candidates, last], 1)
    values, place = z.gather(1, candidates).topk(k, 1, sorted=False)
    return values, candidates.gather(1, place)


def _settle_ties_(z: Tensor, values: Tensor, idx: Tensor, rows: Tensor, kth: Tensor) -> None:
    """In these rows, choose the elements equal to the k-th largest value from the lowest index up."""
    places = values[rows] == kth
    columns = _first_equal(z, rows, kth, places.sum(1))
    row, place = places.nonzero(as_tuple=True)
    idx[rows[row], place] = columns.to(torch.int32)
    values[rows[row], place] = z[rows[row], columns]  # 0 or −0


def _first_equal(z: Tensor, rows: Tensor, kth: Tensor, count: Tensor) -> Tensor:
    """The first count[r] columns of row rows[r] that hold kth[r], row after row; kth: (R, 1), count: (R,).

    They are searched for in the first 8·max(count) columns, which is enough if a ReLU made nearly every element 0, and
    then in all columns.
    """
    most, arange = int(count.max()), partial(torch.arange, device=z.device)
    found, left = rows.new_empty(len(rows), most), arange(len(rows))
    for width in (8 * most, z.shape[1]):
        row, column = (z[:, :width][rows[left]] == kth[left]).nonzero(as_tuple=True)
        there = torch.bincount(row, minlength=len(left))
        rank = arange(len(row)) - (there.cumsum(0) - there)[row]
        first = rank < count[left][row]
        found[left[row[first]], rank[first]] = column[first]
        left = left[there < count[left]]
    return found[arange(most) < count[:, None]]


def topk_by_groups(z: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """`topk` in plain torch, for GPU inputs that the Triton kernels do not support. It does not wait for the GPU.

    z: (B, n), 1 ≤ k ≤ n. Returns values and idx, (B, k) each, idx in int64.

    It computes n/G group maxima, selects the k groups with the largest maxima, and then the k largest among their k·G
    elements and the last n mod G ones. Ties go to the lower index and NaN is the largest, as in `topk`.
    """
    n = z.shape[1]
    G = 2 ** int(math.log2(n / k) / 2)  # the sum of maxima and candidates is smallest at √(n/k)
    whole = n // G
    maxima = z[:, : whole * G].unflatten(1, (whole, G)).amax(2) if G > 1 else z
    # Sorted, so that candidates are in the order of their columns.
    groups = _columns_of_largest(maxima, min(k, whole)).sort(1)[0]
    candidates = (groups[:, :, None] * G + torch.arange(G, device=z.device)).flatten(1)
    last = torch.arange(whole * G, n, device=z.device).expand(len(z), -1)
    candidates = torch.cat([candidates, last], 1)
    idx = candidates.gather(1, _columns_of_largest(z.gather(1, candidates), k))
    return z.gather(1, idx), idx


def _columns_of_largest(v: Tensor, k: int) -> Tensor:
    """The columns of the k largest elements of each row. Ties go to the lower column; NaN is the largest."""
    if v.dtype == torch.float64:  # a 64-bit key has no bits left for the column
        return v.sort(dim=1, descending=True, stable=True)[1][:, :k]
    column = torch.arange(v.shape[1], device=v.device)
    keys = (_float_order(v.float()).to(torch.int64) << 32) | (LOW - column)
    return LOW - (keys.topk(k, 1, sorted=False)[0] & LOW)


def _float_order(v: Tensor) -> Tensor:
    """int32 values in the same order as float32 v. −0 equals 0; every NaN is the largest."""
    bits = v.view(torch.int32)
    magnitude = bits & 0x7FFFFFFF
    return torch.where(bits < 0, -magnitude, magnitude).masked_fill_(v.isnan(), 0x7FFFFFFF)


@torch.library.custom_op("saescale::topk", mutates_args=())
def topk_op(z: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """`topk` as an op, for torch.compile and so that a backward pass raises."""
    return _forward(z, k)


@topk_op.register_fake
def _(z: Tensor, k: int) -> tuple[Tensor, Tensor]:
    check_topk(z, k)
    return z.new_empty(z.shape[0], k), z.new_empty(z.shape[0], k, dtype=torch.int32)
