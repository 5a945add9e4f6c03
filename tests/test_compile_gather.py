"""What the launchers of gather_dot and gather_sum_mse compile to for sm_90 and sm_80. No GPU needed."""

import os

import pytest
import torch

pytest.importorskip("triton")

from benchmarks import kernel_read_rows
from kernels import gather_dot_triton, gather_sum_mse_triton
from kernels.inputs import accumulator
from tests.compile_only import HAS_TOOLS, Resources, compile_only, resources

pytestmark = [
    pytest.mark.skipif(not HAS_TOOLS, reason="this Triton carries no ptxas, cuobjdump and nvdisasm"),
    pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="this process interprets kernels"),
]


@pytest.fixture(autouse=True)
def fresh_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))


def compiled(arch: int, folder, call) -> Resources:
    with compile_only(arch) as kernels:
        call()
    (kernel,) = kernels
    assert kernel.metadata.target.arch == arch
    return resources(kernel, folder)


def gather_dot(dtype: torch.dtype, d: int, n: int = 64):
    idx, G, W = (
        torch.zeros(8, 32, dtype=torch.int32),
        torch.zeros(8, d, dtype=dtype),
        torch.zeros(n, d, dtype=dtype),
    )
    return lambda: gather_dot_triton.launch(idx, G, W, accumulator(dtype))


def gather_sum_mse(dtype: torch.dtype, d: int, n: int = 64, bias: bool = True):
    idx, coef, W = torch.zeros(8, 32, dtype=torch.int32), torch.zeros(8, 32), torch.zeros(n, d, dtype=dtype)
    x, b = torch.zeros(8, d, dtype=dtype), torch.zeros(d) if bias else None
    return lambda: gather_sum_mse_triton.launch(idx, coef, W, x, b, accumulator(dtype))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("arch", [80, 90])
@pytest.mark.parametrize(("kernel", "loads"), [(gather_dot, 5), (gather_sum_mse, 9)])
def test_realistic_widths(kernel, loads, arch, dtype, tmp_path):
    for d in (768, 2304, 4096):
        found = compiled(arch, tmp_path, kernel(dtype, d))
        assert (found.stack, found.local, found.spills, found.barriers) == (0, 0, 0, 0)
        assert found.registers <= 72  # 54 to 66, Triton 3.7.1
        assert found.wide_loads >= loads


@pytest.mark.parametrize(("d", "n"), [(70, 64), (1, 64), (1, 1)])
@pytest.mark.parametrize("kernel", [gather_dot, gather_sum_mse])
def test_odd_shapes_do_not_spill(kernel, d, n, tmp_path):
    found = compiled(90, tmp_path, kernel(torch.bfloat16, d, n))
    assert (found.stack, found.local, found.spills) == (0, 0, 0)
    assert found.registers <= 96


@pytest.mark.parametrize("tile", kernel_read_rows.TILES)
def test_the_gathers_ceiling_has_its_rows_in_flight(tile, tmp_path):
    out, W = torch.zeros(8, 768), torch.zeros(64, 768, dtype=torch.bfloat16)
    found = compiled(90, tmp_path, lambda: kernel_read_rows.launch(out, W, 32, tile))
    assert (found.stack, found.local, found.spills) == (0, 0, 0)
    assert found.wide_loads >= tile[0] * tile[1] * 2 // 512  # 32 lanes of 16 bytes a load
