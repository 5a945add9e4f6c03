"""Start runs as processes or SLURM jobs: take a snapshot of the code, submit, and record which job was given what."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import submitit

from sweeps.dispatch import local, slurm, snapshot
from sweeps.errors import SweepError
from sweeps.ledger import failures, launches
from sweeps.planning.packing import jobs_of
from sweeps.planning.plan import Plan
from sweeps.planning.runs import PlannedRun
from sweeps.worker.job_main import job


@dataclass
class Launched:
    """The workers of a launch. local: processes here. slurm: job ids. folder: their logs; None if none were started."""

    folder: Path | None = None
    local: list[submitit.Job[Any]] = field(default_factory=list)
    slurm: list[str] = field(default_factory=list)


def submit(plan: Plan, todo: Sequence[PlannedRun]) -> Launched:
    """Start processes or submit job arrays for these runs, with the code as it is now."""
    folder = launches.new_folder(plan.study)
    code = snapshot.take(folder)
    return (_to_slurm if plan.launcher.kind == "slurm" else _to_processes)(plan, todo, folder, code)


def _to_processes(plan: Plan, todo: Sequence[PlannedRun], folder: Path, code: Path) -> Launched:
    ids = [run.run_id for run in todo]
    workers = min(plan.launcher.workers, len(ids))
    call = (str(plan.study.path.absolute()), ids, plan.launcher)
    started = local.submit(plan.launcher, folder, code, workers, job, call)
    launches.record(folder, "local", plan.overrides, {str(one.job_id): ids for one in started})
    return Launched(folder, local=started)


def _to_slurm(plan: Plan, todo: Sequence[PlannedRun], folder: Path, code: Path) -> Launched:
    """Submit one array per amount of memory asked for; each job has its own runs."""
    path, name = str(plan.study.path.absolute()), f"saescale-{plan.study.name}"
    given: dict[str, list[str]] = {}
    avoided = excluded(plan, todo)
    for mem_gb, runs in by_memory(plan, todo).items():
        asked = replace(plan.launcher.slurm, exclude=avoided, mem_gb=mem_gb)
        launcher = replace(plan.launcher, slurm=asked)
        lists = [[run.run_id for run in one.runs] for one in jobs_of(runs, launcher, plan.throughput)]
        found = slurm.executor(launcher, folder, name, code.absolute())
        calls = [(path, ids, launcher) for ids in lists]
        given |= dict(zip(slurm.submit(found, calls, job, launcher.slurm.patience_s), lists, strict=True))
        launches.record(folder, "slurm", plan.overrides, given)
    return Launched(folder, slurm=list(given))


def by_memory(plan: Plan, todo: Sequence[PlannedRun]) -> dict[float | None, list[PlannedRun]]:
    """Runs by the host memory that their job asks for: 1.5 times as much for each time it was not enough."""
    groups: dict[float | None, list[PlannedRun]] = {}
    for run in todo:
        known = failures.failures(plan.study.run(run.run_id))
        short = sum(one.kind == "host_oom" for one in known)
        asked = plan.launcher.slurm.mem_gb
        groups.setdefault(None if asked is None else asked * 1.5**short, []).append(run)
    return groups


def excluded(plan: Plan, todo: Sequence[PlannedRun]) -> str | None:
    """The nodes to exclude: those of the config, and those that failed one of these runs."""
    nodes = {plan.launcher.slurm.exclude or ""}
    for run in todo:
        known = failures.failures(plan.study.run(run.run_id))
        nodes |= {one.host for one in known if one.kind == "node" and one.host}
    return ",".join(sorted(filter(None, nodes))) or None


def script(plan: Plan) -> str:
    """The script that sbatch would get, for the first array."""
    if plan.launcher.kind != "slurm" or not slurm.available():
        raise SweepError(
            f"launcher.kind is {plan.launcher.kind}: a script for sbatch needs launcher=slurm, and sbatch here."
        )
    lists = jobs_of(plan.todo, plan.launcher, plan.throughput)
    return slurm.script(plan.launcher, plan.study.jobs / "dry-run", f"saescale-{plan.study.name}", len(lists))
