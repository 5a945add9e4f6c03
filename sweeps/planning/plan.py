"""The plan of a study: its runs, which of them are done, and the cost of the rest."""

import gc
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

from omegaconf import DictConfig

from sae_core.training import checkpoint
from sweeps.config.cells import Cell
from sweeps.config.data import describe
from sweeps.config.grid import Expansion, HoursOf, expand
from sweeps.config.launcher import Launcher, check_launcher
from sweeps.config.phases import Earlier
from sweeps.errors import SweepError
from sweeps.ledger.kept_states import EndedRun, EndedRuns, ended_runs
from sweeps.ledger.phase_record import PhaseFolder, PhaseRecord
from sweeps.ledger.run_folder import ENDED, Study
from sweeps.planning import cost
from sweeps.planning.cost import Throughput
from sweeps.planning.packing import Job, families, jobs_of, trained_shares
from sweeps.planning.runs import PlannedRun, planned_run, planned_runs

# The throughput is read from this many ended runs: enough for a median, and few enough to plan 10,000 runs quickly.
_MEASURED = 100


@dataclass(frozen=True)
class Plan:
    """The plan of a study, or of one of its phases.

    states: the state of each run that has a folder, by run id. overrides: as typed. later: the phases after it.
    """

    study: Study
    grid: Expansion
    runs: list[PlannedRun]  # the costliest first, so that the last worker does not end with the longest run
    states: dict[str, str]
    overrides: tuple[str, ...] = ()
    later: tuple[str, ...] = ()

    @property
    def phase(self) -> str | None:
        """The phase; None for a study without phases."""
        return self.grid.phase

    @property
    def folder(self) -> PhaseFolder:
        """The ledger of the phase."""
        assert self.phase is not None
        return PhaseFolder(self.study, self.phase)

    @property
    def title(self) -> str:
        """The study, and its phase if it has phases."""
        return self.study.name if self.phase is None else f"{self.study.name} {self.phase}"

    @property
    def record(self) -> PhaseRecord:
        """What the phase is launched with."""
        assert self.phase is not None
        rules = {key: spec.text for key, spec in self.grid.specs.items()}
        ids = tuple(sorted(run.run_id for run in self.runs))
        taken = tuple(self.grid.taken)
        return PhaseRecord(
            self.phase, self.grid.regime, rules, self.grid.inputs, taken, ids, later=self.later
        )

    @property
    def launcher(self) -> Launcher:
        return self.grid.launcher

    @property
    def todo(self) -> list[PlannedRun]:
        """The runs without a result, including those that wait for `saescale retry`."""
        return [run for run in self.runs if self.states.get(run.run_id) not in ENDED]

    @cached_property
    def absent(self) -> list[str]:
        """A sentence for each store that has to be harvested before the runs can be launched."""
        every = (describe(run.data).absent for run in self.runs)
        return list(dict.fromkeys(one for one in every if one))

    @cached_property
    def throughput(self) -> Throughput | None:
        """The throughput of one worker, measured on the ended runs of the plan; of a phase, on those of the study."""
        if self.phase is not None:
            return measured(self.launcher, self.study)
        ended = [run.run_id for run in self.runs if self.states.get(run.run_id) == "done"]
        return _throughput(self.launcher, self.study, ended)

    @cached_property
    def hours_left(self) -> float | None:
        """Worker-hours of what the runs without a result have still to train; None if the throughput is unknown."""
        rate = self.throughput
        if rate is None and self.todo:
            return None
        total = 0.0
        for run in self.todo:
            tokens = self.study.run(run.run_id).status().tokens
            left = min(self.trained_shares[run.run_id], 1 - min(1.0, tokens / run.config.train.budget))
            total += left * (cost.seconds(run.config, rate) or 0.0)
        return total / 3600

    @cached_property
    def hours_spent(self) -> float:
        """Worker-hours that the runs of all phases have taken so far."""
        return sum(map(cost.seconds_spent, self.study.runs())) / 3600

    @cached_property
    def jobs(self) -> list[Job]:
        """The jobs for an empty queue. Workers on this machine share one list of runs, which counts as one job."""
        if self.launcher.kind == "slurm" or not self.todo:
            return jobs_of(self.todo, self.launcher, self.throughput)
        hours = self.hours(self.todo)
        return [Job(tuple(self.todo), hours and hours * 3600 / min(self.launcher.workers, len(self.todo)))]

    def hours(self, runs: Sequence[PlannedRun]) -> float | None:
        """Worker-hours of these runs, if those that can branch off others do; None if the throughput is unknown."""
        rate = self.throughput
        if rate is None:
            return None
        own = self.trained_shares
        return sum(own.get(run.run_id, 1.0) * (cost.seconds(run.config, rate) or 0.0) for run in runs) / 3600

    @cached_property
    def trained_shares(self) -> dict[str, float]:
        """The share of its budget that each run to train is trained on itself, by id; the rest another run is."""
        starts = {run_id: start.tokens for run_id, start in self.starts.items()}
        shares = trained_shares(self.todo, self.launcher, starts)
        return {run.run_id: share for run, share in zip(self.todo, shares, strict=True)}

    @cached_property
    def ended_runs(self) -> EndedRuns:
        """The runs of the study off which runs to train may branch."""
        return ended_runs(self.study, [run.config for run in self.todo])

    @cached_property
    def starts(self) -> dict[str, EndedRun]:
        """The ended runs off whose kept states runs to train branch, by the id of the latter."""
        found = {}
        for run in self.todo:
            start = self.ended_runs.start(run.config)
            if start is not None and checkpoint.newest(self.study.run(run.run_id).checkpoints) == 0:
                found[run.run_id] = start
        return found

    def check_ready(self) -> None:
        """Raise SweepError if this phase uses laws that an earlier phase has not fitted yet."""
        if self.absent:
            raise SweepError(self.absent[0])
        if self.grid.waiting:
            first = "launch that study first, or both in order, as study=first,second with --wait"
            if self.phase is not None:
                first = "the same launch goes on when it has ended"
            raise SweepError(f"{self.title} waits for {', '.join(sorted(self.grid.waiting))}: {first}.")

    def check_budget(self) -> None:
        """Raise SweepError if the remaining runs cost more than the budget allows, or if their cost is unknown.

        Of a study in phases the budget is for all of them, so that what was spent counts too.
        """
        allowed = self.grid.gpu_hours
        if allowed is None or not self.todo:
            return
        spent = self.hours_spent if self.phase is not None else 0.0
        hours = self.hours(self.todo) if self.phase is None else self.hours_left
        if hours is None:
            raise SweepError(
                f"budget.gpu_hours is {allowed:g}, and the throughput is not known: set launcher.flops_per_s, or let "
                "some runs end first."
            )
        if hours + spent > allowed:
            what = (
                "The plan costs" if self.phase is None else f"{spent:.2f} are spent, and {self.title} costs"
            )
            raise SweepError(
                f"{what} {hours:.2f} worker-hours and budget.gpu_hours allows {allowed:g}: "
                "leave cells out, or raise the budget."
            )


