"""The kernel benchmark as on a GPU, up to the launches: they compile for sm_90, and what a peer is given it takes."""

import json
import os
from dataclasses import replace

import pytest
import torch

pytest.importorskip("triton")

from benchmarks.kernels import __main__ as kernels
from benchmarks.kernels import case as kernel_case
from benchmarks.kernels import peers as kernel_peers
from benchmarks.kernels import works as kernel_works
from benchmarks.kernels.case import GOAL, Shape
from benchmarks.kernels.works import OURS
from tests.kernels.compile.compile_only import HAS_TOOLS
from tests.kernels.compile.stand_in_gpu import stand_in_gpu

pytestmark = [
    pytest.mark.skipif(not HAS_TOOLS, reason="this Triton carries no ptxas, cuobjdump and nvdisasm"),
    pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="this process interprets kernels"),
]
SMALL = Shape(64, 512, 8, 128)
PEERS = {
    kernel_peers.OPENAI: "triton_sparse_transpose_dense_matmul_kernel",
    kernel_peers.SPARSIFY: "embedding_bag_k",
}
ITEMS = ["count_kernel", "fill_kernel"]  # of a plan, made once for an input set
SUMS = [*ITEMS, "items_kernel", "long_kernel"]
LAUNCHED = {
    "topk": ["maxima_kernel", "groups_kernel", "candidates_kernel"],
    **{name: [f"{name}_kernel"] for name in ("gather_sum", "gather_sum_mse", "gather_dot")},
    "plan": ITEMS,
    "segment_sum": SUMS,
    "segment_sum_dot": [*SUMS, "dots_kernel"],
    "decode, backward": ["gather_sum_kernel", *SUMS, "dots_kernel"],
    "rowwise_adam_": ["rates_kernel", "rowwise_adam_kernel"],
    "segment_sum_adam_": [*ITEMS, "rates_kernel", "step_items_kernel", "step_long_kernel"],
}


@pytest.fixture(autouse=True)
def fresh_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "triton"))


def without_errors(works, *rest):
    """The rows, errors left out: a kernel that has not run has none."""
    return measured([replace(work, error=None) for work in works], *rest)


measured = kernels.measured


@pytest.mark.slow
def test_the_whole_benchmark_runs_on_a_stand_in_for_a_gpu(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(kernel_works, "_Z", 2**16)
    monkeypatch.setattr(kernels, "measured", without_errors)
    with stand_in_gpu(monkeypatch) as compiled:
        code = kernels.run([SMALL], 1000, kernel_peers.folder(), tmp_path)
    printed, (path,) = capsys.readouterr().out, tmp_path.glob("*.json")
    rows = json.loads(path.read_text())
    assert code == 0 and not any("failed" in row for row in rows), printed
    assert {row["dtype"] for row in rows} == {"bfloat16", "float32"}
    names = {kernel.metadata.name for kernel in compiled}
    assert names >= {"read_rows_kernel", "maxima_kernel", "rowwise_adam_kernel", "step_items_kernel"}
    for peer, kernel in PEERS.items():
        if f"{peer}: missing" not in printed:
            assert kernel in names
            assert {row["op"] for row in rows if row.get("who") == peer} == {"decode, backward", "step"}


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
def test_every_call_of_ours_compiles_at_the_shape_of_the_goals(dtype, monkeypatch):
    """Its tables are as large as on the GPU, of pages that nothing touches."""
    monkeypatch.setattr(kernel_case, "SETS", 1)
    launched = {}
    with stand_in_gpu(monkeypatch) as compiled:
        some = kernel_case.inputs(GOAL, 1.0, dtype)
        works, scores = kernel_works.selections(GOAL, dtype)
        passes = kernel_works.gathers(GOAL, dtype) + kernel_works.steps_of_tables(GOAL, dtype)
        passes += kernel_peers.decodes(GOAL, dtype, absent=())
        for work, (inputs,) in [*((w, scores) for w in works), *((w, some) for w in passes)]:
            if work.who == OURS:
                before = len(compiled)
                work.call(inputs)
                launched[work.op] = [kernel.metadata.name for kernel in compiled[before:]]
    assert launched == LAUNCHED
