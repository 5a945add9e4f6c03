"""The kernel benchmark on a tiny shape: everything of ours has a row and is right; what is missing is said."""

import json
import subprocess
import sys
import time

import pytest
import torch

from benchmarks import record
from benchmarks.kernels import __main__ as kernels
from benchmarks.kernels import case as kernel_case
from benchmarks.kernels import clock as kernel_clock
from benchmarks.kernels import peers as kernel_peers
from benchmarks.kernels import steps as kernel_steps
from benchmarks.kernels.case import GOAL, QUICK, TOPK_GOAL, Shape, inclusion, skewed
from benchmarks.kernels.peers import ROOT
from benchmarks.kernels.table import as_table, goals
from benchmarks.kernels.works import OURS

OPS = {
    *("topk", "gather_sum", "gather_sum_mse", "gather_dot", "plan", "segment_sum", "segment_sum_dot"),
    *("decode, backward", "rowwise_adam_", "segment_sum_adam_", "step"),
}


@pytest.mark.slow
def test_quick_measures_everything_of_ours(tmp_path, capsys):
    absent = tmp_path / "absent"
    assert kernels.main(["--quick", "--peers", str(absent), "--results", str(tmp_path)]) == 0
    (path,) = tmp_path.glob("*.json")
    rows, printed = json.loads(path.read_text()), capsys.readouterr().out
    ours = [row for row in rows if row.get("who") == OURS]
    assert {row["op"] for row in ours} == OPS and not any("failed" in row for row in rows)
    assert all(0 < row["least"] <= row["ms"] <= row["most"] for row in rows if row["op"] != "ceilings")
    assert {row["skew"] for row in ours if row["op"] == "segment_sum"} == {0.0, 1.0, 1.2}
    errors = [row["max_rel_err"] for row in ours if row.get("max_rel_err") is not None]
    assert len(errors) >= 18 and max(errors) < 1e-6
    assert "llamascopium (OpenAI's): missing: RuntimeError: its Triton kernels need a GPU" in printed
    assert "step of OpenAI's kernels over ours ≥ 4: not measured, its shape is not, in bfloat16" in printed


