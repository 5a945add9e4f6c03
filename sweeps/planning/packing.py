"""Divides runs into jobs. The runs of a job share one data set, are trained by one worker and fit its time limit.

Runs that can branch off one another stay together, because only in one pack is their common part trained once.
"""

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from sae_core.config import RunConfig
from sae_core.training.schedule import trunk
from sweeps.config.launcher import Launcher
from sweeps.planning import cost, packs
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
        return packs_of(self.runs, launcher)

    def memory(self, launcher: Launcher) -> int:
        """The bytes of memory that the largest pack takes."""
        limit = launcher.memory_gb
        return max(cost.pack_bytes((run.config for run in pack), limit) for pack in self.packs(launcher))


def packs_of(runs: Sequence[PlannedRun], launcher: Launcher) -> list[list[PlannedRun]]:
    """The packs that a worker makes of runs in this order."""
    found: list[list[PlannedRun]] = []
    configs: list[list[RunConfig]] = []
    by_trunk: dict[RunConfig, list[RunConfig]] = {}
    for run in runs:
        by_trunk.setdefault(trunk(run.config), []).append(run.config)
    for run in runs:
        if not configs or not packs.joins(configs[-1], run.config, by_trunk[trunk(run.config)], launcher):
            found.append([])
            configs.append([])
        found[-1].append(run)
        configs[-1].append(run.config)
        by_trunk[trunk(run.config)].remove(run.config)
    return found


def trained_shares(
    runs: Sequence[PlannedRun], launcher: Launcher, starts: Mapping[str, int] = MappingProxyType({})
) -> list[float]:
    """The share of its budget that each run is trained on itself, in the packs that a worker makes of these runs.

    starts: the tokens at which runs go on from the kept state of an ended run, by run id.
    """
    return [
        share
        for pack in packs_of(runs, launcher)
        for share in packs.trained_shares(
            [run.config for run in pack], [starts.get(run.run_id, 0) for run in pack]
        )
    ]


def families(runs: Sequence[PlannedRun]) -> list[list[PlannedRun]]:
    """The runs that can branch off one another, costliest first, and the families by their costliest run."""
    by_trunk: dict[RunConfig, list[PlannedRun]] = {}
    for run in sorted(runs, key=lambda run: (-run.flops_sparse, run.run_id)):
        by_trunk.setdefault(trunk(run.config), []).append(run)
    return list(by_trunk.values())


def jobs_of(runs: Sequence[PlannedRun], launcher: Launcher, at: Throughput | None) -> list[Job]:
    """Divide the runs into as many jobs as `workers`, or more if that is needed for each to fit its time limit.

    Within a data set, each family of runs goes to the job with the least work so far, the costliest first. A family
    longer than the limit is a job of its own, which SLURM requeues until its runs end.
    """
    by_data: dict[str, list[list[PlannedRun]]] = {}
    for family in families(runs):
        by_data.setdefault(family[0].config.data.fingerprint, []).append(family)
    total = sum(run.flops_sparse for run in runs)
    limit = launcher.timeout_min * 60 * USABLE
    jobs = []
    for mine in by_data.values():
        share = sum(run.flops_sparse for family in mine for run in family) / total if total else 1.0
        jobs += _balanced(mine, max(1, round(launcher.workers * share)), limit, launcher, at)
    return jobs


def _balanced(
    units: list[list[PlannedRun]], least: int, limit: float, launcher: Launcher, at: Throughput | None
) -> list[Job]:
    """The smallest number of jobs, at least `least`, for which every job fits the limit or has a single family."""
    count = min(least, len(units))
    if at is not None:
        seconds = sum(_seconds(family, launcher, at) or 0.0 for family in units)
        count = min(len(units), max(count, math.ceil(seconds / limit)))
    jobs = _shared_out(units, count, launcher, at)
    while count < len(units) and any(
        alone < len(job.runs) and (job.seconds or 0) > limit for job, alone in jobs
    ):
        count = min(len(units), count + max(1, count // 20))
        jobs = _shared_out(units, count, launcher, at)
    return [job for job, _ in jobs]


def _shared_out(
    units: list[list[PlannedRun]], count: int, launcher: Launcher, at: Throughput | None
) -> list[tuple[Job, int]]:
    """The jobs, each with the number of runs of its first family."""
    heap: list[tuple[float, int]] = [(0.0, i) for i in range(count)]
    lists: list[list[list[PlannedRun]]] = [[] for _ in range(count)]
    for family in units:
        load, i = heapq.heappop(heap)
        lists[i].append(family)
        shares = trained_shares(family, launcher)
        work = sum(run.flops_sparse * share for run, share in zip(family, shares, strict=True))
        heapq.heappush(heap, (load + work, i))
    every = [([run for family in mine for run in family], len(mine[0])) for mine in lists if mine]
    return [(Job(tuple(runs), _seconds(runs, launcher, at)), first) for runs, first in every]


def _seconds(runs: Sequence[PlannedRun], launcher: Launcher, at: Throughput | None) -> float | None:
    if at is None:
        return None
    each = zip(runs, trained_shares(runs, launcher), strict=True)
    return sum(share * (cost.seconds(run.config, at) or 0.0) for run, share in each)
