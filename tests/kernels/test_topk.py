"""topk on the CPU and in plain torch: ties, NaN, infinities, odd shapes, refusals, opcheck."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kernels import reference
from kernels.topk import topk, topk_by_groups, topk_op
from tests.kernels.cases import DTYPES, with_threads
from tests.kernels.topk_cases import HARD, SHAPES, hard, same, scores


@pytest.mark.parametrize("call", [topk, topk_by_groups])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("B", "n", "k"), [*SHAPES, (3, 1500, 100), (70, 8200, 32), (2, 2048, 128)])
def test_equals_a_stable_sort(B, n, k, dtype, call):
    z = scores(B, n, dtype)
    values, idx = call(z, k)
    assert values.dtype == dtype and (call is topk_by_groups or idx.dtype == torch.int32)
    same(z, values, idx, k)


@pytest.mark.parametrize("call", [topk, topk_by_groups])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("what", HARD)
@pytest.mark.parametrize(("n", "k"), [(40, 5), (40, 40), (40, 1), (1100, 33)])
def test_hard_rows(n, k, what, dtype, call):
    z = hard(what, n, dtype)
    same(z, *call(z, k), k)


@pytest.mark.parametrize("call", [topk, topk_by_groups])
@given(st.data())
def test_ties_go_to_the_lower_index(call, data):
    n = data.draw(st.integers(1, 40))
    few = st.sampled_from([0.0, -0.0, 1.0, -1.0, float("inf"), float("-inf"), float("nan")])
    z = torch.tensor(data.draw(st.lists(st.lists(few, min_size=n, max_size=n), min_size=1, max_size=4)))
    k = data.draw(st.integers(1, n))
    same(z, *call(z, k), k)


def test_ties_of_a_wide_row_in_and_outside_the_chosen_groups():
    g = torch.Generator().manual_seed(0)
    z = torch.randint(0, 5, (300, 2000), generator=g).float()
    for k in (1, 7, 100):
        same(z, *topk(z, k), k)
        same(z, *topk_by_groups(z, k), k)


def test_views_and_no_rows():
    z = scores(2050, 20).T
    same(z, *topk(z, 9), 9)
    z = scores(6, 3000)[::2, 5:2500]
    same(z, *topk(z, 9), 9)
    for call in (topk, topk_by_groups):
        assert [tuple(out.shape) for out in call(torch.zeros(0, 7), 3)] == [(0, 3)] * 2


def test_the_same_for_any_number_of_threads():
    z = scores(200, 4096)
    first, *others = [topk(z, 32) for _ in with_threads(1, 2, 3)]
    for other in others:
        assert torch.equal(first[0], other[0]) and torch.equal(first[1], other[1])


def test_has_no_gradient():
    values, _ = topk(scores(3, 8).requires_grad_(), 2)
    with pytest.raises((RuntimeError, NotImplementedError), match="autograd"):
        values.sum().backward()


@pytest.mark.parametrize(
    ("z", "k", "error", "says"),
    [
        (torch.zeros(3, 8), 9, ValueError, r"k is 9; it must lie in 1 … n = 8"),
        (torch.zeros(3, 8), 0, ValueError, "k is 0"),
        (torch.zeros(3, 0), 1, ValueError, "k is 1; it must lie in 1 … n = 0"),
        (torch.zeros(8), 1, ValueError, r"z has shape \(8,\); it must be \(B, n\)"),
        (torch.zeros(3, 8, dtype=torch.int64), 1, TypeError, "z is torch.int64"),
        (torch.zeros(3, 8, device="meta"), 1, ValueError, "z is on meta"),
    ],
)
def test_refusals_are_sentences(z, k, error, says):
    with pytest.raises(error, match=says):
        topk(z, k)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_opcheck(dtype):
    torch.library.opcheck(topk_op, (scores(3, 20, dtype), 4))
    torch.library.opcheck(
        topk_op, (scores(5, 3, dtype).T, 5)
    )  # all of a transposed view: contiguous as any other


@pytest.mark.parametrize("dynamic", [False, True])
def test_compiles_without_a_graph_break(dynamic):
    def encode(z):
        values, idx = topk(z, 4)
        return values.relu(), idx

    torch._dynamo.reset()
    z = scores(5, 30)
    values, idx = torch.compile(encode, fullgraph=True, backend="aot_eager", dynamic=dynamic)(z)
    assert torch.equal(values, encode(z)[0]) and torch.equal(idx, encode(z)[1])


def test_the_reference_knows_ties():
    z = torch.tensor([[1.0, 2.0, 2.0, 0.0, 2.0]])
    assert reference.topk(z, 2)[1].tolist() == [[1, 2]]
