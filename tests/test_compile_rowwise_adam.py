"""What the launcher of rowwise_adam_ compiles to for sm_90 and sm_80. No GPU needed."""

import os

import pytest
import torch

pytest.importorskip("triton")

from kernels.rowwise_adam_triton import launch
from tests.adam_cases import RATES
from tests.compile_only import HAS_TOOLS, Resources, compile_only, resources

pytestmark = [
    pytest.mark.skipif(not HAS_TOOLS, reason="this Triton carries no ptxas, cuobjdump and nvdisasm"),
    pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="this process interprets kernels"),
]


@pytest.fixture(autouse=True)
def fresh_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))


def compiled(arch: int, d: int, whole: bool, folder) -> Resources:
    p, m, v, g = (torch.zeros(4, d) for _ in range(4))
    low, scale = (torch.zeros(4, d, dtype=torch.bfloat16), torch.ones(())) if whole else (None, None)
    average = torch.zeros(4, d) if whole else None
    with compile_only(arch) as kernels:
        launch(p, m, v, g, torch.ones(()), *RATES.values(), whole, whole, scale, low, average, 0.5)
    assert [k.metadata.name for k in kernels] == ["rates_kernel", "rowwise_adam_kernel"]
    assert {k.metadata.target.arch for k in kernels} == {arch}
    rates, found = (resources(k, folder) for k in kernels)
    for of in (rates, found):
        assert (of.stack, of.local, of.spills) == (0, 0, 0)
    return found


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(("arch", "d"), [(80, 768), (90, 768), (90, 4096), (90, 8192)])
def test_realistic_widths(arch, d, whole, tmp_path):
    found = compiled(arch, d, whole, tmp_path)
    assert found.registers <= (112 if d > 4096 else 72)  # 98 and 58, sm_90, Triton 3.7.1
    assert found.wide_loads >= 8  # two of each of p, m, v and g


@pytest.mark.parametrize("d", [1, 70, 2305])
def test_odd_widths_do_not_spill(d, tmp_path):
    assert compiled(90, d, True, tmp_path).registers <= 128  # 110 at 2,305
