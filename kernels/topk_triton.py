"""The Triton kernels of topk and their launcher. Imported by CUDA calls and by tests only.

The k groups of G columns with the largest maxima contain the k largest elements: an element outside them ranks after k
group maxima. So the first pass reads z and writes n/G maxima, the second selects k groups, and the third selects k of
their k·G elements, the candidates. Each selection is made on packed keys: the value in the high bits and the complement
of its place in the low bits. All keys are different, and ties go to the lower place.
"""

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.tuning import tuned

MAX_K = 128
MAX_N = 2**22  # places must fit the 16 low bits of a key, so n/G ≤ 2¹⁶
INFINITY = {torch.float32: 0x7F800000, torch.bfloat16: 0x7F80, torch.float16: 0x7C00}  # the bits of infinity


@triton.jit
def ordered(bits, INF: tl.constexpr, MAX: tl.constexpr):
    """Integers in the order of the floats with these bits (int32). −0 equals 0; every NaN is MAX, above infinity."""
    magnitude = bits & MAX
    return tl.where(magnitude > INF, MAX, tl.where(bits < 0, -magnitude, magnitude))


@triton.jit
def packed(value, place, KEY: tl.constexpr, SHIFT: tl.constexpr):
    """A key for (value, place): a larger value gives a larger key; of equal values, the lower place does."""
    LOW: tl.constexpr = (1 << SHIFT) - 1
    return (value.to(KEY) << SHIFT) | (LOW - place.to(KEY))


@triton.jit
def place_of(key, SHIFT: tl.constexpr):
    LOW: tl.constexpr = (1 << SHIFT) - 1
    return (LOW - (key & LOW)).to(tl.int32)


@triton.jit
def merged(best, keys, K: tl.constexpr):
    """The K largest among the K keys `best` and a block of keys."""
    return tl.topk(tl.reshape(tl.join(best, tl.topk(keys, K)), [2 * K]), K)


@triton.jit
def larger(a, b):
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def maxima_kernel(
    maxima,
    z,
    n,
    groups,
    stride,
    G: tl.constexpr,
    BG: tl.constexpr,
    INF: tl.constexpr,
    MAX: tl.constexpr,
):
    """maxima[b, q] = ordered max of z[b, q·G … q·G + G − 1]. Grid (B, blocks of BG groups).

    The maximum is one of floats, in float32, and only it is ordered: ordering every element first takes 2.4 times the
    instructions and makes the kernel wait for arithmetic instead of memory.
    """
    b = tl.program_id(0).to(tl.int64)
    group = tl.program_id(1) * BG + tl.arange(0, BG)
    column = group[:, None] * G + tl.arange(0, G)[None, :]
    # Columns beyond n tie with −infinity here; where they matter, among the candidates, they lie below it.
    elements = tl.load(z + b * stride + column, mask=column < n, other=float("-inf"))
    largest = tl.reduce(elements.to(tl.float32), 1, larger)
    if z.dtype.element_ty == tl.bfloat16:  # its bits are the upper half, also of a NaN that hardware makes
        bits = largest.to(tl.int32, bitcast=True) >> 16
    elif z.dtype.element_ty == tl.float16:
        bits = largest.to(tl.float16).to(tl.int16, bitcast=True).to(tl.int32)
    else:
        bits = largest.to(tl.int32, bitcast=True)
    tl.store(
        maxima + b * groups + group,
        ordered(bits, INF, MAX).to(maxima.dtype.element_ty),
        mask=group < groups,
    )


@triton.jit
def group_keys(maxima, group, groups, MAX: tl.constexpr, KEY: tl.constexpr, SHIFT: tl.constexpr):
    largest = tl.load(maxima + group, mask=group < groups, other=-MAX).to(tl.int32)
    return packed(largest, group, KEY, SHIFT)


@triton.jit
def groups_kernel(
    chosen,
    maxima,
    groups,
    K: tl.constexpr,
    BLOCKS: tl.constexpr,
    BN: tl.constexpr,
    MAX: tl.constexpr,
    KEY: tl.constexpr,
    SHIFT: tl.constexpr,
):
    """chosen[b]: the K groups with the largest maxima, ascending, BN at a time; groups beyond the last are empty."""
    b = tl.program_id(0).to(tl.int64)
    lane = tl.arange(0, BN)
    best = tl.topk(group_keys(maxima + b * groups, lane, groups, MAX, KEY, SHIFT), K)
    for block in range(1, BLOCKS):
        keys = group_keys(maxima + b * groups, block * BN + lane, groups, MAX, KEY, SHIFT)
        best = merged(best, keys, K)
    tl.store(chosen + b * K + tl.arange(0, K), tl.sort(place_of(best, SHIFT)))


