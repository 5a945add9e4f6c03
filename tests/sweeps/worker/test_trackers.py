"""TensorBoard and W&B show what the curve says, once, also after a resume; when they fail, runs go on."""

import importlib.util

import pytest

from sae_core.training.run import Run
from sweeps.dispatch.launch import write_runs
from sweeps.errors import SweepError
from sweeps.planning.plan import make_plan
from sweeps.worker import trackers
from sweeps.worker.worker import work
from tests.sweeps.slurm.processes import until


def trained(overrides):
    plan = make_plan([*overrides, "launcher=debug"])
    write_runs(plan)
    ids = [run.run_id for run in plan.runs]
    assert work(str(plan.study.path), ids, plan.launcher) == dict.fromkeys(ids, "done")
    return plan.study.runs()


def shown(folder):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = accumulator.EventAccumulator(str(folder.path / "tensorboard")).Reload()
    return {tag: [(e.step, e.value) for e in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def test_tensorboard_shows_the_curve(tiny):
    for folder in trained(tiny("launcher.tensorboard=true", "seed=0,1")):
        found = shown(folder)
        for column in ("nmse", "l0", "grad_norm", "tokens_per_second"):
            expected = [(row["tokens"], pytest.approx(row[column], rel=1e-6)) for row in folder.curve()]
            assert found[column] == expected and len(expected) > 3
        assert "step" not in found and "penalty" not in found  # topk has no penalty: missing is not 0


def test_after_a_resume_nothing_is_shown_twice(tiny, monkeypatch):
    """Stopped by an error in the middle of the run; what came after its checkpoint is trained and shown again."""
    pytest.importorskip("tensorboard")
    step, fail_at = Run.step, [10]

    def fails_once(run, x, *more):
        if run.steps == fail_at[0]:
            fail_at[0] = -1
            raise OSError("a disk")
        step(run, x, *more)

    monkeypatch.setattr(Run, "step", fails_once)
    plan = make_plan([*tiny("launcher.tensorboard=true", "launcher.checkpoint_s=0.001"), "launcher=debug"])
    write_runs(plan)
    (folder,) = plan.study.runs()
    assert work(str(plan.study.path), [folder.run_id], plan.launcher) == {folder.run_id: "failed"}
    folder.set_status(folder.status().__class__("pending"))
    assert work(str(plan.study.path), [folder.run_id], plan.launcher) == {folder.run_id: "done"}
    assert [at for at, _ in shown(folder)["nmse"]] == [row["tokens"] for row in folder.curve()]


def test_wandb_keeps_an_offline_run_of_every_run_in_a_pack(tiny):
    pytest.importorskip("wandb")
    for folder in trained(tiny("launcher.wandb=offline", "seed=0,1")):
        (offline,) = (folder.path / "wandb").glob(f"offline-run-*-{folder.run_id}")
        written = offline / f"run-{folder.run_id}.wandb"  # by a process of wandb's own, in its own time
        until("the run is on disk", lambda at=written: at.stat().st_size > 1000, 60)


def test_a_tracker_that_fails_is_dropped_and_said(tiny, monkeypatch, capsys):
    monkeypatch.setattr("sweeps.config.launcher.check_trackers", lambda launcher: None)

    def broken(*_):
        def log(row):
            raise ConnectionError("no server")

        return log, lambda: None

    monkeypatch.setattr(trackers, "_tensorboard", broken)
    (folder,) = trained(tiny("launcher.tensorboard=true"))
    assert capsys.readouterr().out.count("tensorboard failed and is off for this run: no server") == 1
    assert len(folder.curve()) > 3


def test_off_by_default(tiny):
    (folder,) = trained(tiny())
    assert not (folder.path / "tensorboard").exists() and not (folder.path / "wandb").exists()


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("launcher.wandb=sometimes", "must be one of off, offline, online"),
        ("launcher.tensorboard=true", "pip install"),
    ],
)
def test_what_cannot_be_is_said_at_plan_time(tiny, monkeypatch, override, words):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SweepError, match=words):
        make_plan(tiny(override))
