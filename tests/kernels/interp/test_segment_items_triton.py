"""The work items of a plan: every entry in one item, none long, a slot for each piece of a divided latent."""

import pytest
import torch

pytest.importorskip("triton")

from kernels.plan import plan
from kernels.segment_items_triton import build, longest
from tests.kernels.cases import CASES, Case, in_turn, make
from tests.kernels.interp.sanitizer import ORDERS, sanitize, why_not

if why_not():
    pytest.skip(why_not(), allow_module_level=True)
pytestmark = pytest.mark.interp


def expected(ptr: list[int], C: int) -> tuple[list[list[int]], list[int]]:
    """(latent, first position, entries, slot) of every item, and the divided latents."""
    table, long, slot = [], [], 0
    for latent, (begin, end) in enumerate(zip(ptr, ptr[1:], strict=False)):
        several = end - begin > C
        for first in range(begin, max(end, begin + 1), C):
            table.append([latent, first, min(end - first, C), slot if several else -1])
            slot += several
        long += [latent] * several
    return table, long


def check(idx, n, order="forward"):
    p = plan(idx, n)
    C = longest(idx.numel())
    with sanitize(order) as errors:
        items = build(p.bounds, idx.numel())
    assert not errors, errors
    table, long = expected(p.ptr.tolist(), C)
    assert len(table) <= len(items.table) == n + idx.numel() // C
    assert items.table[: len(table)].tolist() == table
    assert items.long[: len(long)].tolist() == long and len(long) <= len(items.long)
    first = items.first.view(3, n + 1)
    count = (first - first[:, :1])[:, -1].tolist()
    assert count == [len(table), sum(slot >= 0 for *_, slot in table), len(long)]
    assert count[1] <= items.slots


@pytest.mark.parametrize(("case", "order"), in_turn(CASES, ORDERS), ids=str)
def test_items(case, order):
    check(make(case)[0], case.n, order)


@pytest.mark.parametrize("entries", [32, 33, 64, 65, 500])
def test_one_latent_holds_all(entries):
    check(torch.full((entries, 1), 140), 300)


def test_bounds_are_reached():
    """33 entries each: as many slots and divided latents as there can be."""
    check(torch.arange(10).repeat(33)[None], 10)


@pytest.mark.parametrize(
    ("entries", "C"), [(0, 32), (2**19, 32), (2**20, 64), (2**22 - 1, 256), (2**22, 256), (2**30, 256)]
)
def test_longest(entries, C):
    assert longest(entries) == C


def test_a_plan_makes_its_items_once():
    idx = make(Case(9, 4, 1, 5))[0]
    p = plan(idx, 5)
    assert p.items is p.items
