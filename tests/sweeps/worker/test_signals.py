"""A worker asked to stop saves its runs and says so; the rest of its list is left to others."""

import os
import signal

import pytest

from sae_core.training.run import Run
from sweeps.dispatch.launch import write_runs
from sweeps.ledger.job_environment import slurm_job
from sweeps.planning.plan import make_plan
from sweeps.worker import signals
from sweeps.worker.job_main import job
from sweeps.worker.signals import stoppable
from sweeps.worker.worker import work


@pytest.fixture
def interrupted(monkeypatch):
    """Sends this process a signal in the middle of its 5th step."""

    def after(which):
        step = Run.step

        def noisy(run, x, *more):
            if run.steps == 4:
                os.kill(os.getpid(), which)
            step(run, x, *more)

        monkeypatch.setattr(Run, "step", noisy)

    return after


def planned(overrides):
    plan = make_plan([*overrides, "launcher=debug"])
    write_runs(plan)
    return plan, [run.run_id for run in plan.runs]


@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGUSR2, signal.SIGINT])
def test_runs_are_saved_and_resume_to_the_same_bits(tiny, tmp_path, monkeypatch, interrupted, which):
    calm, ids = planned(tiny("seed=0,1", f"runs={tmp_path / 'calm'}"))
    work(str(calm.study.path), ids, calm.launcher)
    plan, _ = planned(tiny("seed=0,1"))
    interrupted(which)
    with pytest.raises(SystemExit, match="Launch again to go on"):
        job(str(plan.study.path), ids, plan.launcher)
    for run_id in ids:
        folder = plan.study.run(run_id)
        assert folder.status().state == "stopped" and folder.status().tokens > 0
        assert list(folder.checkpoints.glob("step-*"))
    monkeypatch.undo()
    assert work(str(plan.study.path), ids, plan.launcher) == dict.fromkeys(ids, "done")
    for run_id in ids:
        a, b = ([row["nmse"] for row in study.run(run_id).curve()] for study in (calm.study, plan.study))
        assert a == b
        assert not (plan.study.run(run_id).path / "failures.jsonl").exists()


@pytest.mark.parametrize(
    ("which", "order"),
    [
        (signal.SIGUSR2, ["requeue"]),
        (signal.SIGTERM, ["wait", "requeue"]),
        (signal.SIGINT, ["wait", "requeue"]),
    ],
)
def test_a_stopped_job_is_requeued_after_slurm_had_time_to_kill_it(
    tiny, monkeypatch, interrupted, which, order
):
    asked = []
    monkeypatch.setattr("sweeps.worker.job_main.requeue", lambda: asked.append("requeue") or True)
    monkeypatch.setattr("sweeps.worker.job_main.await_the_end", lambda: asked.append("wait"))
    plan, ids = planned(tiny())
    interrupted(which)
    with pytest.raises(SystemExit, match="Back in the queue"):
        job(str(plan.study.path), ids, plan.launcher)
    assert asked == order


def test_a_second_signal_does_not_disturb_its_going_back(tiny, monkeypatch, interrupted):
    """As submitit's handler would, which is back once `stoppable` is left."""

    def raises(*_):
        raise RuntimeError("not into the queue")

    asked = []

    def slow_requeue():
        os.kill(os.getpid(), signal.SIGUSR2)
        asked.append("requeue")
        return True

    monkeypatch.setattr("sweeps.worker.job_main.requeue", slow_requeue)
    plan, ids = planned(tiny())
    interrupted(signal.SIGUSR2)
    before = signal.signal(signal.SIGUSR2, raises)
    try:
        with pytest.raises(SystemExit, match="Back in the queue"):
            job(str(plan.study.path), ids, plan.launcher)
        assert signal.getsignal(signal.SIGUSR2) is raises
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert asked == ["requeue"]


def test_handlers_are_put_back():
    before = [signal.getsignal(number) for number in signals.STOP]
    with stoppable() as stop:
        os.kill(os.getpid(), signal.SIGUSR2)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop and stop.asked == signal.SIGUSR2
    assert [signal.getsignal(number) for number in signals.STOP] == before


def test_job_of_an_array_task_is_named_as_squeue_names_it(monkeypatch):
    for name in ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"):
        monkeypatch.delenv(name, raising=False)
    assert slurm_job() is None and signals.requeue() is False
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    assert slurm_job() == "12"
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "10")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "2")
    assert slurm_job() == "10_2"
