"""Launch a study: write its run folders, start workers for what is missing. `saescale launch study=demo --wait`"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from sweeps.dispatch import slurm
from sweeps.dispatch.reconcile import again, settle
from sweeps.dispatch.submit import Launched, script, submit
from sweeps.errors import SweepError
from sweeps.ledger import failures
from sweeps.ledger.claims import held
from sweeps.ledger.run_folder import ENDED
from sweeps.planning.plan import Plan, make_plan
from sweeps.planning.runs import PlannedRun
from sweeps.planning.table import summary
from sweeps.verbs.command import verb
from sweeps.verbs.progress import follow
from sweeps.worker.signals import stoppable
from sweeps.worker.worker import work

_LOOK_S = 10.0  # between looks at SLURM's queue while a launch waits


def launch(plan: Plan) -> Launched:
    """Write the folders of all runs and start workers on those not finished; returns at once.

    Launching again starts only what is missing: a run in a living job or held by a living worker is left to it, one
    that was cancelled, or failed as often as its kind may, to `saescale retry`.
    """
    check_machine(plan.launcher)
    write_runs(plan)
    todo = missing(plan)
    if not todo:
        return Launched()
    if plan.launcher["kind"] == "debug":
        with stoppable() as stop:
            work(str(plan.study.path), [run.run_id for run in todo], plan.options, stop)
        if stop:
            raise KeyboardInterrupt
        return Launched()
    return submit(plan, todo)


def check_machine(launcher: dict[str, Any]) -> None:
    """SweepError if this machine cannot do what the launcher asks."""
    if launcher["kind"] == "slurm":
        slurm.check(launcher["slurm"]["patience_s"])
    elif launcher["device"] == "cuda" and not torch.cuda.is_available():
        raise SweepError(
            "launcher.device is cuda, and this machine has no CUDA device; use launcher.device=cpu."
        )


def write_runs(plan: Plan) -> None:
    """A folder with its config for every run that has no result yet."""
    for run in plan.todo:
        data = run.data | ({"store": str(Path(run.data["store"]).absolute())} if run.data["store"] else {})
        plan.study.run(run.run_id).create(
            {"run_id": run.run_id, "study": plan.study.name, "data": data, "run": run.config.as_dict()}
        )


def missing(plan: Plan) -> list[PlannedRun]:
    """The runs to start now, each made ready: not ended, in no living job, not cancelled, and not failed for good."""
    in_jobs = settle(plan.study)
    found = []
    for run in plan.todo:
        folder = plan.study.run(run.run_id)
        status = folder.status()
        if run.run_id in in_jobs or status.state in (*ENDED, "cancelled") or folder.cancelled:
            continue
        if plan.launcher["kind"] == "slurm" and held(folder.path):
            continue
        if status.state == "failed":
            if not failures.may_retry(folder.path, plan.launcher["retries"]):
                continue
            again(plan.study, folder, f"again after: {status.message}")
        found.append(run)
    return found


def unfinished(plan: Plan) -> list[str]:
    """A line for each run of the plan that did not end with a result."""
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
        }.get(status.state, "another launch is at it" if held(folder.path) else "its worker is gone")
        lines.append(f"{run.run_id} {status.state} – {reason}")
    return lines


def wait(plan: Plan, launched: Launched) -> None:
    """Show progress until nothing is left to do: what died and may be tried again is launched again."""
    looked = time.monotonic()
    now = launched

    def ended() -> bool:
        nonlocal looked, now
        if not all(one.done() for one in now.local):
            return False
        if plan.launcher["kind"] == "slurm" and time.monotonic() - looked < _LOOK_S:
            return False
        looked = time.monotonic()
        try:
            now = launch(plan)  # what died in the meantime, beside those that live
            return not (now.local or now.slurm or settle(plan.study))
        except SweepError as error:
            if plan.launcher["kind"] != "slurm" or not slurm.silent(str(error)):
                raise
            return False

    follow(plan, ended)


@verb("launch", flags=["--wait", "--dry-run"])
def main(overrides: Sequence[str], wait_for_end: bool, dry_run: bool) -> int:
    """Train what is missing of a study. Returns at once; with --wait it follows to the end.

    saescale launch study=demo --wait
    saescale launch study=demo launcher.workers=4 launcher.runs_per_pack=8
    saescale launch study=demo launcher=slurm launcher.slurm.partition=gpu
    saescale launch study=demo launcher=slurm --dry-run      (prints the script that sbatch would get)
    saescale launch study=demo launcher=debug                (in this process)
    saescale launch study=demo_lr,demo_tuned --wait          (phases in order: the second uses what the first found)

    The same command again trains only what is missing. With --wait what died and may be tried again is launched again;
    exit code: 0 every run has a result (a diverged run is one), 1 some have none. Ctrl-C: local workers save and stop,
    jobs on SLURM go on; the same command follows them again.
    """
    from sweeps.dispatch import phases  # it imports scipy, 0.5 s, and this module

    lists = phases.split(overrides)
    if dry_run:
        print("\n".join(script(make_plan(mine)) for mine in lists))
        return 0
    for number, mine in enumerate(lists, 1):
        if len(lists) > 1:
            print(f"phase {number} of {len(lists)}")
        plan = make_plan(mine)
        code = start(plan, wait_for_end)
        if code or number == len(lists):
            return code
        if not phases.finished(plan):
            print("The next phase needs its results: the same command again when they are there, or --wait.")
            return 0
        print(f"wrote {phases.close(plan)}")
    return 0


def start(plan: Plan, wait_for_end: bool = False) -> int:
    """Launch, say what was started, follow it if asked to; the exit code of the verb."""
    print(summary(plan))
    plan.check_ready()
    plan.check_budget()
    try:
        launched = launch(plan)
        started = launched.local or launched.slurm
        if started and not wait_for_end:
            where = "workers started" if launched.local else f"jobs submitted ({_shown(launched.slurm)})"
            print(f"{len(started)} {where}, logs in {launched.folder}.")
            print(f"Follow with: saescale status {plan.study.path}")
            return 0
        if wait_for_end and plan.launcher["kind"] != "debug":
            wait(plan, launched)
    except KeyboardInterrupt:
        print("Interrupted. The same command goes on.")
        return 130
    return report(plan, wait_for_end or plan.launcher["kind"] == "debug")


def _shown(ids: Sequence[str]) -> str:
    arrays = list(dict.fromkeys(one.partition("_")[0] for one in ids))
    return f"{'array' if len(ids) > 1 else 'job'} {', '.join(arrays)}"


def report(plan: Plan, ended: bool) -> int:
    """Say how the study stands; the exit code: 1 if it was to have ended and some run has no result."""
    lines = unfinished(plan)
    for line in lines[:10]:
        print(line)
    if lines:
        print(f"{len(lines)} of {len(plan.runs)} runs have no result. Logs: {plan.study.jobs}")
        if not ended:
            print("Nothing was started: they are in jobs already, or wait for saescale retry.")
        return int(ended)
    print(f"All {len(plan.runs)} runs of {plan.study.name} have their result in {plan.study.path}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
