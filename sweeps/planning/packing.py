"""Divides runs into jobs. The runs of a job share one data set, are trained by one worker and fit its time limit."""

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass

from sweeps.config.launcher import Launcher
from sweeps.planning import cost
from sweeps.planning.cost import Throughput
from sweeps.planning.runs import PlannedRun

# The share of a job's time limit that is planned, because the throughput is an estimate and a start takes a minute or
# two.
USABLE = 0.85


@dataclass(frozen=True)
class Job:
    """Runs for one worker, the costliest first. seconds: None if the throughput is unknown."""

    runs: tuple[PlannedRun, ...]
    seconds: float | None

    def packs(self, launcher: Launcher) -> list[list[PlannedRun]]:
        """The packs that the worker will train, each as large as runs_per_pack and the memory allow."""
        found: list[list[PlannedRun]] = []
        for run in self.runs:
            if not found or not fits(found[-1], run, launcher):
                found.append([])
            found[-1].append(run)
        return found

    def memory(self, launcher: Launcher) -> int:
        """The bytes of memory that the largest pack takes."""
        limit = launcher.memory_gb
        return max(cost.pack_bytes((run.config for run in pack), limit) for pack in self.packs(launcher))


def fits(pack: Sequence[PlannedRun], run: PlannedRun, launcher: Launcher) -> bool:
    """Whether a run may join a pack, by the number of runs and, if a limit is set, by memory."""
    if len(pack) >= launcher.runs_per_pack:
        return False
    limit = launcher.memory_gb
    return limit is None or cost.pack_bytes((r.config for r in (*pack, run)), limit) <= limit * cost.GiB


def jobs_of(runs: Sequence[PlannedRun], launcher: Launcher, at: Throughput | None) -> list[Job]:
    """Divide the runs into as many jobs as `workers`, or more if that is needed for each to fit its time limit.

    Within a data set, each run goes to the job with the least work so far, the costliest run first. A run longer than
    the limit is a job of its own, which SLURM requeues until the run ends.
    """
    by_data: dict[str, list[PlannedRun]] = {}
    for run in sorted(runs, key=lambda run: (-run.flops_sparse, run.run_id)):
        by_data.setdefault(run.config.data.fingerprint, []).append(run)
    total = sum(run.flops_sparse for run in runs)
    limit = launcher.timeout_min * 60 * USABLE
    jobs = []
    for mine in by_data.values():
        share = sum(run.flops_sparse for run in mine) / total if total else 1.0
        jobs += _balanced(mine, max(1, round(launcher.workers * share)), limit, at)
    return jobs


def _balanced(runs: list[PlannedRun], least: int, limit: float, at: Throughput | None) -> list[Job]:
    """The smallest number of jobs, at least `least`, for which every job fits the limit or has a single run."""
    count = min(least, len(runs))
    if at is not None:
        seconds = _seconds(runs, at) or 0.0
        count = min(len(runs), max(count, math.ceil(seconds / limit)))
    jobs = _shared_out(runs, count, at)
    while count < len(runs) and any(len(job.runs) > 1 and (job.seconds or 0) > limit for job in jobs):
        count = min(len(runs), count + max(1, count // 20))
        jobs = _shared_out(runs, count, at)
    return jobs


def _shared_out(runs: list[PlannedRun], count: int, at: Throughput | None) -> list[Job]:
    heap: list[tuple[float, int]] = [(0.0, i) for i in range(count)]
    lists: list[list[PlannedRun]] = [[] for _ in range(count)]
    for run in runs:
        load, i = heapq.heappop(heap)
        lists[i].append(run)
        heapq.heappush(heap, (load + run.flops_sparse, i))
    return [Job(tuple(mine), _seconds(mine, at)) for mine in lists if mine]


def _seconds(runs: Sequence[PlannedRun], at: Throughput | None) -> float | None:
    return None if at is None else sum(cost.seconds(run.config, at) or 0.0 for run in runs)