@pytest.mark.slow
def test_a_call_of_ours_that_fails_is_said_and_ends_with_1(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("benchmarks.kernels.works.gather_dot", lambda *_: 1 / 0)
    assert kernels.main(["--quick", "--peers", str(tmp_path), "--results", str(tmp_path)]) == 1
    assert "failed: ZeroDivisionError: division by zero" in capsys.readouterr().out


def test_no_shape_is_begun_after_the_budget(tmp_path, capsys):
    assert kernels.main(["--quick", "--budget", "-1", "--results", str(tmp_path)]) == 1
    assert "not measured: -1 s are over" in capsys.readouterr().out and not list(tmp_path.iterdir())


def test_rows_do_not_make_the_code_of_later_rows_dirty(tmp_path, monkeypatch):
    states = iter([("abc", False), ("abc", True)])
    monkeypatch.setattr(record, "git_state", lambda: next(states))
    record.state.cache_clear()
    for _ in range(2):
        path = record.append("kernels", [{}], (), tmp_path)
    record.state.cache_clear()
    assert [row["dirty"] for row in json.loads(path.read_text())] == [False, False]


def test_a_shape_that_takes_too_long_is_cut_short():
    def rows():
        yield {"op": "step"}
        yield {"op": "topk"}

    found, why, fine = kernels._until(rows(), time.monotonic() - 1)
    assert found == [{"op": "step"}] and "the time is over" in why and fine


def test_what_does_not_fit_is_said_and_has_no_row_and_is_no_failure(tmp_path, capsys, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("tried to allocate")

    monkeypatch.setattr("benchmarks.kernels.__main__.steps_of_tables", full)
    monkeypatch.setattr("benchmarks.kernels.works.gather_dot", full)
    assert kernels.main(["--quick", "--peers", str(tmp_path), "--results", str(tmp_path / "rows")]) == 0
    (path,) = (tmp_path / "rows").glob("*.json")
    ops = {row["op"] for row in json.loads(path.read_text()) if row.get("who") == OURS}
    assert ops == OPS - {"gather_dot", "rowwise_adam_", "segment_sum_adam_"}
    assert capsys.readouterr().out.count("failed: out of memory") == 6  # two works, three skews


def test_a_shape_that_breaks_keeps_its_rows_and_ends_with_1(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("benchmarks.kernels.case.skewed", lambda *_, **__: 1 / 0)
    assert kernels.main(["--quick", "--peers", str(tmp_path), "--results", str(tmp_path / "rows")]) == 1
    assert "ended early: ZeroDivisionError" in capsys.readouterr().out
    assert len(list((tmp_path / "rows").iterdir())) == 1


def test_a_result_that_is_no_number_has_failed(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(
        "benchmarks.kernels.works.gather_sum", lambda idx, coef, W: W[: len(idx)] * float("nan")
    )
    assert kernels.main(["--quick", "--peers", str(tmp_path), "--results", str(tmp_path / "rows")]) == 1
    assert "failed: ArithmeticError: its relative error is nan" in capsys.readouterr().out


@pytest.mark.parametrize("skew", [0.0, 1.0, 1.2])
def test_latents_fire_as_often_as_they_should(skew):
    shape = Shape(8, 300, 6, 4000)
    idx, expected = skewed(shape, skew, seed=1), inclusion(300, 6, skew)
    assert expected.sum() == pytest.approx(6) and expected.max() <= 0.5
    assert (idx.sort(1)[0].diff(dim=1) > 0).all(), "a row names a latent twice"
    found = torch.bincount(idx.flatten(), minlength=300).sort(descending=True)[0] / 4000
    assert (found[:20] - expected[:20]).abs().max() < 0.05


def test_steps_of_autograd_and_of_a_peer_have_the_same_gradients():
    absent = kernel_peers.missing(kernel_peers.folder())
    if kernel_peers.SPARSIFY in absent:
        pytest.skip(absent[kernel_peers.SPARSIFY])
    (shape,) = QUICK
    x, grads = kernel_steps.batches(shape)[0], []
    for forward in (kernel_steps.dense, kernel_steps.sparsify):
        weights = kernel_steps.Weights(shape)
        (forward(weights, x) - x).pow(2).sum(1).mean().backward()
        grads.append([p.grad for p in (weights.W_enc, weights.W_dec)])
    for a, b in zip(*grads, strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-6)


def test_goals_judge_what_was_measured():
    def row(shape, op, who, ms, **more):
        sizes = {"d": shape.d, "n": shape.n, "k": shape.k, "B": shape.B, "dtype": "bfloat16"}
        return {**sizes, "op": op, "who": who, "ms": ms, **more}

    rows = [
        row(GOAL, "step", OURS, 8.0),
        row(GOAL, "step", kernel_steps.DENSE, 50.0),
        row(GOAL, "step", kernel_steps.ENCODER, 3.0),
        row(TOPK_GOAL, "topk", OURS, 0.4),
        row(TOPK_GOAL, "topk", "torch.topk", 6.0),
        row(GOAL, "segment_sum", OURS, 1.0, skew=0.0, share=0.9),
        row(GOAL, "segment_sum", OURS, 1.3, skew=1.2, share=0.7),
    ]
    said = dict(line.split(": ") for line in goals(rows))
    assert said["smallest share of a pass of the gather and copy ceilings ≥ 0.8"] == "0.700, missed"
    assert said["ms of topk at (4096, 131072) ≤ 0.5"] == "0.400, met"
    assert said["torch.topk over topk ≥ 8"] == "15.000, met"
    assert said["step of OpenAI's kernels over ours ≥ 4"] == "not measured, a row that it needs is missing"
    assert said["step of dense autograd over ours ≥ 6"] == "6.250, met"
    assert said["share of the encoder's product in our step ≥ 0.5"] == "0.375, missed"
    assert said["a pass at skew 1.2 over uniform, the worst ≤ 1.2"] == "1.300, missed"
    assert "failed: boom" in as_table([{"op": "step", "who": "a peer", "failed": "boom"}])


def test_cuda_laps_are_between_events_of_flushed_calls(monkeypatch):
    """On a stand-in for the device: warm-up on every set, then as many laps as the time allows, sets in turn."""
    clock, called = [0.0], []

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            self.at = clock[0]

        def elapsed_time(self, last):
            return last.at - self.at

    def work(inputs):
        called.append(inputs)
        clock[0] += 15.0  # ms

    monkeypatch.setattr(kernel_clock, "device", lambda: "cuda")
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch, "empty", lambda *_, **__: torch.zeros(1))
    times = kernel_clock.laps(work, ["a", "b", "c"])
    assert times == [15.0] * 10 and called[4:] == list("abcabcabca")


def test_it_runs_with_torch_triton_and_numpy_alone(tmp_path):
    """A GPU machine may have no more; all that else is installed here is not found."""
    absent = (
        "hydra omegaconf submitit safetensors pyarrow transformers accelerate huggingface_hub rich".split()
    )
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({absent}));"
        f"from benchmarks.kernels import __main__ as kernels; sys.exit(kernels.main(sys.argv[1:]))"
    )
    options = ["--quick", "--peers", str(tmp_path), "--results", str(tmp_path)]
    done = subprocess.run([sys.executable, "-c", code, *options], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_shapes_are_in_the_order_of_their_goals():
    assert kernel_case.CUDA[:2] == (GOAL, TOPK_GOAL) and len(set(kernel_case.CUDA)) == len(kernel_case.CUDA)
