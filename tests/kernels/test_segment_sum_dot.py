"""segment_sum_dot on the CPU: it is segment_sum and gather_dot of one plan."""

import pytest
import torch
from hypothesis import given

from kernels import reference
from kernels.gather_dot import gather_dot
from kernels.plan import plan
from kernels.segment_sum import segment_sum
from kernels.segment_sum_dot import segment_sum_dot, segment_sum_dot_op
from tests.kernels.cases import CASES, DTYPES, TOLERANCE, Case, integers, make, relative_error


@pytest.mark.parametrize("index", [torch.int32, torch.int64], ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_equals_reference(case, dtype, index):
    idx, coef, W, X = make(case, dtype, index)
    outs = segment_sum_dot(plan(idx, case.n), coef, X, W)
    exact = reference.segment_sum_dot(idx, coef.double(), X.double(), W.double())
    for out, expected in zip(outs, exact, strict=True):
        assert out.dtype == coef.dtype and out.is_contiguous()
        assert relative_error(out, expected) < TOLERANCE[coef.dtype]


def test_mixed_dtypes_use_the_wider_accumulator_for_the_dots():
    idx, coef, W, X = make(Case(5, 4, 30, 9))
    sums, dots = segment_sum_dot(plan(idx, 9), coef, X, W.double())
    assert (sums.dtype, dots.dtype) == (torch.float32, torch.float64)


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        (dict(W=torch.zeros(4, 6)), ValueError, "W has 4 rows; the plan is of n = 5 latents"),
        (dict(W=torch.zeros(5, 7)), ValueError, "X has 6 columns and W 7; both must have d"),
        (dict(W=torch.zeros(6, 5).T), ValueError, r"W has strides \(1, 5\)"),
        (dict(W=torch.zeros(5, 6, device="meta")), ValueError, "W is on meta"),
        (dict(X=torch.zeros(4, 6)), ValueError, "X has 4 rows; idx has B = 3"),
        (dict(X=torch.zeros(3, 6, dtype=torch.int64)), TypeError, "X is torch.int64"),
        (
            dict(coef=torch.zeros(2, 3)),
            ValueError,
            r"coef has shape \(2, 3\); the indices have shape \(3, 2\)",
        ),
    ],
)
def test_refusals_are_sentences(change, error, says):
    good = dict(
        plan=plan(torch.zeros(3, 2, dtype=torch.int64), 5),
        coef=torch.zeros(3, 2),
        X=torch.zeros(3, 6),
        W=torch.zeros(5, 6),
    )
    with pytest.raises(error, match=says):
        segment_sum_dot(**good | change)


@pytest.mark.parametrize("case", [Case(4, 3, 5, 6), Case(5, 3, 4, 6, pad=0.4), Case(0, 3, 4, 6)], ids=str)
def test_opcheck(case):
    idx, coef, W, X = make(case, torch.bfloat16)
    torch.library.opcheck(segment_sum_dot_op, (*plan(idx, case.n).tensors, coef, X, W))


def test_compiles_without_a_graph_break():
    idx, coef, W, X = make(Case(5, 3, 7, 11))

    def sums(idx, coef, X, W):
        entries = plan(idx, len(W))
        return segment_sum(entries, coef, X), *segment_sum_dot(entries, coef, X, W)

    torch._dynamo.reset()
    with torch.no_grad():
        traced = torch.compile(sums, fullgraph=True, backend="aot_eager")(idx, coef, X, W)
    assert all(map(torch.equal, sums(idx, coef, X, W), traced))


@given(integers())
def test_is_the_two_operations(entries):
    idx, coef, W, X = entries
    sums, dots = segment_sum_dot(plan(idx, len(W)), coef, X, W)
    assert torch.equal(sums, segment_sum(plan(idx, len(W)), coef, X))
    assert torch.equal(dots, gather_dot(idx, X, W))
