"""The k largest pre-activations of each token, exact, with one answer for ties."""

import torch
from torch import Tensor

from kernels.inputs import check_topk, differentiated
from kernels.topk_by_groups import topk_by_groups

GROUP = 8  # columns a group on the CPU


def topk(z: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """values[b], idx[b]: the k largest of z[b, :], in no promised order.

    z: (B, n), float32/64, bfloat16 or float16;  1 ≤ k ≤ n.  Returns values (B, k) in z's dtype and idx (B, k) int32.
    Elements equal to the k-th largest are taken from the lowest index up; −0 equals 0. NaN is larger than every number,
    as in torch.topk, and equal to NaN. It has no gradient: a backward pass through it raises.
    """
    return topk_op(z, k) if differentiated(z) else _forward(z, k)


def _forward(z: Tensor, k: int) -> tuple[Tensor, Tensor]:
    check_topk(z, k)
    if not z.is_cuda:
        return _topk_cpu(z, k)
    if z.dtype != torch.float64:
        from kernels.topk_triton import MAX_K, MAX_N, launch  # here, since Triton is absent on macOS

        if k <= MAX_K and z.shape[1] <= MAX_N:
            return launch(z, k)
    values, idx = topk_by_groups(z, k)
    return values, idx.to(torch.int32)


def _topk_cpu(z: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """One element more than asked for: rows where it equals the k-th may hold the wrong ones of several equals.

    It is slower than torch.topk, which lets ties fall as they may, where many rows tie or k is large. One core, ms,
    against torch.topk: 12.9, 9.6 for bfloat16 at (B, n, k) = (512, 8192, 32);  47, 37 at k = 512;  1.5, 1.1 at
    (1024, 512, 4);  87, 5.6 where a ReLU left nearly every element 0: take the ReLU after it.
    """
    B, n = z.shape
    if k == n or B == 0:
        every = torch.arange(k, dtype=torch.int32).repeat(B, 1)
        return z[:, :k].clone(memory_format=torch.contiguous_format), every
    values, idx = _largest(z, k + 1)
    kth, next = values[:, k - 1], values[:, k]
    tied = ((kth == next) | next.isnan()).nonzero()[:, 0]
    values, idx = values[:, :k].contiguous(), idx[:, :k].to(torch.int32)
    for rows in tied.split(256):
        _settle_ties_(z, values, idx, rows)
    return values, idx


def _largest(z: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """torch.topk; of wide rows, by the maxima of groups that lie n/8 apart, so that they reduce whole vectors.

    One core, ms, `topk` against torch.topk: 62, 80 at (B, n, k) = (4096, 8192, 32);  7.9, 10.2 at (1024, 2048, 32);
    29, 50 at (1024, 8192, 128);  17, 41 at (256, 131072, 32).
    """
    n, groups = z.shape[1], z.shape[1] // GROUP
    # At 64·k > n torch.topk goes over to a slower way: 4.5 ms, not 2.0, at (1024, 512, 9).
    if groups < 2 * k or 64 * k <= n < 1024:
        return z.topk(k, 1)
    rows = max(
        2**19 * torch.get_num_threads() // n, 1
    )  # 2 MiB of float32 a core: the second look meets its cache
    parts = [_largest_by_groups(block, k, groups) for block in z.split(rows)]
    values, idx = zip(*parts, strict=True)
    return torch.cat(values), torch.cat(idx)


def _largest_by_groups(z: Tensor, k: int, groups: int) -> tuple[Tensor, Tensor]:
    """As `topk_by_groups`, column c in group c mod `groups`; any of several equal elements."""
    whole = groups * GROUP
    chosen = z[:, :whole].unflatten(1, (GROUP, groups)).amax(1).topk(k, 1, sorted=False)[1]
    candidates = (chosen[:, None, :] + torch.arange(0, whole, groups)[:, None]).flatten(1)
    if whole < z.shape[1]:
        last = torch.arange(whole, z.shape[1]).expand(len(z), -1)
        candidates = torch.cat([candidates, last], 1)
    values, place = z.gather(1, candidates).topk(k, 1)
    return values, candidates.gather(1, place)


def _settle_ties_(z: Tensor, values: Tensor, idx: Tensor, rows: Tensor) -> None:
    """In these rows, fill the places of the k-th largest value, which are the last ones, from the lowest index up."""
    kth, k = values[rows, -1:], values.shape[1]
    row, column = _equal(z[rows], kth).nonzero(as_tuple=True)
    count = torch.bincount(row, minlength=len(rows))
    rank = torch.arange(len(row)) - (count.cumsum(0) - count)[row]
    place = (k - _equal(values[rows], kth).sum(1))[row] + rank
    taken = place < k
    row, column, place = rows[row[taken]], column[taken], place[taken]
    idx[row, place] = column.to(torch.int32)
    values[row, place] = z[row, column]  # 0 or −0


def _equal(z: Tensor, kth: Tensor) -> Tensor:
    equal = z == kth
    return equal | (z.isnan() & kth.isnan()) if kth.isnan().any() else equal


@torch.library.custom_op("saescale::topk", mutates_args=())
def topk_op(z: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """`topk` as an op, for torch.compile and to refuse a gradient."""
    return _forward(z, k)


@topk_op.register_fake
def _(z: Tensor, k: int) -> tuple[Tensor, Tensor]:
    check_topk(z, k)
    return z.new_empty(z.shape[0], k), z.new_empty(z.shape[0], k, dtype=torch.int32)
