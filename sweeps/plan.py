"""The plan of a study: its runs, what is done already, what the rest costs. `saescale plan study=demo`"""

import re
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sweeps.errors import SweepError
from sweeps.grid import Expansion, expand
from sweeps.ledger import ENDED, Study
from sweeps.runs import PlannedRun, planned_runs
from sweeps.verbs import verb
from sweeps.worker import WorkerOptions

KINDS = ("local", "debug")


@dataclass(frozen=True)
class Plan:
    study: Study
    grid: Expansion
    runs: list[PlannedRun]  # the costliest first, so that the last worker does not end with the longest run
    states: dict[str, str]  # run id: state, for runs that have a folder
    launcher: dict[str, Any]

    @property
    def todo(self) -> list[PlannedRun]:
        return [run for run in self.runs if self.states.get(run.run_id) not in ENDED]

    @property
    def options(self) -> WorkerOptions:
        return WorkerOptions(
            **{key: self.launcher[key] for key in WorkerOptions.__dataclass_fields__ if key in self.launcher}
        )

    def hours(self, runs: Sequence[PlannedRun]) -> float | None:
        """Worker-hours of these runs at the launcher's throughput; None where none is configured."""
        rate = self.launcher["flops_per_s"]
        return sum(run.flops_sparse for run in runs) / rate / 3600 if rate else None


def make_plan(overrides: Sequence[str]) -> Plan:
    """Expand, check and cost the study that `overrides` describe. Reads the ledger, writes nothing."""
    grid = expand(overrides)
    check_launcher(grid.study["launcher"])
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", grid.study["name"]):
        raise SweepError(
            f"name is {grid.study['name']!r}; a study's name is letters, digits, '.', '_' and '-'."
        )
    study = Study(Path(grid.study["runs"]) / grid.study["name"])
    runs = sorted(planned_runs(grid), key=lambda run: (-run.flops_sparse, run.run_id))
    states = {
        run.run_id: study.run(run.run_id).status().state
        for run in runs
        if study.run(run.run_id).path.exists()
    }
    return Plan(study, grid, runs, states, grid.study["launcher"])


def check_launcher(launcher: dict[str, Any]) -> None:
    """Raise SweepError for a launcher that this version or this machine does not have."""
    if launcher["kind"] not in KINDS:
        raise SweepError(f"launcher.kind is {launcher['kind']!r}; it must be one of {', '.join(KINDS)}.")
    if launcher["device"] not in ("cpu", "cuda"):
        raise SweepError(f"launcher.device is {launcher['device']!r}; it must be cpu or cuda.")
    for key in (
        "workers",
        "threads",
        "runs_per_pack",
        "timeout_min",
        "checkpoint_s",
        "heartbeat_s",
        "flops_per_s",
    ):
        if launcher[key] is not None and not launcher[key] > 0:
            raise SweepError(f"launcher.{key} is {launcher[key]}; it must be above 0.")
    if launcher["lease_s"] < 3 * launcher["heartbeat_s"]:
        raise SweepError(
            f"launcher.lease_s = {launcher['lease_s']} is less than three heartbeats of {launcher['heartbeat_s']} s: "
            "a living worker would lose its runs."
        )


def summary(plan: Plan) -> str:
    """One line: how the grid multiplies, what is done, what is left."""
    zipped = {key for group in plan.grid.zips for key in group}
    blocks = [*plan.grid.zips, *([key] for key in plan.grid.axes if key not in zipped)]
    names = [
        (len(plan.grid.axes[block[0]]), " with ".join(key.split(".")[-1] for key in block))
        for block in blocks
    ]
    factors = " × ".join(f"{count} {name}" for count, name in names)
    done = len(plan.runs) - len(plan.todo)
    notes = [f"= {factors}"] if factors else []
    if plan.grid.dropped:
        notes.append(f"less {plan.grid.dropped} left out by where")
    size = f"{len(plan.runs)} run{'s' * (len(plan.runs) != 1)} {', '.join(notes)}".strip()
    return f"{plan.study.name}: {size}; {done} already done, {len(plan.todo)} to train"


def table(plan: Plan) -> Table:
    """Runs of equal size in one row: what they train on, what they cost, what is derived."""
    shown = Table(box=None, header_style="bold")
    derived = [key for key in plan.grid.derived]
    columns = [
        "n_latents",
        "k",
        "runs",
        "to train",
        "tokens/run",
        "batch",
        "lr",
        "FLOPs (sparse)",
        "FLOPs (dense)",
        "hours",
    ]
    for column in columns:
        shown.add_column(column, justify="right")
    groups: dict[tuple[int, int], list[PlannedRun]] = {}
    for run in plan.runs:
        groups.setdefault((run.config.sae.n_latents, run.config.sae.k), []).append(run)
    for (n, k), runs in sorted(groups.items()):
        shown.add_row(f"{n:,}", str(k), *_row(plan, runs))
    shown.add_section()
    total = _row(plan, plan.runs)
    shown.add_row("total", "", *total[:2], "", "", "", *total[5:])
    if derived:
        rules = "; ".join(f"{key} = {text}" for key, text in plan.grid.derived.items())
        shown.caption, shown.caption_justify = (
            Text(f"derived: {rules}"),
            "left",
        )  # Text: brackets are no markup
    return shown


def _row(plan: Plan, runs: list[PlannedRun]) -> list[str]:
    left = [run for run in runs if plan.states.get(run.run_id) not in ENDED]
    hours = plan.hours(left)
    return [
        str(len(runs)),
        str(len(left)),
        _span([run.config.train.max_tokens for run in runs], ",d"),
        _span([run.config.train.batch_tokens for run in runs], ",d"),
        _span([run.config.train.lr for run in runs], ".2e"),
        f"{sum(run.flops_sparse for run in left):.1e}",
        f"{sum(run.flops_dense for run in left):.1e}",
        "–" if hours is None else f"{hours:.2f}",
    ]


def _span(values: list[Any], form: str) -> str:
    low, high = min(values), max(values)
    return f"{low:{form}}" if low == high else f"{low:{form}} … {high:{form}}"


def duplicates(plan: Plan) -> list[str]:
    """Cells that turned out to be one run."""
    spare = len(plan.grid.cells) - len(plan.runs)
    return (
        [f"{spare} cells describe a run that another cell describes too: each is trained once."]
        if spare
        else []
    )


@verb("plan")
def main(overrides: Sequence[str]) -> int:
    """Show the runs of a study, what is done, and what the rest costs; start nothing.

    saescale plan study=demo
    saescale plan study=demo sae.n_latents=256,512,1024 sae.k=8,16 'train.lr=geom(1e-4,1.6e-3,2)'
    saescale plan study=demo 'grid.where=["n_latents >= 64 * k"]'
    saescale plan study=demo '++grid.derive.train.lr="2e-3 * sqrt(1024 / n_latents)"'
    """
    plan = make_plan(overrides)
    console = Console(width=None if Console().is_terminal else 140)
    print(summary(plan))
    console.print(table(plan))
    for line in duplicates(plan):
        print(line)
    counts = Counter(plan.states.get(run.run_id, "not launched") for run in plan.runs)
    print("state: " + ", ".join(f"{count} {state}" for state, count in sorted(counts.items())))
    if plan.todo:
        print(f"Launch with: saescale launch {shlex.join(overrides)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
