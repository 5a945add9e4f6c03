"""Start the runs that a study is missing, and start them again while a launch waits for the end."""

import time
from collections.abc import Callable
from pathlib import Path

from sweeps.config.launcher import Launcher
from sweeps.dispatch import slurm
from sweeps.dispatch.reconcile import again, settle
from sweeps.dispatch.submit import Launched, submit
from sweeps.errors import SweepError
from sweeps.ledger import failures
from sweeps.ledger.claims import held
from sweeps.ledger.run_folder import ENDED
from sweeps.planning.plan import Plan
from sweeps.planning.runs import PlannedRun
from sweeps.worker.signals import stoppable
from sweeps.worker.worker import work

_LOOK_S = 10.0  # between looks at SLURM's queue while a launch waits


def launch(plan: Plan) -> Launched:
    """Write the folders of all runs and start workers for those without a result; return at once.

    A second launch starts only what is missing. Runs in a living job or held by a living worker are left to it;
    cancelled runs, and those that failed as often as their kind of failure is retried, are left to `saescale retry`.
    """
    check_machine(plan.launcher)
    write_runs(plan)
    todo = missing(plan)
    if not todo:
        return Launched()
    if plan.launcher.kind == "debug":
        with stoppable() as stop:
            work(str(plan.study.path), [run.run_id for run in todo], plan.launcher, stop)
        if stop:
            raise KeyboardInterrupt
        return Launched()
    return submit(plan, todo)


def check_machine(launcher: Launcher) -> None:
    """Raise SweepError if this machine cannot do what the launcher asks."""
    if launcher.kind == "slurm":
        slurm.check(launcher.slurm.patience_s)
    elif launcher.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise SweepError(
                "launcher.device is cuda, and this machine has no CUDA device; use launcher.device=cpu."
            )


def write_runs(plan: Plan) -> None:
    """Write a folder with a config for every run that has no result yet."""
    for run in plan.todo:
        data = run.data | ({"store": str(Path(run.data["store"]).absolute())} if run.data["store"] else {})
        config = {"run_id": run.run_id, "study": plan.study.name, "data": data, "run": run.config.as_dict()}
        start = plan.starts.get(run.run_id)
        plan.study.run(run.run_id).create(config | ({"branches_off": start.run_id} if start else {}))


def missing(plan: Plan) -> list[PlannedRun]:
    """The runs to start now, set to pending: not ended, cancelled or failed for good, and in no living job."""
    in_jobs = settle(plan.study)
    found = []
    for run in plan.todo:
        folder = plan.study.run(run.run_id)
        status = folder.status()
        if run.run_id in in_jobs or status.state in (*ENDED, "cancelled") or folder.cancelled:
            continue
        if plan.launcher.kind == "slurm" and held(folder):
            continue
        if status.state == "failed":
            if not failures.may_retry(folder, plan.launcher.retries):
                continue
            again(plan.study, folder, f"again after: {status.message}")
        found.append(run)
    return found


def unfinished(plan: Plan) -> list[str]:
    """A line for each run of the plan without a result, with the reason."""
    lines = []
    for run in plan.runs:
        folder = plan.study.run(run.run_id)
        status = folder.status()
        if status.state in ENDED:
            continue
        reason = {
            "pending": status.message or "no worker has started it",
            "failed": f"{status.failure}: {status.message}",
            "cancelled": status.message or "cancelled",
            "stopped": status.message or "its worker is gone",
        }.get(status.state, "another launch is at it" if held(folder) else "its worker is gone")
        lines.append(f"{run.run_id} {status.state} – {reason}")
    return lines


def relauncher(plan: Plan, launched: Launched) -> Callable[[], bool]:
    """A function to call until it returns True: it launches again what died and may be retried, until all has ended."""
    looked = time.monotonic()
    now = launched

    def ended() -> bool:
        nonlocal looked, now
        if not all(one.done() for one in now.local):
            return False
        if plan.launcher.kind == "slurm" and time.monotonic() - looked < _LOOK_S:
            return False
        looked = time.monotonic()
        try:
            now = launch(plan)  # whatever has died since; living jobs are left alone
            return not (now.local or now.slurm or settle(plan.study))
        except SweepError as error:
            if plan.launcher.kind != "slurm" or not slurm.silent(str(error)):
                raise
            return False

    return ended
