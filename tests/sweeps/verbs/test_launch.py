"""Launching: through submitit, only what is missing, never a run twice, an exit code that tells the truth."""

import subprocess
import sys
from pathlib import Path

import pytest

from sweeps.dispatch.launch import launch
from sweeps.ledger.run_folder import Study
from sweeps.planning.plan import make_plan
from sweeps.verbs import launch as module


def command(*arguments: str, **options) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "sweeps.verbs.cli", *arguments], text=True, stdout=subprocess.PIPE, **options
    )


def claims(study: Study) -> list[int]:
    return [len(list(f.path.glob("claim-*"))) for f in study.runs()]


def test_submitit_workers_train_a_grid_and_a_second_launch_only_what_is_new(tiny, tmp_path):
    first = command("launch", *tiny("sae.k=2,3", "seed=0,1"), "--wait")
    out, _ = first.communicate(timeout=120)
    assert first.returncode == 0, out
    study = Study(tmp_path / "tiny")
    assert [f.status().state for f in study.runs()] == ["done"] * 4
    assert "All 4 runs" in out
    before = {f.run_id: f.curve_path.stat().st_mtime_ns for f in study.runs()}
    second = command("launch", *tiny("sae.k=2,3,4", "seed=0,1"), "--wait")
    out, _ = second.communicate(timeout=120)
    assert second.returncode == 0 and "4 already done, 2 to train" in out
    assert all(
        f.curve_path.stat().st_mtime_ns == before[f.run_id] for f in study.runs() if f.run_id in before
    )
    assert len(study.runs()) == 6


@pytest.mark.slow
def test_two_launches_at_once_train_each_run_once(tiny, tmp_path):
    overrides = tiny("seed=range(0,6)", "launcher.runs_per_pack=1", "train.max_tokens=4096")
    both = [command("launch", *overrides, "--wait") for _ in range(2)]
    outs = [p.communicate(timeout=180)[0] for p in both]
    study = Study(tmp_path / "tiny")
    assert [f.status().state for f in study.runs()] == ["done"] * 6, outs
    assert claims(study) == [1] * 6
    assert all(p.returncode == 0 for p in both), outs


def test_in_this_process(tiny, tmp_path, capsys):
    assert module.main([*tiny("launcher=debug")]) == 0
    assert module.main([*tiny("launcher=debug")]) == 0
    assert "1 already done, 0 to train" in capsys.readouterr().out
    assert claims(Study(tmp_path / "tiny")) == [1]


def test_a_failed_run_makes_the_exit_code_1_and_is_named(tiny, tmp_path, capsys, monkeypatch):
    def broken(*_):
        raise KeyError("surprise")

    monkeypatch.setattr("sae_core.training.run.Run.step", broken)
    assert module.main([*tiny("launcher=debug")]) == 1
    out = capsys.readouterr().out
    run = Study(tmp_path / "tiny").runs()[0]
    assert run.run_id in out and "KeyError: 'surprise'" in out
    assert "surprise" in (run.path / "traceback.txt").read_text()


def test_a_diverged_run_is_a_result(tiny, tmp_path, capsys):
    assert module.main([*tiny("launcher=debug", "train.lr=1e20")]) == 0
    assert Study(tmp_path / "tiny").runs()[0].status().state == "diverged"


def test_nothing_is_written_when_the_grid_is_impossible(tiny, tmp_path, capsys):
    assert module.main([*tiny("sae.k=2,64")]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "sae.k=64" in err
    assert not (tmp_path / "tiny").exists() and not list(Path(tmp_path).iterdir())


def test_on_a_cuda_machine_each_worker_sees_its_own_gpu(tiny, monkeypatch):
    def note(path, ids, options):
        import os
        from pathlib import Path

        Path(path, f"gpu-{os.environ['CUDA_VISIBLE_DEVICES']}").touch()

    note.__module__ = "__main__"  # pickled by value: the worker cannot import this test
    monkeypatch.setattr("sweeps.dispatch.submit.job", note)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    plan = make_plan(tiny("seed=0,1,2", "launcher.device=cuda", "launcher.workers=3"))
    for job in launch(plan).local:
        job.result()
    assert sorted(p.name for p in plan.study.path.glob("gpu-*")) == ["gpu-0", "gpu-1"]


def test_cuda_without_a_cuda_device_is_a_sentence(tiny, tmp_path, capsys):
    assert module.main(tiny("launcher.device=cuda")) == 1
    assert "no CUDA device" in capsys.readouterr().err and not (tmp_path / "tiny").exists()
