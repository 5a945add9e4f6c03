"""Launch a study: write its run folders, start workers for what is missing. `saescale launch study=demo --wait`"""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import submitit
import torch

from sweeps.claims import held
from sweeps.errors import SweepError
from sweeps.ledger import ENDED
from sweeps.plan import Plan, make_plan, summary
from sweeps.progress import follow
from sweeps.verbs import verb
from sweeps.worker import WorkerOptions, work


def launch(plan: Plan) -> list[submitit.Job[Any]]:
    """Write the folders of all runs and start workers on those not finished; returns the jobs, at once.

    Launching again starts only what is missing; a run held by a living worker is left to it.
    """
    if plan.launcher["device"] == "cuda" and not torch.cuda.is_available():
        raise SweepError(
            "launcher.device is cuda, and this machine has no CUDA device; use launcher.device=cpu."
        )
    write_runs(plan)
    ids = [run.run_id for run in plan.todo]
    options = replace(plan.options, launched=time.time())
    if not ids:
        return []
    if plan.launcher["kind"] == "debug":
        work(str(plan.study.path), ids, options)
        return []
    return _submit(plan, ids, options)


def write_runs(plan: Plan) -> None:
    """A folder with its config for every run that has no result yet."""
    for run in plan.todo:
        data = run.data | ({"store": str(Path(run.data["store"]).absolute())} if run.data["store"] else {})
        plan.study.run(run.run_id).create(
            {"run_id": run.run_id, "study": plan.study.name, "data": data, "run": run.config.as_dict()}
        )


def _submit(plan: Plan, ids: list[str], options: WorkerOptions) -> list[submitit.Job[Any]]:
    """Start the workers through submitit, on a CUDA machine one to a GPU; each walks the whole list."""
    # Two OpenMP threads that spin for work on shared cores cost 30× (104 ms a step for 3 ms, measured): let them sleep.
    os.environ.update(OMP_WAIT_POLICY="passive", OMP_NUM_THREADS=str(options.threads))
    folder = plan.study.jobs / time.strftime("%Y%m%d-%H%M%S")
    folder.mkdir(parents=True, exist_ok=True)
    executor = submitit.LocalExecutor(folder=folder)
    executor.update_parameters(timeout_min=plan.launcher["timeout_min"])
    jobs = []
    with _stderr_to(folder / "controllers.err"):
        for index in range(min(plan.launcher["workers"], len(ids))):
            if options.device == "cuda":
                gpu = index % torch.cuda.device_count()
                executor.update_parameters(gpus_per_node=1, visible_gpus=[gpu])
            jobs.append(executor.submit(work, str(plan.study.path.absolute()), ids, options))
    return jobs


@contextmanager
def _stderr_to(path: Path) -> Iterator[None]:
    """Processes started in the block write their stderr to `path`: submitit's dump a traceback at every Ctrl-C."""
    terminal = os.dup(2)
    try:
        with open(path, "a") as file:
            os.dup2(file.fileno(), 2)
        yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)


def failures(plan: Plan) -> list[str]:
    """A line for each run of the plan that did not end with a result."""
    lines = []
    for run in plan.runs:
        folder = plan.study.run(run.run_id)
        status = folder.status()
        if status.state in ENDED:
            continue
        reason = {"pending": "no worker has started it", "failed": f"{status.failure}: {status.message}"}.get(
            status.state, "another launch is at it" if held(folder.path) else "its worker is gone"
        )
        lines.append(f"{run.run_id} {status.state} – {reason}")
    return lines


@verb("launch", flags=["--wait"])
def main(overrides: Sequence[str], wait: bool) -> int:
    """Train what is missing of a study. Returns at once; with --wait it follows to the end.

    saescale launch study=demo --wait
    saescale launch study=demo launcher.workers=4 launcher.runs_per_pack=8
    saescale launch study=demo launcher=debug          (in this process)

    The same command again trains only what is missing. Exit code with --wait: 0 every run has a result (a diverged run
    is one), 1 some have none. Ctrl-C stops the workers; the same command goes on from their last checkpoints.
    """
    plan = make_plan(overrides)
    print(summary(plan))
    jobs = launch(plan)
    if jobs and not wait:
        print(f"{len(jobs)} workers started, logs in {jobs[0].paths.folder}.")
        print(f"Follow with: saescale status {plan.study.path}")
        return 0
    try:
        if jobs:
            follow(plan, lambda: all(job.done() for job in jobs))
    except KeyboardInterrupt:
        print(
            "Interrupted: the workers have stopped too. The same command goes on from their last checkpoints."
        )
        return 130
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
