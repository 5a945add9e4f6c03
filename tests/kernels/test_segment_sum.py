"""segment_sum on the CPU, and the identities that tie the three operations together."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kernels import reference
from kernels.gather_dot import gather_dot
from kernels.gather_sum import gather_sum
from kernels.plan import plan, plan_op
from kernels.segment_sum import segment_sum, segment_sum_op
from tests.kernels.cases import CASES, DTYPES, TOLERANCE, Case, integers, make, relative_error, with_threads


@pytest.mark.parametrize("index", [torch.int32, torch.int64], ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_equals_reference(case, dtype, index):
    idx, coef, _, X = make(case, dtype, index)
    out = segment_sum(plan(idx, case.n), coef, X)
    assert out.dtype == coef.dtype and out.is_contiguous()
    exact = reference.segment_sum(idx, coef.double(), X.double(), case.n)
    assert relative_error(out, exact) < TOLERANCE[coef.dtype]  # 1e-6 for half-width X too: summed in float32


def test_latents_without_entries_are_zero_and_padding_is_nobody():
    idx = torch.tensor([[0, 3], [-1, -1], [3, -1]])
    coef, X = torch.ones(3, 2), torch.tensor([[1.0], [float("nan")], [10.0]])
    coef[idx < 0] = float("inf")
    assert segment_sum(plan(idx, 5), coef, X)[:, 0].tolist() == [1, 0, 0, 11, 0]


def test_strided_and_expanded_rows():
    idx, coef, _, X = make(Case(9, 4, 12, 5, pad=0.2))
    p = plan(idx, 5)
    for rows in (X[:, 2:7], X[:, ::3], X[:1].expand(9, -1), torch.ones(()).expand(9, 6)):
        exact = reference.segment_sum(idx, coef.double(), rows.double(), 5)
        assert relative_error(segment_sum(p, coef, rows), exact) < 1e-6
    assert torch.equal(segment_sum(p, coef.T.contiguous().T, X), segment_sum(p, coef, X))


def test_bitwise_equal_for_any_number_of_threads():
    idx, coef, _, X = make(Case(800, 8, 37, 60, zipf=True, pad=0.1))
    outs = [segment_sum(plan(idx, 60), coef, X) for _ in with_threads(1, 2, 3)]
    assert torch.equal(outs[0], outs[1]) and torch.equal(outs[0], outs[2])


def test_a_segment_is_summed_in_the_order_of_its_entries():
    """What makes it deterministic: float32 sums depend on order, and this order is b, then j."""
    idx, coef, _, X = make(Case(50, 3, 4, 2))
    total = torch.zeros(2, 4)
    for b, j in torch.cartesian_prod(torch.arange(50), torch.arange(3)).tolist():
        total[idx[b, j]] += X[b]
    assert torch.equal(segment_sum(plan(idx, 2), torch.ones_like(coef), X), total)


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        (dict(X=torch.zeros(4, 6)), ValueError, "X has 4 rows; idx has B = 3"),
        (dict(X=torch.zeros(3)), ValueError, r"X has shape \(3,\)"),
        (dict(X=torch.zeros(3, 6, dtype=torch.int64)), TypeError, "X is torch.int64"),
        (dict(X=torch.zeros(3, 6, device="meta")), ValueError, "X is on meta"),
        (
            dict(coef=torch.zeros(2, 3)),
            ValueError,
            r"coef has shape \(2, 3\); the indices have shape \(3, 2\)",
        ),
        (dict(coef=torch.zeros(3, 2).double()), TypeError, "coef is torch.float64 beside torch.float32"),
    ],
)
def test_refusals_are_sentences(change, error, says):
    good = dict(
        plan=plan(torch.zeros(3, 2, dtype=torch.int64), 5), coef=torch.zeros(3, 2), X=torch.zeros(3, 6)
    )
    with pytest.raises(error, match=says):
        segment_sum(**good | change)


@pytest.mark.parametrize("case", [Case(4, 3, 5, 6), Case(5, 3, 4, 6, pad=0.4), Case(0, 3, 4, 6)], ids=str)
def test_opcheck(case):
    idx, coef, _, X = make(case, torch.bfloat16)
    torch.library.opcheck(plan_op, (idx, case.n))
    torch.library.opcheck(segment_sum_op, (*plan(idx, case.n).tensors, coef, X))


def test_a_latent_of_very_many_entries_is_summed_in_pieces():
    B, k = 8192, 16
    idx = torch.zeros(B, k, dtype=torch.int32)
    idx[:, -1] = torch.arange(B) % 3 + 1
    r = torch.Generator().manual_seed(0)
    coef, X = torch.rand(B, k, generator=r), torch.rand(B, 5, generator=r)
    found = segment_sum(plan(idx, 5), coef, X)
    assert relative_error(found, reference.segment_sum(idx, coef.double(), X.double(), 5)) < 2e-7


@pytest.mark.parametrize("n", [-1, 2**31, 2.5])
def test_a_number_of_latents_that_int32_does_not_hold(n):
    with pytest.raises(ValueError, match=f"n is {n}; it must be an integer from 0 to"):
        plan(torch.zeros(0, 2, dtype=torch.int32), n)


@given(integers())
def test_the_three_operations_are_adjoint(entries):
    """⟨gather_sum(idx, c, W), X⟩ = ⟨c, gather_dot(idx, X, W)⟩ = ⟨W, segment_sum(plan, c, X)⟩."""
    idx, coef, W, X = entries
    left = (gather_sum(idx, coef, W) * X).sum()
    assert left == (coef * gather_dot(idx, X, W)).sum()
    assert left == (W * segment_sum(plan(idx, len(W)), coef, X)).sum()


@given(integers(), st.randoms(use_true_random=False))
def test_order_of_rows_does_not_matter(entries, random):
    idx, coef, W, X = entries
    rows = list(range(len(idx)))
    random.shuffle(rows)
    n = len(W)
    assert torch.equal(
        segment_sum(plan(idx[rows], n), coef[rows], X[rows]), segment_sum(plan(idx, n), coef, X)
    )


@given(integers(), st.integers(-3, 3))
def test_linear_in_the_rows(entries, scale):
    idx, coef, W, X = entries
    p = plan(idx, len(W))
    whole = segment_sum(p, coef, X + scale * X.flip(0))
    assert torch.equal(whole, segment_sum(p, coef, X) + scale * segment_sum(p, coef, X.flip(0)))
