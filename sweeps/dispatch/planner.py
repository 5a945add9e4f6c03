"""The job on SLURM that goes on with a study when a phase has ended: it fits the phase and launches the next one.

It depends on the jobs of the phase, needs no GPU, and does only what is missing in the ledger. So it may be preempted
and requeued at any point, and a launch by hand beside it does no harm.
"""

import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from functools import partial

from sweeps.config.launcher import Launcher, Slurm
from sweeps.dispatch import slurm, snapshot
from sweeps.dispatch.launch import launch, unfinished
from sweeps.dispatch.phases import advance, begin, stop
from sweeps.dispatch.reconcile import settle
from sweeps.errors import SweepError
from sweeps.ledger import launches
from sweeps.ledger.job_environment import slurm_job
from sweeps.ledger.run_folder import Study
from sweeps.planning.plan import Plan
from sweeps.planning.table import summary
from sweeps.worker.signals import stoppable

_MINUTES = 60  # a fit takes minutes
_MEMORY_GB = 4.0  # of torch, scipy and a table of curves


def hand_over(overrides: Sequence[str], plan: Plan) -> str:
    """Submit the job that goes on when the jobs of a phase have ended, unless there is one. Returns a sentence on it.

    overrides: of the launch, with all of its studies and phases. SweepError if the runs of the phase are in no job.
    """
    if (waiting := living(plan.study)) is not None:
        return f"job {waiting} goes on when this phase has ended."
    jobs = launches.job_of_each_run(plan.study)
    open_runs = settle(plan.study)
    ids = sorted({jobs[run.run_id] for run in plan.runs if run.run_id in open_runs})
    if not ids and (lines := unfinished(plan)):
        raise SweepError(
            f"{plan.title} has {len(lines)} runs without a result that are in no job, so no phase can follow it: "
            f"{lines[0]}"
        )
    folder = launches.new_folder(plan.study)
    code = snapshot.take(folder, to_plan=True)
    launcher = small(plan.launcher, f"afterany:{':'.join(ids)}" if ids else None)
    executor = slurm.executor(launcher, folder, f"saescale-{plan.study.name}-next", code.absolute())
    (job,) = slurm.submit(executor, [(tuple(overrides),)], go_on, launcher.slurm.patience_s)
    launches.record(folder, launches.PLANNER, overrides, {job: []})
    return f"job {job} goes on when this phase has ended; its log is in {folder}."


def small(launcher: Launcher, dependency: str | None) -> Launcher:
    """The launcher of the job: that of the runs without its GPUs, as `launcher.slurm.planner` changes it."""
    asked = launcher.slurm
    known = {field.name for field in fields(Slurm)}
    for name in asked.planner:
        if name not in known - {"planner"}:
            raise SweepError(
                f"launcher.slurm.planner has {name!r}, which is not a key of launcher.slurm; other options of sbatch "
                "go into its sbatch: {…}.",
                name,
                known,
            )
    memory = None if asked.mem_gb is None else min(asked.mem_gb, _MEMORY_GB)
    own = replace(asked, gpus_per_node=None, mem_gb=memory, cpus_per_task=asked.cpus_per_task and 1)
    own = replace(own, **asked.planner)
    if dependency is not None:
        own = replace(own, sbatch={**own.sbatch, "dependency": dependency})
    return replace(launcher, slurm=own, threads=1, timeout_min=min(launcher.timeout_min, _MINUTES))


def living(study: Study) -> str | None:
    """A job that is to go on with the study, other than this one; None if there is none."""
    found = slurm.states(job for job in launches.planners(study) if job != slurm_job())
    return next((job for job, state in found.items() if state.live), None)


def go_on(overrides: Sequence[str]) -> None:
    """What the job does: the same as a launch that returns at once.

    Signals before a preemption or the time limit change nothing: what is not done when SLURM kills the job is done by
    its next life.
    """
    with stoppable():
        try:
            code = advance(overrides, _start, partial(hand_over, overrides), _say)
        except SweepError as error:
            sys.exit(str(error))
    sys.exit(code)


def _start(plan: Plan) -> int:
    _say(summary(plan))
    begin(plan)
    started = launch(plan)
    if started.slurm:
        _say(f"{len(started.slurm)} jobs submitted, logs in {started.folder}.")
    lines = unfinished(plan)
    if lines and not started.slurm and not settle(plan.study):
        stop(
            plan, f"{len(lines)} of {len(plan.runs)} runs have no result and are not tried again: {lines[0]}"
        )
        _say("\n".join(lines[:10]))
        return 1
    return 0


def _say(line: str) -> None:
    print(line, flush=True)
