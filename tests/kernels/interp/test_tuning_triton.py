"""Tiles worth measuring give the right result, by the interpreter, every access watched.

Where the order of a sum depends on the tile: gather_sum, gather_sum_mse on T (T rows are summed, then added), the
squares of gather_sum_mse, gather_dot and the dots of segment_sum_dot on BD (a block of columns is summed, then added),
segment_sum on T for latents of several items, everything by segments on C. On integers every order gives the same
bits, so there a term left out or taken twice shows. On a GPU the warps and the layout of a tile count too, wherever
columns or rows of one program are summed; the interpreter knows no warps.
"""

import itertools

import pytest
import torch

pytest.importorskip("triton")

from benchmarks.kernels.candidates import candidates
from kernels import (
    gather_dot_triton,
    gather_sum_mse_triton,
    gather_sum_triton,
    reference,
    rowwise_adam_triton,
    segment_sum_adam_triton,
    segment_sum_triton,
    topk_triton,
)
from kernels.plan import plan
from kernels.tuning import KERNELS, using
from tests.kernels import adam_cases
from tests.kernels.cases import TOLERANCE, Case, in_turn, make, relative_error
from tests.kernels.interp.sanitizer import sanitize, why_not
from tests.kernels.topk_cases import same, scores

if why_not():
    pytest.skip(why_not(), allow_module_level=True)
pytestmark = pytest.mark.interp

ROWS = Case(3, 11, 300, 9, pad=0.2)  # blocks of rows and of columns that end in a mask
LONG = Case(24, 4, 300, 3, pad=0.1, zipf=True)  # latents of several items


def tiles(kernel: str, case: Case, dtype=torch.bfloat16) -> list[tuple[int, ...]]:
    """Each once up to its warps, which the interpreter ignores."""
    found = candidates(kernel, dtype, case.d)
    assert {len(tile) for tile in found} == {len(KERNELS[kernel].tile)}
    return sorted({(*tile[:-1], 1) for tile in found})


def watched(kernel: str, tile: tuple[int, ...], call):
    with using(kernel, tile), sanitize("shuffle") as errors:
        out = call()
    assert not errors, (tile, errors)
    return out


def inputs(case: Case, dtype: torch.dtype, integers: bool):
    idx, coef, W, X = make(case, dtype, index=torch.int32)
    if integers:
        coef, W, X = (coef * 3).round(), (W * 2).round(), (X * 2).round()
    return idx, coef, W, X


@pytest.mark.parametrize("integers", [False, True])
def test_gather_sum(integers):
    idx, coef, W, X = inputs(ROWS, torch.float32, integers)
    exact = reference.gather_sum(idx, coef.double(), W.double(), None)
    by_rows: dict[int, torch.Tensor] = {}
    for tile in tiles("gather_sum", ROWS):
        out = watched("gather_sum", tile, lambda: gather_sum_triton.launch(idx, coef, W, None))
        error, squares = watched(
            "gather_sum_mse",
            tile,
            lambda: gather_sum_mse_triton.launch(idx, coef, W, X, None, torch.float32),
        )
        assert relative_error(out, exact) < (1e-30 if integers else TOLERANCE[torch.float32])
        assert torch.equal(out, by_rows.setdefault(tile[0], out))
        assert torch.equal(error, out - X)
        assert relative_error(squares, error.double().square().sum(1)) < 1e-6


@pytest.mark.parametrize("integers", [False, True])
def test_gather_dot(integers):
    idx, _, W, X = inputs(ROWS, torch.float32, integers)
    exact = reference.gather_dot(idx, X.double(), W.double())
    by_columns: dict[int, torch.Tensor] = {}
    for tile in tiles("gather_dot", ROWS):
        out = watched("gather_dot", tile, lambda: gather_dot_triton.launch(idx, X, W, torch.float32))
        assert relative_error(out, exact) < (1e-30 if integers else TOLERANCE[torch.float32])
        assert torch.equal(out, by_columns.setdefault(tile[1], out))


