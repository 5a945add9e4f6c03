"""segment_sum_adam_ on the CPU: the two calls it stands for, dense Adam of the latents without entries, refusals."""

import pytest
import torch
from hypothesis import given

from kernels import reference
from kernels.adam_step import AdamStep
from kernels.plan import plan
from kernels.rowwise_adam import rowwise_adam_
from kernels.segment_sum import segment_sum
from kernels.segment_sum_adam import segment_sum_adam_
from tests.kernels.adam_cases import MODES, RATES, check, scalar, step_of, tables
from tests.kernels.cases import CASES, Case, integers, make

DTYPES = [torch.float32, torch.bfloat16, torch.float16]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", [case for case in CASES if case.d > 1], ids=str)
def test_equals_reference(case, dtype):
    idx, coef, _, X = make(case, dtype)
    p = plan(idx, case.n)
    gradient = reference.segment_sum(idx, coef.double(), X.double(), case.n)
    *before, _ = tables(case.n, case.d)

    def call(adam):
        return segment_sum_adam_(p, coef, X, adam)

    for mode in MODES:
        check(call, before, gradient, 3, **mode, scale=0.5, low=torch.empty(case.n, case.d).to(dtype))


def test_latents_without_entries_are_stepped():
    p, m, v, _ = tables(5, 8)
    before = p.clone()
    idx = torch.tensor([[0, 3], [-1, -1]])
    squared = segment_sum_adam_(plan(idx, 5), torch.ones(2, 2), torch.ones(2, 8), step_of(p, m, v, 3))
    torch.testing.assert_close(squared, torch.tensor([8.0, 0, 0, 8, 0]))
    assert (p != before).all()  # by the momentum alone


@given(integers())
def test_equals_the_two_calls(entries):
    idx, coef, W, X = entries
    n, d = W.shape
    coef, X, entries = coef.float(), X.float(), plan(idx, n)
    *one, _ = tables(n, d)
    two = [x.clone() for x in one]
    first = segment_sum_adam_(entries, coef, X, step_of(*one, 2, **MODES[3]))
    second = rowwise_adam_(segment_sum(entries, coef, X), step_of(*two, 2, **MODES[3]))
    assert torch.equal(first, second) and all(map(torch.equal, one, two))


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        (dict(X=torch.zeros(3, 4).double()), TypeError, "X is torch.float64"),
        (dict(X=torch.zeros(2, 4)), ValueError, "X has 2 rows; idx has B = 3"),
        (
            dict(X=torch.zeros(3, 5)),
            ValueError,
            r"p has shape \(5, 4\); the plan has n = 5 latents and X d = 5",
        ),
        (
            dict(plan=plan(torch.zeros(3, 2).long(), 6)),
            ValueError,
            r"p has shape \(5, 4\); the plan has n = 6",
        ),
        (dict(coef=torch.zeros(2, 3)), ValueError, r"coef has shape \(2, 3\)"),
        (dict(m=torch.zeros(5, 3)), ValueError, r"m has shape \(5, 3\); p has \(5, 4\)"),
        (dict(p=torch.zeros(5, 4, dtype=torch.float16)), TypeError, "p is torch.float16"),
        (dict(step=torch.ones(())[None]), TypeError, r"step is torch.float32\[1\]"),
        (dict(low=torch.zeros(4, 5)), ValueError, r"low has shape \(4, 5\)"),
    ],
)
def test_refusals_are_sentences(change, error, says):
    idx, coef, _, X = make(Case(3, 2, 4, 5))
    good = dict(plan=plan(idx, 5), coef=coef, X=X, step=scalar(1.0))
    good |= dict(zip("pmv", tables(5, 4), strict=False))
    given = good | RATES | change
    entries = [given.pop(name) for name in ("plan", "coef", "X")]
    with pytest.raises(error, match=says):
        segment_sum_adam_(*entries, AdamStep(**given))


def test_compiles_without_a_graph_break():
    """From the sort to the step: plan, segment_sum, rowwise_adam_ trace."""
    idx, coef, _, X = make(Case(5, 3, 7, 11), index=torch.int32)

    def step(idx, coef, X, p, m, v, t):
        return segment_sum_adam_(plan(idx, 11), coef, X, AdamStep(p, m, v, t, **RATES, **MODES[3]))

    eager, compiled = ([*tables(11, 7)[:3], scalar(2.0)] for _ in range(2))
    torch._dynamo.reset()
    traced = torch.compile(step, fullgraph=True, backend="aot_eager")
    assert torch.equal(step(idx, coef, X, *eager), traced(idx, coef, X, *compiled))
    assert all(map(torch.equal, eager, compiled))
