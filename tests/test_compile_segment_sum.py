"""What the launchers of segment_sum and segment_sum_dot compile to for sm_90 and sm_80. No GPU needed."""

import os

import pytest
import torch

pytest.importorskip("triton")

from kernels.plan import plan
from kernels.segment_sum_triton import launch
from tests.compile_only import HAS_TOOLS, Resources, compile_only, resources

pytestmark = [
    pytest.mark.skipif(not HAS_TOOLS, reason="this Triton carries no ptxas, cuobjdump and nvdisasm"),
    pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="this process interprets kernels"),
]
NAMES = ["count_kernel", "fill_kernel", "items_kernel", "long_kernel"]


@pytest.fixture(autouse=True)
def fresh_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))


def compiled(
    arch: int, dtype: torch.dtype, d: int, dots: bool, folder, rows: int = 64
) -> dict[str, Resources]:
    idx, coef = torch.zeros(8, 32, dtype=torch.int32), torch.zeros(8, 32)
    W = torch.zeros(rows, d, dtype=dtype) if dots else None
    with compile_only(arch) as kernels:
        launch(plan(idx, rows), coef, torch.zeros(8, d, dtype=dtype), W)
    assert {kernel.metadata.target.arch for kernel in kernels} == {arch}
    return {kernel.metadata.name: resources(kernel, folder) for kernel in kernels}


def check(found: dict[str, Resources], items_registers: int) -> None:
    for name, of in found.items():
        assert (of.stack, of.local, of.spills) == (0, 0, 0), name
        assert of.barriers == 0 or name == "fill_kernel", name  # its 4 warps agree on a maximum
    assert found["items_kernel"].registers <= items_registers
    assert max(of.registers for name, of in found.items() if name != "items_kernel") <= 96


@pytest.mark.parametrize("arch", [80, 90])
@pytest.mark.parametrize("dots", [False, True])
def test_realistic_widths(arch, dots, tmp_path):
    for d in (768, 2304, 4096):
        found = compiled(arch, torch.bfloat16, d, dots, tmp_path)
        assert list(found) == NAMES + ["dots_kernel"] * dots
        check(found, 72)  # 64 with dots, 61 without, sm_90, Triton 3.7.1
        assert found["items_kernel"].wide_loads >= (5 if dots else 8)  # T rows of X, with dots also one of W
        assert found["long_kernel"].wide_loads >= 8


@pytest.mark.parametrize("dots", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16], ids=str)
def test_other_dtypes(dtype, dots, tmp_path):
    found = compiled(90, dtype, 768, dots, tmp_path)
    check(found, 72)
    assert found["items_kernel"].wide_loads >= (5 if dots else 8)


@pytest.mark.parametrize(("d", "rows"), [(70, 64), (1, 64), (64, 1), (1, 1)])
def test_odd_shapes_do_not_spill(d, rows, tmp_path):
    found = compiled(90, torch.bfloat16, d, True, tmp_path, rows)
    check(found, 96)
