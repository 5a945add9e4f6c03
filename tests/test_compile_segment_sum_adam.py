"""What the launcher of segment_sum_adam_ compiles to for sm_90 and sm_80. No GPU needed."""

import os

import pytest
import torch

pytest.importorskip("triton")

from kernels.plan import plan
from kernels.segment_sum_adam_triton import launch
from tests.adam_cases import RATES
from tests.compile_only import HAS_TOOLS, Resources, compile_only, resources

pytestmark = [
    pytest.mark.skipif(not HAS_TOOLS, reason="this Triton carries no ptxas, cuobjdump and nvdisasm"),
    pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="this process interprets kernels"),
]
NAMES = ["count_kernel", "fill_kernel", "rates_kernel", "step_items_kernel", "step_long_kernel"]


@pytest.fixture(autouse=True)
def fresh_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))


def compiled(arch: int, dtype: torch.dtype, d: int, whole: bool, folder, n: int = 64) -> dict[str, Resources]:
    idx, coef = torch.zeros(8, 32, dtype=torch.int32), torch.zeros(8, 32)
    p, m, v = (torch.zeros(n, d) for _ in range(3))
    low, scale = (torch.zeros(n, d, dtype=torch.bfloat16), torch.ones(())) if whole else (None, None)
    modes = dict(project=whole, renormalise=whole, scale=scale, low=low)
    with compile_only(arch) as kernels:
        launch(plan(idx, n), coef, torch.zeros(8, d, dtype=dtype), p, m, v, torch.ones(()), **RATES, **modes)
    assert [kernel.metadata.name for kernel in kernels] == NAMES
    assert {kernel.metadata.target.arch for kernel in kernels} == {arch}
    found = {kernel.metadata.name: resources(kernel, folder) for kernel in kernels}
    for name, of in found.items():
        assert (of.stack, of.local, of.spills) == (0, 0, 0), name
    return found


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(("arch", "d"), [(80, 768), (90, 768), (90, 4096), (90, 8192)])
def test_realistic_widths(arch, d, whole, tmp_path):
    found = compiled(arch, torch.bfloat16, d, whole, tmp_path)
    items, long = found["step_items_kernel"], found["step_long_kernel"]
    assert max(items.registers, long.registers) <= (
        112 if d > 4096 else 72
    )  # 100 and 62, sm_90, Triton 3.7.1
    assert items.wide_loads >= 14  # 8 rows of X, two loads of each of p, m and v
    assert long.wide_loads >= 14


@pytest.mark.parametrize(
    ("dtype", "d", "n"), [(torch.float32, 768, 64), (torch.bfloat16, 70, 64), (torch.float16, 1, 1)], ids=str
)
def test_other_shapes_do_not_spill(dtype, d, n, tmp_path):
    found = compiled(90, dtype, d, True, tmp_path, n)
    assert max(of.registers for of in found.values()) <= 72
