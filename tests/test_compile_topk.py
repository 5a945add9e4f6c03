"""What the launcher of topk compiles to for sm_90 and sm_80: no spills, few registers, 128-bit loads. No GPU needed."""

import os

import pytest
import torch

pytest.importorskip("triton")

from kernels.topk_triton import launch
from tests.compile_only import HAS_TOOLS, Resources, compile_only, resources

pytestmark = [
    pytest.mark.skipif(not HAS_TOOLS, reason="this Triton carries no ptxas, cuobjdump and nvdisasm"),
    pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="this process interprets kernels"),
]


@pytest.fixture(autouse=True)
def fresh_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))


def compiled(arch: int, dtype: torch.dtype, n: int, k: int, folder) -> dict[str, Resources]:
    with compile_only(arch) as kernels:
        launch(torch.zeros(4, n, dtype=dtype), k)
    assert {kernel.metadata.target.arch for kernel in kernels} == {arch}
    assert (
        max(kernel.metadata.shared for kernel in kernels) <= 16 * 1024
    )  # 4 KiB at k = 32, 16 at 128, float32
    found = {kernel.metadata.name: resources(kernel, folder) for kernel in kernels}
    assert list(found) == ["maxima_kernel", "groups_kernel", "candidates_kernel"]
    return found


@pytest.mark.parametrize(
    ("arch", "dtype"), [(80, torch.float32), (90, torch.float32), (90, torch.bfloat16)], ids=str
)
def test_goal_shape(arch, dtype, tmp_path):
    """n = 131,072, k = 32: one block of 2,048 maxima, one of 2,048 candidates."""
    found = compiled(arch, dtype, 131072, 32, tmp_path)
    for name, of in found.items():
        assert (of.stack, of.local, of.spills) == (0, 0, 0), name
        assert of.registers <= 72, name  # at most 60, sm_80, float32, Triton 3.7.1
    assert found["maxima_kernel"].wide_loads >= 4


@pytest.mark.parametrize(("n", "k"), [(2**20, 128), (4097, 8), (70, 3), (1, 1)])
def test_other_shapes_do_not_spill(n, k, tmp_path):
    for name, of in compiled(90, torch.float32, n, k, tmp_path).items():
        assert (of.stack, of.local, of.spills) == (0, 0, 0), name
        assert of.registers <= 128, name  # 96 where several blocks are merged