@triton.jit
def column_of(chosen, place, G: tl.constexpr):
    """The column of z of a candidate's place. Columns ascend with places, so that ties stay in order."""
    return tl.load(chosen + place // G) * G + place % G


@triton.jit
def candidate_keys(
    bits,
    chosen,
    place,
    n,
    G: tl.constexpr,
    INF: tl.constexpr,
    MAX: tl.constexpr,
    KEY: tl.constexpr,
    SHIFT: tl.constexpr,
):
    column = column_of(chosen, place, G)
    z = tl.load(bits + column, mask=column < n, other=0).to(tl.int32)
    return packed(tl.where(column < n, ordered(z, INF, MAX), -MAX), place, KEY, SHIFT)


@triton.jit
def candidates_kernel(
    values,
    idx,
    bits,
    chosen,
    n,
    stride,
    k,
    K: tl.constexpr,
    G: tl.constexpr,
    BC: tl.constexpr,
    INF: tl.constexpr,
    MAX: tl.constexpr,
    KEY: tl.constexpr,
    SHIFT: tl.constexpr,
):
    """Store in values[b] and idx[b] the k largest elements of the chosen groups of row b, BC candidates at a time."""
    b = tl.program_id(0).to(tl.int64)
    row, groups, lane = bits + b * stride, chosen + b * K, tl.arange(0, BC)
    best = tl.topk(candidate_keys(row, groups, lane, n, G, INF, MAX, KEY, SHIFT), K)
    for start in range(BC, K * G, BC):
        best = merged(best, candidate_keys(row, groups, start + lane, n, G, INF, MAX, KEY, SHIFT), K)
    column, j = column_of(groups, place_of(best, SHIFT), G), tl.arange(0, K)
    tl.store(idx + b * k + j, column, mask=j < k)
    # Values are read from z again, since a key keeps neither −0 nor the bits of a NaN.
    tl.store(values + b * k + j, tl.load(row + column, mask=j < k, other=0), mask=j < k)


def tile(n: int, k: int) -> tuple[int, int, int, int]:
    """Return (G, BN, BC, warps): columns per group, most maxima and candidates at a time, warps of a selecting program.
    n/G maxima plus k·G candidates are fewest at G = √(n/k). 16 columns of bfloat16 are two 128-bit loads.
    """
    G = 2 ** round(math.log2(n / k) / 2)
    return min(max(G, 16), 64), 2048, 2048, 4


def launch(z: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Launch topk on checked inputs: z (B, n), n ≤ MAX_N, float32, bfloat16 or float16;  k ≤ MAX_K."""
    (B, n), K = z.shape, max(2, triton.next_power_of_2(k))
    values = torch.empty(B, k, dtype=z.dtype, device=z.device)
    idx = torch.empty(B, k, dtype=torch.int32, device=z.device)
    if B == 0:
        return values, idx
    z = z if n == 1 or z.stride(1) == 1 else z.contiguous()
    G, BN, BC, warps = tuned("topk", z, n, k) or tile(n, K)
    # With any tile there are at most 2¹⁶ groups and 2¹⁶ candidates, since their places must fit a key.
    G = min(max(G, triton.next_power_of_2(triton.cdiv(n, 2**16))), 2**16 // K)
    groups = triton.cdiv(n, G)
    BG = min(4096 // G, triton.next_power_of_2(groups))
    BN, BC = max(K, min(BN, triton.next_power_of_2(groups))), max(K, min(BC, K * G))
    integer, KEY, SHIFT = (
        (torch.int32, tl.int64, 32) if z.dtype == torch.float32 else (torch.int16, tl.int32, 16)
    )
    order = dict(INF=INFINITY[z.dtype], MAX=torch.iinfo(integer).max)
    keys = dict(MAX=order["MAX"], KEY=KEY, SHIFT=SHIFT)
    bits, stride = z.view(integer), z.stride(0)
    maxima = torch.empty(B, groups, dtype=integer, device=z.device)
    chosen = torch.empty(B, K, dtype=torch.int32, device=z.device)
    with torch.cuda.device_of(z):
        maxima_kernel[(B, triton.cdiv(groups, BG))](maxima, z, n, groups, stride, G=G, BG=BG, **order)
        groups_kernel[(B,)](
            chosen, maxima, groups, K=K, BLOCKS=triton.cdiv(groups, BN), BN=BN, **keys, num_warps=warps
        )
        candidates_kernel[(B,)](
            values.view(integer),
            idx,
            bits,
            chosen,
            n,
            stride,
            k,
            K=K,
            G=G,
            BC=BC,
            INF=order["INF"],
            **keys,
            num_warps=warps,
        )
    return values, idx