@pytest.mark.parametrize(("kernel", "integers"), in_turn(["segment_sum", "segment_sum_dot"], [False, True]))
def test_segment_sum(kernel, integers):
    idx, coef, W, X = inputs(LONG, torch.float32, integers)
    entries, dotted = plan(idx, LONG.n), kernel == "segment_sum_dot"
    exact = reference.segment_sum(idx, coef.double(), X.double(), LONG.n)
    exact_dots = reference.gather_dot(idx, X.double(), W.double())
    limit = 1e-30 if integers else TOLERANCE[torch.float32]
    sums_by_rows: dict[int, torch.Tensor] = {}
    dots_by_columns: dict[int, torch.Tensor] = {}
    for tile in tiles(kernel, LONG):
        sums, dots = watched(
            kernel, tile, lambda: segment_sum_triton.launch(entries, coef, X, W if dotted else None)
        )
        _, T, BD, _ = tile
        assert relative_error(sums, exact) < limit
        assert torch.equal(sums, sums_by_rows.setdefault(T, sums))
        if dotted:
            assert relative_error(dots, exact_dots) < limit
            assert torch.equal(dots, dots_by_columns.setdefault(BD, dots))


@pytest.mark.parametrize("C", [8, 16, 64])
def test_pieces_of_any_size(C):
    idx, coef, _, X = inputs(LONG, torch.float32, integers=True)
    with using("segment_items", (C,)):
        entries = plan(idx, LONG.n)
        sums, _ = watched("segment_items", (C,), lambda: segment_sum_triton.launch(entries, coef, X))
    lengths = entries.items.table[: int(entries.items.first[LONG.n]), 2]
    assert lengths.max() == min(C, entries.ptr.diff().max())
    assert torch.equal(sums.double(), reference.segment_sum(idx, coef.double(), X.double(), LONG.n))


def test_segment_sum_adam():
    """Bitwise the same for every tile: the rows in flight are added one after the other."""
    idx, coef, _, X = inputs(LONG, torch.bfloat16, integers=False)
    entries, gradient = plan(idx, LONG.n), reference.segment_sum(idx, coef.double(), X.double(), LONG.n)
    *before, _ = adam_cases.tables(LONG.n, LONG.d)
    outs = []
    for tile in tiles("segment_sum_adam_", LONG):

        def call(adam, tile=tile):
            launch = segment_sum_adam_triton.launch
            outs.append((adam.p, adam.m, adam.v))
            return watched("segment_sum_adam_", tile, lambda: launch(entries, coef, X, adam))

        adam_cases.check(call, before, gradient, 3, **adam_cases.MODES[3])
    assert len(outs) > 2
    for other in outs[1:]:
        assert all(map(torch.equal, outs[0], other))


def test_rowwise_adam():
    *before, g = adam_cases.tables(5, 300)

    def call(adam):
        return watched("rowwise_adam_", (2,), lambda: rowwise_adam_triton.launch(g, adam))

    adam_cases.check(call, before, g, 3, **adam_cases.MODES[3])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_topk(dtype):
    """Bitwise the same for every tile, ties included: keys are all different."""
    z, k = scores(2, 500, dtype).round(decimals=1), 3
    widths = sorted({tile[0] for tile in candidates("topk", dtype, 131072, 32)})
    assert len(widths) > 2
    outs = []
    for G, block in itertools.product(widths, (32, 128)):
        outs.append(watched("topk", (G, block, block, 2), lambda: topk_triton.launch(z, k)))
        same(z, *outs[-1], k)
    assert all(all(map(torch.equal, outs[0], other)) for other in outs[1:])


def test_groups_too_narrow_for_a_key_are_widened():
    """2¹⁶ + 1 groups of one column would give the first and the last the same place in a key of bfloat16."""
    z = scores(1, 2**16 + 1, torch.bfloat16)
    z[0, -1] = 100
    with using("topk", (1, 4096, 4096, 4)):
        same(z, *topk_triton.launch(z, 1), 1)


def test_every_kernel_of_the_table_is_here():
    sums = {"gather_sum", "gather_sum_mse", "gather_dot", "segment_sum", "segment_sum_dot", "segment_items"}
    assert sums | {"segment_sum_adam_", "rowwise_adam_", "topk"} == KERNELS.keys()
