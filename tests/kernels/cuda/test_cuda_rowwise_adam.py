"""rowwise_adam_ on a CUDA device: same cases, same reference, bitwise repeatable, never waiting for the GPU."""

import pytest
import torch

from kernels.adam_step import AdamStep
from kernels.rowwise_adam import rowwise_adam_
from tests.kernels.adam_cases import MODES, RATES, check, scalar, step_of, tables
from tests.kernels.cuda.test_cuda import no_waiting

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def unhurried(g):
    def call(adam):
        with no_waiting():
            return rowwise_adam_(g.clone(), adam)

    return call


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("t", [1, 1000])
@pytest.mark.parametrize(("n", "d"), [(1, 2), (7, 33), (5, 2305), (2000, 768), (64, 4096), (9, 8192)])
def test_equals_reference(n, d, t, mode):
    *before, g = tables(n, d, "cuda")
    check(unhurried(g), before, g, t, **mode)
    low = torch.empty(n, d, dtype=torch.bfloat16, device="cuda")
    check(unhurried(g), before, g, t, **mode, scale=0.25, low=low)


def test_two_runs_are_bitwise_equal():
    outs = []
    for _ in range(2):
        p, m, v, g = tables(4096, 768, "cuda")
        outs.append((rowwise_adam_(g, step_of(p, m, v, 9, **MODES[3])), p, m, v))
    assert all(map(torch.equal, *outs))


def test_a_captured_graph_counts_its_steps():
    *tensors, g = tables(64, 300, "cuda")
    step, captured = scalar(0.0, "cuda"), [x.clone() for x in tensors]

    def advance(p, m, v):
        step.add_(1)
        rowwise_adam_(g.clone(), AdamStep(p, m, v, step, **RATES, **MODES[3]))

    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        advance(*(x.clone() for x in tensors))  # compiles
    side.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        advance(*captured)
    step.zero_()
    for _ in range(3):
        graph.replay()
    step.zero_()
    for _ in range(3):
        advance(*tensors)
    assert all(map(torch.equal, captured, tensors))
