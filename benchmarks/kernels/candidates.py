"""The tiles of each Triton kernel that are worth measuring: the reasoned tile and similar ones that can be as good.

Every candidate uses 128-bit loads wherever a slab is wide enough, and has from half to twice the reasoned bytes in
flight. No two warps share a column, since adding their sums would need shared memory and a barrier. No candidate spills
registers on sm_90 (tests/kernels/compile/test_compile_tuning.py).
"""

from collections.abc import Callable, Iterator

import torch
import triton

from kernels import (
    gather_dot_triton,
    gather_sum_triton,
    rowwise_adam_triton,
    segment_items_triton,
    segment_sum_adam_triton,
    segment_sum_triton,
    topk_triton,
)

Tile = tuple[int, ...]
_WARP = 32 * 16  # bytes of a row that a warp reads with one 128-bit load per thread
_SPILLS = {("gather_dot", torch.float32, (4, 512, 2))}  # 8 bytes per thread on sm_90, Triton 3.7.1


def reasoned(kernel: str, dtype: torch.dtype, *sizes: int) -> Tile:
    """The tile with which `kernel` is launched if the table has no entry; sizes as in kernels.tuning.KERNELS."""
    return _REASONED[kernel](dtype, *sizes)


def candidates(kernel: str, dtype: torch.dtype, *sizes: int) -> list[Tile]:
    """The reasoned tile first, then the others, without duplicates."""
    first = reasoned(kernel, dtype, *sizes)
    others = (tile for tile in _OTHERS[kernel](dtype, *sizes) if (kernel, dtype, tile) not in _SPILLS)
    return list(dict.fromkeys([first, *others]))


def _blocks(d: int, dtype: torch.dtype, flight: tuple[int, ...], most: int = 32) -> Iterator[Tile]:
    """Yield (T, BD, warps) with `flight` bytes per thread in T rows of a slab; T is from 2 to `most`."""
    for BD in (64, 128, 256, 512):
        for warps in (1, 2):
            row = BD * dtype.itemsize
            rows = [bytes * 32 * warps // row for bytes in flight]
            if BD <= triton.next_power_of_2(d) and (warps == 1 or row >= _WARP * warps):
                yield from ((T, BD, warps) for T in rows if 2 <= T <= most)


def _gather_sum(dtype: torch.dtype, d: int) -> Iterator[Tile]:
    return _blocks(d, dtype, (64, 128, 256))


def _gather_dot(dtype: torch.dtype, d: int) -> Iterator[Tile]:
    """Half the bytes of _gather_sum, since each row in flight also needs BD sums in float32."""
    return _blocks(d, dtype, (32, 64, 128))


def _segments(dots: bool) -> Callable[[torch.dtype, int], Iterator[Tile]]:
    """At most 16 rows in flight, or 8 with dots, since they are unrolled. ITEMS varies with the reasoned slab only."""

    def others(dtype: torch.dtype, d: int) -> Iterator[Tile]:
        ITEMS, *slab = segment_sum_triton.tile(d, dtype, dots)
        yield from ((few, *slab) for few in (1, 2, 8, 16))
        size = dtype.itemsize
        flight = (16 * size, 32 * size, 64 * size) if dots else (64, 128, 256)
        yield from ((ITEMS, *block) for block in _blocks(d, dtype, flight, 8 if dots else 16))

    return others


def _pieces(dtype: torch.dtype, n: int, entries: int) -> Iterator[Tile]:
    """Half and twice the reasoned C. Half of it doubles the slots, which are B·k/C rows of float32."""
    C = segment_items_triton.longest(entries)
    yield from ((piece,) for piece in (C // 2, 2 * C))


def _row_warps(d: int) -> list[int]:
    """The numbers of warps that give 4 to 16 columns per thread."""
    columns = triton.next_power_of_2(d)
    return [warps for warps in (1, 2, 4, 8, 16, 32) if 4 <= columns / (32 * warps) <= 16]


def _rowwise_adam(dtype: torch.dtype, d: int) -> Iterator[Tile]:
    yield from ((warps,) for warps in _row_warps(d))


def _segment_sum_adam(dtype: torch.dtype, d: int) -> Iterator[Tile]:
    """With 32 warps a thread has 64 registers: at d = 8,192 a row of p, m and v and 256 bytes of X would spill."""
    row = triton.next_power_of_2(d) * dtype.itemsize
    for warps in _row_warps(d):
        flight = (64, 128) if warps == 32 else (64, 128, 256)
        rows = (bytes * 32 * warps // row for bytes in flight)
        yield from ((T, warps) for T in rows if 2 <= T <= 16)


def _topk(dtype: torch.dtype, n: int, k: int) -> Iterator[Tile]:
    """Only one part of the tile varies at a time, since tl.topk takes seconds to compile."""
    G, BN, BC, warps = reasoned("topk", dtype, n, k)
    yield from ((columns, BN, BC, warps) for columns in (G // 2, 2 * G))
    keys = triton.next_power_of_2(max(n // G, k * G))  # a wider block would be reduced to this width
    yield from ((G, block, block, warps) for block in (BN // 2, 2 * BN) if block <= keys)
    yield from ((G, BN, BC, w) for w in (2, 8))


_REASONED: dict[str, Callable[..., Tile]] = {
    "gather_sum": lambda dtype, d: gather_sum_triton.tile(d, dtype),
    "gather_sum_mse": lambda dtype, d: gather_sum_triton.tile(d, dtype),
    "gather_dot": lambda dtype, d: gather_dot_triton.tile(d, dtype),
    "segment_items": lambda dtype, n, entries: (segment_items_triton.longest(entries),),
    "segment_sum": lambda dtype, d: segment_sum_triton.tile(d, dtype, False),
    "segment_sum_dot": lambda dtype, d: segment_sum_triton.tile(d, dtype, True),
    "rowwise_adam_": lambda dtype, d: rowwise_adam_triton.tile(d),
    "segment_sum_adam_": lambda dtype, d: segment_sum_adam_triton.tile(d, dtype),
    "topk": lambda dtype, n, k: topk_triton.tile(n, max(2, triton.next_power_of_2(k))),
}
_OTHERS: dict[str, Callable[..., Iterator[Tile]]] = {
    "gather_sum": _gather_sum,
    "gather_sum_mse": _gather_sum,
    "gather_dot": _gather_dot,
    "segment_items": _pieces,
    "segment_sum": _segments(dots=False),
    "segment_sum_dot": _segments(dots=True),
    "rowwise_adam_": _rowwise_adam,
    "segment_sum_adam_": _segment_sum_adam,
    "topk": _topk,
}
