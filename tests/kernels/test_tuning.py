"""The table of measured tiles: what it accepts, who finds an entry in it, and what a look costs."""

import json
import re
from dataclasses import dataclass

import pytest
import torch

from kernels import tuning

ENTRY = dict(
    gpu="NVIDIA H200",
    kernel="gather_sum",
    d=768,
    dtype="bfloat16",
    tile=[8, 128, 1],
    ms=1.0,
    reasoned_ms=1.25,
    commit="0123abc",
    triton="3.6.0",
)
TOPK = {name: value for name, value in ENTRY.items() if name != "d"} | dict(
    kernel="topk", n=131072, k=32, tile=[64, 2048, 2048, 8]
)


@dataclass(frozen=True)
class Rows:
    """What `tuned` reads of a tensor."""

    device: torch.device = torch.device("cuda", 0)
    dtype: torch.dtype = torch.bfloat16


@pytest.fixture
def on(monkeypatch):
    """A process on an H200 whose table holds the two entries."""
    monkeypatch.setattr(tuning, "gpu_name", lambda index: ["NVIDIA H200", "NVIDIA H100 PCIe"][index])
    found = tuning.checked([ENTRY, TOPK])
    monkeypatch.setattr(tuning, "table", lambda: found)


def test_the_committed_table_is_right():
    assert tuning.table() == tuning.checked(json.loads(tuning.PATH.read_text(encoding="utf-8")))


def test_an_entry_is_for_this_gpu_dtype_and_size(on):
    assert tuning.tuned("gather_sum", Rows(), 768) == (8, 128, 1)
    assert tuning.tuned("topk", Rows(), 131072, 32) == (64, 2048, 2048, 8)
    for kernel, rows, sizes in [
        ("gather_sum", Rows(torch.device("cuda", 1)), (768,)),
        ("gather_sum", Rows(torch.device("cpu")), (768,)),
        ("gather_sum", Rows(dtype=torch.float32), (768,)),
        ("gather_sum", Rows(), (769,)),
        ("gather_sum_mse", Rows(), (768,)),
        ("topk", Rows(), (131072, 31)),
    ]:
        assert tuning.tuned(kernel, rows, *sizes) is None


def test_using_takes_the_place_of_table_and_formula(on):
    with tuning.using("gather_sum", (4, 64, 1)):
        assert tuning.tuned("gather_sum", Rows(torch.device("cpu")), 5) == (4, 64, 1)
        assert tuning.tuned("topk", Rows(), 131072, 32) == (64, 2048, 2048, 8)
        with pytest.raises(ZeroDivisionError), tuning.using("gather_sum", (2, 64, 1)):
            assert tuning.tuned("gather_sum", Rows(), 768) == (2, 64, 1)
            raise ZeroDivisionError
        assert tuning.tuned("gather_sum", Rows(), 768) == (4, 64, 1)
    assert tuning.tuned("gather_sum", Rows(), 768) == (8, 128, 1)


@pytest.mark.parametrize(
    ("kernel", "tile", "sentence"),
    [
        ("gather", (1, 2, 3), "kernel is 'gather'"),
        ("topk", (64,), r"tile is \(64,\); that of topk is \[G, BN"),
    ],
)
def test_using_refuses(kernel, tile, sentence):
    with pytest.raises(ValueError, match=sentence), tuning.using(kernel, tile):
        pass


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (dict(kernel="gather"), "kernel is 'gather'; it must be one of gather_sum, "),
        (dict(tile=[8, 128]), "tile is [8, 128]; that of gather_sum is [T, BD, warps]"),
        (dict(tile=8), "tile is 8; that of gather_sum is [T, BD, warps]"),
        (dict(d="768"), "d is '768'; it must be an integer"),
        (dict(tile=[8, 100, 1]), "BD is 100; it must be a power of two"),
        (dict(tile=[0, 128, 1]), "T is 0; it must be a power of two"),
        (dict(tile=[8, 128.0, 1]), "BD is 128.0; it must be a power of two"),
        (dict(tile=[8, 128, 64]), "warps is 64; a program has 32 at most"),
        (dict(dtype="bf16"), "dtype is 'bf16'; it must be one of float32, "),
        (dict(n=3), "gather_sum needs the fields commit, d, dtype, "),
        (dict(gpu="NVIDIA H200"), "it is there twice"),
    ],
)
def test_a_wrong_entry_is_named(change, sentence):
    wrong = ENTRY | change
    with pytest.raises(ValueError, match=re.escape(sentence)) as error:
        tuning.checked([ENTRY, wrong])
    assert json.dumps(wrong) in str(error.value) and "\n" not in str(error.value)


def test_the_file_is_read_once():
    """A launch looks into a dict."""
    assert tuning.table() is tuning.table()
