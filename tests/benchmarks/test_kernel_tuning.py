"""How tiles are chosen: which wins, what noise does, where the budget ends, what is written. The times are given."""

import itertools
import json
from types import SimpleNamespace

import pytest
import torch

pytest.importorskip("triton")

from triton.runtime.errors import OutOfResources

from benchmarks.kernels import __main__ as kernels
from benchmarks.kernels import tuning as kernel_tuning
from benchmarks.kernels.candidates import candidates
from benchmarks.kernels.case import GOAL, Shape
from benchmarks.kernels.tuning import as_table, beats, search, tune, write
from benchmarks.kernels.tuning_cases import Case, cases
from kernels import tuning

REASONED, *OTHERS = candidates("gather_sum", torch.bfloat16, 768)


class Untimed(Case):
    """A case without inputs."""

    def work(self):
        return lambda inputs: None, [1, 2]


def case(kernel="gather_sum", shape=GOAL):
    return Untimed(kernel, torch.bfloat16, shape)


def on_a_gpu(ms_of, took=None):
    """A measure that looks up the tile being launched; ms_of: tile → the times it gives in turn."""
    turns = {tile: itertools.cycle(times) for tile, times in ms_of.items()}
    rows = SimpleNamespace(device=torch.device("cpu"))

    def measure(call, sets):
        assert [call(inputs) for inputs in sets] == [None, None]
        tile = next(found for kernel in tuning.KERNELS if (found := tuning.tuned(kernel, rows)))
        if took is not None:
            took.append(tile)
        ms = next(turns[tile]) if tile in turns else 2.0
        if isinstance(ms, Exception):
            raise ms
        return ms

    return measure


def row(ms_of, **kwargs):
    (found,) = search([case(**kwargs)], 1e9, on_a_gpu(ms_of))
    return found


@pytest.mark.parametrize(
    ("tile_ms", "reasoned_ms", "wins"),
    [
        ([0.90, 0.91], [1.00, 1.01], True),
        ([0.98, 0.98], [1.00, 1.00], False),  # 2 %
        ([0.96, 0.96], [1.00, 1.00], True),
        ([0.93, 0.93], [1.00, 1.10], False),  # 7 %, where the reasoned tile differs from itself by 10 %
        ([0.80, 0.96], [1.00, 1.00], False),  # the second time shows that the first was luck
        ([1.20, 1.20], [1.00, 1.00], False),
    ],
)
def test_only_more_than_the_noise_counts(tile_ms, reasoned_ms, wins):
    assert beats(tile_ms, reasoned_ms) is wins


def test_the_fastest_tile_wins_and_is_measured_twice():
    took = []
    times = {REASONED: [1.0], OTHERS[3]: [0.7, 0.71], OTHERS[5]: [0.8]}
    (found,) = search([case()], 1e9, on_a_gpu(times, took))
    assert (found["tile"], found["tile_ms"], found["kept"]) == (OTHERS[3], [0.7, 0.71], True)
    assert found["reasoned"] == REASONED and found["tiles"] == len(took) - 2 == 1 + len(OTHERS)
    assert took.count(REASONED) == took.count(OTHERS[3]) == 2
    assert not tuning._forced


def test_a_tile_that_fails_is_counted_and_left_out():
    times = {REASONED: [1.0], OTHERS[0]: [OutOfResources(300, 200, "shared memory")], OTHERS[1]: [0.5]}
    found = row(times)
    assert found["failed"] == 1 and found["tile"] == OTHERS[1] and found["kept"]
    assert "failed: 1" in as_table([found])


def test_a_case_that_fails_says_why():
    found = row({REASONED: [torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate")]})
    assert found["missing"] == "CUDA out of memory. Tried to allocate" and "kept" not in found


def test_the_budget_ends_the_search_and_leaves_no_half_measured_case():
    clock = itertools.count()
    four = [case(kernel) for kernel in ("gather_sum", "gather_sum_mse", "gather_dot", "segment_sum")]
    measurements = len(OTHERS) + 3
    rows = search(
        four, measurements + 5, on_a_gpu({REASONED: [1.0], OTHERS[0]: [0.5]}), clock=lambda: next(clock)
    )
    assert [row.get("kept") for row in rows] == [True, None, None, None]
    assert [row.get("missing") for row in rows[1:]] == ["the budget was spent"] * 3
    assert "1 of 1 cases keep another tile; 3 missing" in as_table(rows)


@pytest.fixture
def on(monkeypatch):
    monkeypatch.setattr(kernel_tuning, "machine", lambda: "NVIDIA H200")


def test_written_and_read_back(tmp_path, on):
    path = tmp_path / "tuning.json"
    topk = candidates("topk", torch.bfloat16, GOAL.n, GOAL.k)
    rows = [row({REASONED: [1.0], OTHERS[0]: [0.5]}), row({topk[0]: [1.0], topk[1]: [0.5]}, kernel="topk")]
    write(rows, path)
    text = path.read_text()
    entries = json.loads(text)
    assert tuning.checked(entries) == {
        ("NVIDIA H200", "gather_sum", torch.bfloat16, 768): OTHERS[0],
        ("NVIDIA H200", "topk", torch.bfloat16, GOAL.n, GOAL.k): topk[1],
    }
    assert entries[0]["ms"] == 0.5 and entries[0]["reasoned_ms"] == 1.0
    write(reversed(rows), path)
    assert path.read_text() == text and len(text.splitlines()) == 4


def test_measured_again_replaces_what_was_not_reached_stays(tmp_path, on, monkeypatch):
    path = tmp_path / "tuning.json"
    slower, faster = {REASONED: [1.0], OTHERS[0]: [0.5]}, {REASONED: [1.0]}
    write([row(slower)], path)
    monkeypatch.setattr(kernel_tuning, "machine", lambda: "NVIDIA H100 PCIe")
    write([row(slower)], path)
    both = path.read_text()
    write(search([case()], 0.0, on_a_gpu({})), path)
    assert path.read_text() == both and len(json.loads(both)) == 2
    write([row(faster)], path)
    assert [entry["gpu"] for entry in json.loads(path.read_text())] == ["NVIDIA H200"]
    monkeypatch.setattr(kernel_tuning, "machine", lambda: "NVIDIA H200")
    write([row(faster)], path)
    assert path.read_text() == "[]\n"


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_refused_without_a_gpu():
    before = tuning.PATH.read_bytes()
    with pytest.raises(RuntimeError, match="tune measures kernels on a CUDA device, and torch sees none"):
        tune(60.0)
    with pytest.raises(SystemExit, match="2"):
        kernels.main(["--tune"])
    assert tuning.PATH.read_bytes() == before


def test_every_kernel_at_every_size_once():
    keys = [(case.kernel, case.dtype, case.sizes) for case in cases()]
    assert len(set(keys)) == len(keys) and {kernel for kernel, *_ in keys} == tuning.KERNELS.keys()
    assert keys[0] == ("gather_sum", torch.bfloat16, (768,))
    assert {d for kernel, dtype, (d, *_) in keys if kernel == "gather_sum"} == {768, 1600, 2304, 4096, 8192}
    assert ("gather_sum", torch.float32, (768,)) in keys
    assert ("topk", torch.bfloat16, (2**22, 32)) in keys


@pytest.mark.parametrize("kernel", tuning.KERNELS)
def test_calls_of_every_kernel_run(kernel):
    for dtype in (torch.float32, torch.bfloat16):
        call, sets = Case(kernel, dtype, Shape(d=16, n=64, k=4, B=32)).work()
        assert len(sets) == (1 if kernel == "topk" else 3)
        for inputs in sets:
            call(inputs)
