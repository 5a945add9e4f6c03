"""The Triton kernels of segment_sum_adam_ on CPU tensors, by the interpreter, every access watched."""

import pytest
import torch

pytest.importorskip("triton")

from kernels import reference
from kernels.plan import plan
from kernels.rowwise_adam import rowwise_adam_
from kernels.segment_sum import segment_sum
from kernels.segment_sum_adam_triton import launch
from kernels.tuning import using
from tests.kernels.adam_cases import MODES, check, step_of, tables
from tests.kernels.cases import CASES, Case, in_turn, make, relative_error
from tests.kernels.interp.sanitizer import ORDERS, sanitize, why_not

if why_not():
    pytest.skip(why_not(), allow_module_level=True)
pytestmark = pytest.mark.interp

LONG = Case(50, 8, 70, 4, pad=0.1, zipf=True)  # latents of up to seven items
ROWS = [*(case for case in CASES if case.d > 1), LONG]


def watched(p, coef, X, order="forward"):
    def call(adam):
        with sanitize(order) as errors:
            squared = launch(p, coef, X, adam)
        assert not errors, errors
        return squared

    return call


def check_case(case, dtype, t=3, order="forward", **mode):
    idx, coef, _, X = make(case, dtype, index=torch.int32)
    gradient = reference.segment_sum(idx, coef.double(), X.double(), case.n)
    *before, _ = tables(case.n, case.d)
    check(watched(plan(idx, case.n), coef, X, order), before, gradient, t, **mode)


@pytest.mark.parametrize(
    ("case", "dtype"), in_turn(ROWS, [torch.float32, torch.bfloat16, torch.float16]), ids=str
)
def test_equals_reference(case, dtype):
    check_case(case, dtype, **MODES[3], scale=0.5, low=torch.empty(case.n, case.d, dtype=dtype))


@pytest.mark.parametrize("mode", MODES[:3], ids=str)
def test_without_projection_or_norm(mode):
    check_case(LONG, torch.float32, t=1, **mode)


@pytest.mark.parametrize(("case", "order"), in_turn(ROWS, ORDERS[1:]), ids=str)
def test_any_program_order(case, order):
    check_case(case, torch.float32, order=order, **MODES[3])


def test_equals_the_two_calls_and_itself():
    idx, coef, _, X = make(LONG)
    p = plan(idx, LONG.n)
    one, two, three = ([x.clone() for x in tables(LONG.n, LONG.d)[:3]] for _ in range(3))
    first = launch(p, coef, X, step_of(*one, 2, **MODES[3]))
    again = launch(p, coef, X, step_of(*two, 2, **MODES[3]))
    assert torch.equal(first, again) and all(map(torch.equal, one, two))
    rowwise_adam_(segment_sum(p, coef, X), step_of(*three, 2, **MODES[3]))
    assert all(relative_error(a, b) < 1e-6 for a, b in zip(one, three, strict=True))


def test_bitwise_equal_for_any_number_of_rows_in_flight():
    idx, coef, _, X = make(LONG)
    p, outs = plan(idx, LONG.n), []
    for T in (1, 3, 8):
        tensors = [x.clone() for x in tables(LONG.n, LONG.d)[:3]]
        with using("segment_sum_adam_", (T, 1)):
            launch(p, coef, X, step_of(*tensors, 2, **MODES[3]))
        outs.append(tensors)
    assert all(map(torch.equal, outs[0], outs[1])) and all(map(torch.equal, outs[0], outs[2]))


def test_views_of_rows():
    case = Case(9, 4, 12, 5, pad=0.2)
    idx, coef, _, X = make(case)
    p = plan(idx, 5)
    *before, _ = tables(5, 12)
    for rows in (torch.cat([X, X], 1)[:, 5:17], torch.cat([X, X], 1)[:, ::2], X[:1].expand(9, -1)):
        gradient = reference.segment_sum(idx, coef.double(), rows.double(), 5)
        check(watched(p, coef, rows), before, gradient, 3, **MODES[3])


def test_offsets_beyond_32_bits():
    """A row of X that begins at element 2³¹: 4 GiB of address space, three pages touched."""
    idx, coef, _, X = make(Case(3, 2, 40, 3), torch.float16, index=torch.int32)
    far = torch.empty(2**31 + 40, dtype=torch.float16).as_strided((3, 40), (2**30, 1))
    far.copy_(X)
    gradient = reference.segment_sum(idx, coef.double(), X.double(), 3)
    check(watched(plan(idx, 3), coef, far), tables(3, 40)[:3], gradient, 3, **MODES[3])
