"""Launch a study: write its run folders, start workers for what is missing. `saescale launch study=demo --wait`"""

import os
import time
from collections.abc import Sequence
from typing import Any

import submitit
import torch

from sweeps.errors import SweepError
from sweeps.ledger import ENDED
from sweeps.plan import Plan, make_plan, summary
from sweeps.progress import follow
from sweeps.verbs import take_flag, verb
from sweeps.worker import work


def launch(plan: Plan) -> list[submitit.Job[Any]]:
    """Write the folders of all runs and start workers on those not finished; returns the jobs, at once.

    Launching again starts only what is missing; a run held by a living worker is left to it.
    """
    if plan.launcher["device"] == "cuda" and not torch.cuda.is_available():
        raise SweepError(
            "launcher.device is cuda, and this machine has no CUDA device; use launcher.device=cpu."
        )
    for run in plan.runs:
        plan.study.run(run.run_id).create(
            {
                "run_id": run.run_id,
                "study": plan.study.name,
                "data": run.data,
                "run": run.config.as_dict(),
            }
        )
    ids = [run.run_id for run in plan.todo]
    if not ids:
        return []
    if plan.launcher["kind"] == "debug":
        work(str(plan.study.path), ids, plan.options)
        return []
    return _submit(plan, ids)


def _submit(plan: Plan, ids: list[str]) -> list[submitit.Job[Any]]:
    """Start the workers through submitit; each walks the whole list and takes what is free."""
    # Two OpenMP threads that spin for work on shared cores cost 30× (104 ms a step for 3 ms, measured): let them sleep.
    os.environ.update(OMP_WAIT_POLICY="passive", OMP_NUM_THREADS=str(plan.launcher["threads"]))
    executor = submitit.AutoExecutor(folder=plan.study.jobs / time.strftime("%Y%m%d-%H%M%S"), cluster="local")
    executor.update_parameters(name=plan.study.name, timeout_min=plan.launcher["timeout_min"])
    path = str(plan.study.path.absolute())
    workers = min(plan.launcher["workers"], len(ids))
    return [executor.submit(work, path, ids, plan.options) for _ in range(workers)]


def failures(plan: Plan) -> list[str]:
    """A line for each run of the plan that did not end with a result."""
    lines = []
    for run in plan.runs:
        status = plan.study.run(run.run_id).status()
        if status.state not in ENDED:
            reason = (
                f"{status.failure}: {status.message}" if status.state == "failed" else "its worker is gone"
            )
            lines.append(f"{run.run_id} {status.state} – {reason}")
    return lines


@verb("launch")
def main(arguments: Sequence[str]) -> int:
    """Train what is missing of a study. Returns at once; with --wait it follows to the end.

    saescale launch study=demo --wait
    saescale launch study=demo launcher.workers=4 launcher.runs_per_pack=8
    saescale launch study=demo launcher=debug          (in this process)

    The same command again trains only what is missing. Exit code with --wait: 0 every run has a result (a diverged run
    is one), 1 some have none.
    """
    wait, overrides = take_flag(arguments, "--wait")
    plan = make_plan(overrides)
    print(summary(plan))
    jobs = launch(plan)
    if jobs and not wait:
        print(f"{len(jobs)} workers started, logs in {jobs[0].paths.folder}.")
        print(f"Follow with: saescale status {plan.study.path}")
        return 0
    if jobs:
        follow(plan, lambda: all(job.done() for job in jobs))
    return report(plan)


def report(plan: Plan) -> int:
    """Say how the study ended; the exit code of a launch that waited."""
    lines = failures(plan)
    for line in lines[:10]:
        print(line)
    if lines:
        print(f"{len(lines)} of {len(plan.runs)} runs have no result. Logs: {plan.study.jobs}")
        return 1
    print(f"All {len(plan.runs)} runs of {plan.study.name} have their result in {plan.study.path}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
