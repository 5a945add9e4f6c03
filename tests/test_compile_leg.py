"""What the real launcher compiles to for sm_90 and sm_80: no spills, few registers, 128-bit loads. No GPU needed."""

import os

import pytest
import torch

pytest.importorskip("triton")

import triton

from kernels.gather_sum_triton import launch
from tests.compile_only import HAS_TOOLS, Resources, compile_only, resources

pytestmark = [
    pytest.mark.skipif(not HAS_TOOLS, reason="this Triton carries no ptxas, cuobjdump and nvdisasm"),
    pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="this process interprets kernels"),
]


@pytest.fixture(autouse=True)
def fresh_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))


def compiled(arch: int, dtype: torch.dtype, d: int, folder, index=torch.int32, bias=None) -> Resources:
    idx, coef = torch.zeros(8, 32, dtype=index), torch.zeros(8, 32)
    with compile_only(arch) as kernels:
        launch(idx, coef, torch.zeros(64, d, dtype=dtype), bias)
    (kernel,) = kernels
    assert kernel.metadata.target.arch == arch
    return resources(kernel, folder)


@pytest.mark.parametrize("arch", [80, 90])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64], ids=str)
def test_gather_sum(arch, dtype, tmp_path):
    found = compiled(arch, dtype, 768, tmp_path)
    assert (found.stack, found.local, found.spills, found.barriers) == (0, 0, 0, 0)
    assert found.registers <= 96  # 60, 54, 64 for the three dtypes, sm_90, Triton 3.7.1
    assert found.wide_loads >= 8  # 4 KiB of W: 8 loads of 16 bytes in each of 32 lanes


@pytest.mark.parametrize(("d", "index"), [(70, torch.int32), (768, torch.int64)])
def test_odd_width_and_long_indices_do_not_spill(d, index, tmp_path):
    found = compiled(90, torch.bfloat16, d, tmp_path, index)
    assert (found.stack, found.local, found.spills, found.barriers) == (0, 0, 0, 0)
    assert found.registers <= 96


def test_sizes_of_one_compile():
    """Triton makes a constant of every integer argument that is 1."""
    with compile_only(90) as kernels:
        launch(torch.zeros(1, 1, dtype=torch.int32), torch.zeros(1, 1), torch.zeros(1, 1), None)
    assert len(kernels) == 1


def test_range_check_compiles_in_debug_mode(monkeypatch):
    monkeypatch.setattr(triton.knobs.runtime, "debug", True)  # what TRITON_DEBUG=1 sets at import
    with compile_only(90) as kernels:
        launch(torch.zeros(8, 32, dtype=torch.int32), torch.zeros(8, 32), torch.zeros(64, 96), None)
    assert "idx holds an index >= n" in kernels[0].asm["ttir"]
