"""gather_dot on the CPU."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kernels import reference
from kernels.gather_dot import gather_dot, gather_dot_op
from tests.kernels.cases import CASES, DTYPES, TOLERANCE, Case, integers, make, relative_error, with_threads

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("index", [torch.int32, torch.int64], ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_equals_reference(case, dtype, index):
    idx, coef, W, G = make(case, dtype, index)
    out = gather_dot(idx, G, W)
    assert out.dtype == coef.dtype and out.is_contiguous()
    exact = reference.gather_dot(idx, G.double(), W.double())
    assert relative_error(out, exact) < TOLERANCE[coef.dtype]  # 1e-6 for half widths too: summed in float32
    assert (out[idx < 0] == 0).all()


def test_mixed_dtypes_use_the_wider_accumulator():
    idx, _, W, G = make(Case(5, 4, 30, 9))
    assert torch.equal(gather_dot(idx, G, W.bfloat16()), gather_dot(idx, G, W.bfloat16().float()))
    assert gather_dot(idx, G, W.double()).dtype == torch.float64


def test_padding_ignores_what_w_holds():
    idx, _, W, G = make(Case(6, 4, 10, 5, pad=0.5))
    idx[idx == 0] = -1
    W[0] = float("nan")
    assert gather_dot(idx, G, W).isfinite().all()


def test_strided_and_expanded_rows():
    idx, _, W, G = make(Case(9, 4, 6, 5, gap=2))
    for rows in (torch.cat([G, G], 1)[:, ::2], G[:1].expand(9, -1), G.T.contiguous().T):
        assert (
            relative_error(gather_dot(idx, rows, W), reference.gather_dot(idx, rows.double(), W.double()))
            < 1e-6
        )
    assert torch.equal(gather_dot(idx.T.contiguous().T, G, W), gather_dot(idx, G, W))


def test_bitwise_equal_for_any_number_of_threads():
    idx, _, W, G = make(Case(600, 8, 33, 50, zipf=True))
    outs = [gather_dot(idx, G, W) for _ in with_threads(1, 2, 3)]
    assert torch.equal(outs[0], outs[1]) and torch.equal(outs[0], outs[2])


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        (dict(G=torch.zeros(3, 5)), ValueError, "G has 5 columns and W 4"),
        (dict(G=torch.zeros(2, 4)), ValueError, "G has 2 rows; idx has B = 3"),
        (dict(G=torch.zeros(3, 4, dtype=torch.int64)), TypeError, "G is torch.int64"),
        (dict(W=torch.zeros(4, 5).T), ValueError, r"W has strides \(1, 5\)"),
        (dict(idx=torch.full((3, 2), 5)), ValueError, "idx holds 5; it must lie in 0 … 4"),
        (dict(idx=torch.full((3, 2), -7)), ValueError, "idx holds -7"),
    ],
)
@pytest.mark.parametrize("call", [gather_dot, gather_dot_op])
def test_refusals_are_sentences(call, change, error, says):
    good = dict(idx=torch.zeros(3, 2, dtype=torch.int64), G=torch.zeros(3, 4), W=torch.zeros(5, 4))
    with pytest.raises(error, match=says):
        call(*(good | change).values())


def test_its_own_gradient_raises():
    idx, _, W, G = make(Case(4, 3, 5, 4))
    with pytest.raises(RuntimeError, match="saescale.gather_dot"):
        gather_dot(idx, G, W.detach().requires_grad_()).sum().backward()


@pytest.mark.parametrize(
    "case", [Case(4, 3, 5, 6, gap=2), Case(5, 3, 4, 6, pad=0.4), Case(0, 3, 4, 6)], ids=str
)
def test_opcheck(case):
    idx, _, W, G = make(case, torch.bfloat16)
    torch.library.opcheck(gather_dot_op, (idx, G, W))


def test_first_call_prints_no_warning():
    code = """import torch; from kernels.gather_dot import gather_dot
gather_dot(torch.zeros(1, 1, dtype=torch.int64), torch.ones(1, 2), torch.ones(1, 2))"""
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0 and "beta" not in run.stderr, run.stderr


@given(integers(), st.integers(-3, 3))
def test_linear_in_g(entries, scale):
    idx, _, W, G = entries
    whole = gather_dot(idx, G + scale * G.flip(0), W)
    assert torch.equal(whole, gather_dot(idx, G, W) + scale * gather_dot(idx, G.flip(0), W))


@given(integers(), st.randoms(use_true_random=False))
def test_permuted_entries_give_permuted_dots(entries, random):
    idx, _, W, G = entries
    pairs = list(range(idx.shape[1]))
    random.shuffle(pairs)
    assert torch.equal(gather_dot(idx[:, pairs], G, W), gather_dot(idx, G, W)[:, pairs])
