"""topk on a CUDA device: same cases, same answers as a stable sort, bitwise repeatable, never waiting for the GPU."""

import pytest
import torch

from kernels.topk import topk, topk_by_groups
from tests.kernels.cases import DTYPES
from tests.kernels.cuda.test_cuda import no_waiting
from tests.kernels.topk_cases import HARD, SHAPES, hard, same, scores

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
WIDE = [(16, 131072, 32), (5, 131072, 128), (3, 2**22, 64), (9, 4097, 31), (4, 50000, 200), (3, 2**22 + 1, 5)]


def check(z, k):
    with no_waiting():
        first, again = topk(z, k), topk(z, k)
        plain = topk_by_groups(z, k)
    same(z, *first, k)
    same(z, *plain, k)
    assert torch.equal(first[1], again[1])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("B", "n", "k"), [*SHAPES, *WIDE])
def test_equals_a_stable_sort(B, n, k, dtype):
    check(scores(B, n, dtype, "cuda"), k)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("what", HARD)
@pytest.mark.parametrize(("n", "k"), [(40, 5), (40, 40), (40, 1), (5000, 33)])
def test_hard_rows(n, k, what, dtype):
    check(hard(what, n, dtype, "cuda"), k)


def test_views():
    check(scores(6, 3000, device="cuda")[::2, 5:2500], 9)
    check(scores(3000, 6, device="cuda").T, 9)


def test_a_captured_graph_follows_its_inputs():
    z = scores(64, 8192, torch.bfloat16, "cuda")
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        topk(z, 32)  # compiles
    side.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = topk(z, 32)
    z.neg_()
    graph.replay()
    torch.cuda.synchronize()
    same(z, *out, 32)


def test_rows_beyond_2_31_elements():
    z = torch.zeros(2**15 + 1, 2**16, dtype=torch.bfloat16, device="cuda")
    z[-1] = scores(1, 2**16, torch.bfloat16, "cuda")
    values, idx = topk(z, 32)
    same(z[-1:], values[-1:], idx[-1:], 32)
