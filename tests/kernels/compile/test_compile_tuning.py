"""Every tile that benchmarks/kernels/tuning.py would measure compiles for sm_90 without a spill. No GPU needed."""

import os

import pytest
import torch

pytest.importorskip("triton")

from benchmarks.kernels.candidates import candidates
from kernels import tuning
from tests.kernels.compile.compile_only import HAS_TOOLS, compile_only, resources
from tests.kernels.tuning_cases import launches

pytestmark = [
    pytest.mark.slow,  # every tile of every kernel: minutes
    pytest.mark.skipif(not HAS_TOOLS, reason="this Triton carries no ptxas, cuobjdump and nvdisasm"),
    pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="this process interprets kernels"),
]
WIDTHS = [(768,), (4096,)]  # for most kernels the same compiled one: d is no constant of theirs
SIZES = {"segment_sum_adam_": [*WIDTHS, (8192,)], "topk": [(131072, 32)]}


@pytest.mark.parametrize("kernel", [name for name in tuning.KERNELS if name != "segment_items"])
def test_no_candidate_spills(kernel, tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    found = {}
    for sizes in SIZES.get(kernel, WIDTHS):
        call, tiles = launches(kernel, torch.bfloat16, *sizes), candidates(kernel, torch.bfloat16, *sizes)
        if kernel == "topk":
            tiles = tiles[::2]  # tl.topk takes 3 s to compile
        launched = {}
        for tile in tiles:
            with tuning.using(kernel, tile), compile_only(90) as compiled:
                call()
            launched |= {one.hash: (one, sizes, tile) for one in compiled}
        assert len(launched) >= len(tiles)  # each tile makes another kernel: the launcher took it
        found |= launched
    for one, sizes, tile in found.values():
        of = resources(one, tmp_path)
        assert (of.stack, of.local, of.spills) == (0, 0, 0), (one.metadata.name, sizes, tile, of)
