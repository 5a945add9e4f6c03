"""segment_sum_adam_ on a CUDA device: same cases, same reference, bitwise repeatable, never waiting for the GPU."""

import pytest
import torch

from kernels import reference
from kernels.adam_step import AdamStep
from kernels.plan import plan
from kernels.segment_sum_adam import segment_sum_adam_
from tests.kernels.adam_cases import MODES, RATES, check, scalar, step_of, tables
from tests.kernels.cases import CASES, Case, make
from tests.kernels.cuda.test_cuda import no_waiting

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
SKEWED = Case(4096, 32, 768, 4096, zipf=True, pad=0.1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("case", [*(case for case in CASES if case.d > 1), SKEWED], ids=str)
def test_equals_reference(case, dtype):
    idx, coef, _, X = make(case, dtype, torch.int32, "cuda")
    gradient = reference.segment_sum(idx, coef.double(), X.double(), case.n)
    *before, _ = tables(case.n, case.d, "cuda")

    def call(adam):
        with no_waiting():
            return segment_sum_adam_(plan(idx, case.n), coef, X, adam)

    for mode in MODES:
        low = torch.empty(case.n, case.d, dtype=dtype, device="cuda")
        check(call, before, gradient, 3, **mode, scale=0.5, low=low)


def stepped(idx, coef, X, tensors):
    adam = step_of(*tensors, 5, **MODES[3])
    squared = segment_sum_adam_(plan(idx, SKEWED.n), coef, X, adam)
    return squared, *tensors


def test_two_runs_are_bitwise_equal():
    idx, coef, _, X = make(SKEWED, torch.bfloat16, torch.int32, "cuda")
    runs = [stepped(idx, coef, X, tables(SKEWED.n, SKEWED.d, "cuda")[:3]) for _ in range(2)]
    assert all(map(torch.equal, *runs))


def test_a_captured_graph_follows_its_inputs():
    idx, coef, _, X = make(SKEWED, torch.bfloat16, torch.int32, "cuda")
    before, step = tables(SKEWED.n, SKEWED.d, "cuda")[:3], scalar(5.0, "cuda")
    captured = [x.clone() for x in before]
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        stepped(idx, coef, X, [x.clone() for x in before])  # compiles
    side.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        segment_sum_adam_(plan(idx, SKEWED.n), coef, X, AdamStep(*captured, step, **RATES, **MODES[3]))
    idx.copy_(torch.where(idx < 0, idx, SKEWED.n - 1 - idx))
    graph.replay()
    torch.cuda.synchronize()
    assert all(map(torch.equal, stepped(idx, coef, X, before)[1:], captured))
