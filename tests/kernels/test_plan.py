"""The plan: entries ordered by latent, stable, padding last, whichever key width sorts them."""

import pytest
import torch
from hypothesis import given

from kernels.plan import _keys, plan
from tests.kernels.cases import CASES, Case, integers, make


def check(idx, n):
    p = plan(idx, n)
    flat = idx.flatten().long()
    latent = torch.where(flat < 0, n, flat)
    assert p.shape == tuple(idx.shape)
    assert {p.order.dtype, p.rows.dtype, p.ptr.dtype, p.bounds.dtype} == {torch.int32}
    # Ordered by (latent, entry): a stable sort is that order and no other.
    entries = range(flat.numel())
    assert p.order.tolist() == sorted(entries, key=lambda entry: (latent[entry].item(), entry))
    assert torch.equal(p.rows.long() * idx.shape[1] + p.order % max(idx.shape[1], 1), p.order.long())
    count = torch.bincount(latent, minlength=n + 1)
    assert p.bounds.tolist() == [0, *count.cumsum(0).tolist()]
    assert torch.equal(p.ptr, p.bounds[: n + 1])


@pytest.mark.parametrize("index", [torch.int32, torch.int64], ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_plan(case, index):
    check(make(case, index=index)[0], case.n)


@given(integers())
def test_plan_of_any_entries(entries):
    idx, _, W, _ = entries
    check(idx, len(W))


@pytest.mark.parametrize("n", [2**15 - 1, 2**15, 2**15 + 1, 200_000])
def test_key_widths(n):
    """32,768 entries and n below 2¹⁵ are sorted by 16-bit keys; the largest latent must not meet the padding."""
    idx = torch.randint(0, n, (2**13, 4), generator=torch.Generator().manual_seed(0), dtype=torch.int32)
    idx[:5, 0], idx[5:9, 1] = n - 1, -1
    check(idx, n)


@pytest.mark.parametrize(
    ("n", "key"), [(7, torch.int16), (2**15 - 1, torch.int16), (2**15, torch.int32)], ids=str
)
def test_keys_of_unchecked_indices(n, key):
    """What CUDA sorts: below 0 and from n on is padding, also where the key's 16 or 32 bits would wrap round."""
    latent = torch.tensor([0, -1, n - 1, n, -5, n + 2**16, 2**33, 2**15 + 3, 2**16 + 1])
    keys = _keys(latent, n, key, checked=False)
    assert keys.dtype == key
    inside = (latent >= 0) & (latent < n)
    assert torch.equal(keys.long(), torch.where(inside, latent, n))
    trusted = _keys(latent[:3], n, key, checked=True)
    assert trusted[1] >= n and torch.equal(trusted[[0, 2]], keys[[0, 2]])


def test_views():
    idx = make(Case(6, 5, 1, 7, pad=0.3))[0]
    check(idx.T, 7)
    check(idx[1:4, ::2], 7)


def test_refusals():
    idx = make(Case(6, 5, 1, 7))[0]
    with pytest.raises(ValueError, match="idx holds 6; it must lie in 0 … 5"):
        plan(idx.clamp(min=6), 6)
    with pytest.raises(TypeError, match="idx is torch.int16"):
        plan(idx.short(), 7)
    with pytest.raises(ValueError, match="2147483648 entries; at most 2147483647"):
        plan(torch.zeros(1, dtype=torch.int64).expand(2**16, 2**15), 7)
