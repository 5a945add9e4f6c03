"""The plan of a study: its runs, which of them are done, and the cost of the rest."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from sweeps.config.grid import Expansion, expand
from sweeps.config.launcher import Launcher, check_launcher
from sweeps.errors import SweepError
from sweeps.ledger.run_folder import ENDED, Study
from sweeps.planning import cost
from sweeps.planning.cost import Throughput
from sweeps.planning.packing import Job, jobs_of
from sweeps.planning.runs import PlannedRun, planned_runs

# The throughput is read from this many ended runs: enough for a median, and few enough to plan 10,000 runs quickly.
_MEASURED = 100


@dataclass(frozen=True)
class Plan:
    """The plan of a study. states: the state of each run that has a folder, by run id. overrides: as typed."""

    study: Study
    grid: Expansion
    runs: list[PlannedRun]  # the costliest first, so that the last worker does not end with the longest run
    states: dict[str, str]
    overrides: tuple[str, ...] = ()

    @property
    def launcher(self) -> Launcher:
        return self.grid.launcher

    @property
    def todo(self) -> list[PlannedRun]:
        """The runs without a result, including those that wait for `saescale retry`."""
        return [run for run in self.runs if self.states.get(run.run_id) not in ENDED]

    @cached_property
    def throughput(self) -> Throughput | None:
        ended = [run.run_id for run in self.runs if self.states.get(run.run_id) == "done"]
        folders = map(self.study.run, ended[:: max(1, len(ended) // _MEASURED)])
        return cost.throughput(self.launcher.flops_per_s, self.launcher.device, folders)

    @cached_property
    def jobs(self) -> list[Job]:
        """The jobs for an empty queue. Workers on this machine share one list of runs, which counts as one job."""
        if self.launcher.kind == "slurm" or not self.todo:
            return jobs_of(self.todo, self.launcher, self.throughput)
        hours = self.hours(self.todo)
        return [Job(tuple(self.todo), hours and hours * 3600 / min(self.launcher.workers, len(self.todo)))]

    def hours(self, runs: Sequence[PlannedRun]) -> float | None:
        """Worker-hours of these runs; None if the throughput is unknown."""
        rate = self.throughput
        return sum(run.flops_sparse for run in runs) / rate.flops_per_s / 3600 if rate else None

    def check_ready(self) -> None:
        """Raise SweepError if this phase uses laws that an earlier phase has not fitted yet."""
        if self.grid.waiting:
            raise SweepError(
                f"{self.study.name} waits for {', '.join(sorted(self.grid.waiting))}: launch that study first, or both "
                "in order, as study=first,second with --wait."
            )

    def check_budget(self) -> None:
        """Raise SweepError if the remaining runs cost more than budget.gpu_hours, or if their cost is unknown."""
        allowed = self.grid.gpu_hours
        if allowed is None or not self.todo:
            return
        hours = self.hours(self.todo)
        if hours is None:
            raise SweepError(
                f"budget.gpu_hours is {allowed:g}, and the throughput is not known: set launcher.flops_per_s, or let "
                "some runs end first."
            )
        if hours > allowed:
            raise SweepError(
                f"The plan costs {hours:.2f} worker-hours and budget.gpu_hours allows {allowed:g}: "
                "leave cells out, or raise the budget."
            )


def make_plan(overrides: Sequence[str]) -> Plan:
    """Expand, check and cost the study that `overrides` describe. This reads the ledger and writes nothing."""
    grid = expand(overrides)
    check_launcher(grid.launcher)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", grid.name):
        raise SweepError(f"name is {grid.name!r}; a study's name is letters, digits, '.', '_' and '-'.")
    study = Study(grid.runs / grid.name)
    runs = sorted(planned_runs(grid), key=lambda run: (-run.flops_sparse, run.run_id))
    there = {path.name for path in study.path.glob("*/")}
    states = {run.run_id: study.run(run.run_id).status().state for run in runs if run.run_id in there}
    return Plan(study, grid, runs, states, tuple(overrides))