def make_plan(
    overrides: Sequence[str],
    phase: str | None = None,
    earlier: Mapping[str, Earlier] = MappingProxyType({}),
    composed: DictConfig | None = None,
) -> Plan:
    """Expand, check and cost what `overrides` describe. This reads the ledger and writes nothing.

    Parameters
    ----------
    overrides : the study and its overrides.
    phase : the phase of the study, None for a study without phases.
    earlier : the phases before it, by name.
    composed : the config of the overrides, where it is known already.
    """
    with _no_collections():
        grid = expand(overrides, phase, earlier, _costing, composed)
    check_launcher(grid.launcher)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", grid.name):
        raise SweepError(f"name is {grid.name!r}; a study's name is letters, digits, '.', '_' and '-'.")
    study = Study(grid.runs / grid.name)
    with _no_collections():
        runs = [run for family in families(planned_runs(grid)) for run in family]
    there = {path.name for path in study.path.glob("*/")}
    states = {run.run_id: study.run(run.run_id).status().state for run in runs if run.run_id in there}
    return Plan(study, grid, runs, states, tuple(overrides))


@contextmanager
def _no_collections() -> Iterator[None]:
    """Search for no cyclic garbage while a large grid is made: all of it is kept, and the search takes 7 % longer."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def measured(launcher: Launcher, study: Study) -> Throughput | None:
    """The throughput of one worker: as configured, or as measured on the ended runs of a study."""
    return _throughput(launcher, study, [f.run_id for f in study.runs() if f.status().state == "done"])


def _throughput(launcher: Launcher, study: Study, ended: Sequence[str]) -> Throughput | None:
    folders = map(study.run, ended[:: max(1, len(ended) // _MEASURED)])
    return cost.throughput(launcher, folders)


def _costing(launcher: Launcher, folder: Path) -> HoursOf:
    at = measured(launcher, Study(folder))

    def hours(cell: Cell) -> float | None:
        seconds = cost.seconds(planned_run(cell).config, at)
        return None if seconds is None else seconds / 3600

    return hours
