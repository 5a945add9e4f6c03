"""How the runs of a study stand, from their folders and SLURM's queue. `saescale status runs/demo`"""

import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import pandas as pd
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sae_core.config import RunConfig
from sweeps.dispatch.reconcile import settle
from sweeps.dispatch.slurm import JobState
from sweeps.errors import SweepError
from sweeps.ledger.claims import current_status
from sweeps.ledger.run_folder import ENDED, RunFolder, Status, Study
from sweeps.ledger.tables import write_tables
from sweeps.verbs import run_detail
from sweeps.verbs.clock import clock
from sweeps.verbs.command import verb
from sweeps.verbs.locate import find_study

WATCH_S = 5.0


def states(study: Study, in_jobs: Mapping[str, JobState] | None = None) -> pd.DataFrame:
    """One row a run: run_id, n_latents, k, lr, state, tokens, budget, nmse (last evaluation), seconds_left, message.

    in_jobs: the state of the SLURM job that a run is in, see `settle`.
    """
    return pd.DataFrame([_row(folder, (in_jobs or {}).get(folder.run_id)) for folder in study.runs()])


def _row(folder: RunFolder, job: JobState | None) -> dict[str, Any]:
    status, curve = current_status(folder), folder.curve()
    row = {"run_id": folder.run_id, "tokens": status.tokens, "state": status.state, "message": status.message}
    if status.state == "failed":
        row["state"] = f"failed ({status.failure})"
    if job is not None and status.state in ("pending", "stopped"):
        row |= {"state": "queued", "message": job.reason or f"job {job.state.lower()}"}
    last = {key: curve[-1].get(key) if curve else None for key in ("nmse", "tokens_per_second")}
    try:
        run = RunConfig.from_dict(folder.config()["run"])
    except SweepError as error:
        return row | last | {"state": "unreadable", "message": str(error)}
    row |= {"n_latents": run.sae.n_latents, "k": run.sae.k, "lr": run.train.lr, "budget": run.train.budget}
    return row | last | {"seconds_left": _left(status, run.train.budget)}


def _left(status: Status, budget: int) -> float | None:
    """Seconds to the end of a running run's budget, at its pace since its worker began; None before there is one."""
    if status.state != "running" or not status.rate:
        return None
    return (budget - status.tokens) / status.rate


def table(frame: pd.DataFrame) -> Table:
    shown = Table(box=None, header_style="bold")
    for column in ("run", "n_latents", "k", "lr", "state", "tokens", "NMSE", "tokens/s", "left", ""):
        shown.add_column(column, justify="left" if column in ("run", "state", "") else "right")
    for row in frame.sort_values(["state", "n_latents", "k", "lr"]).to_dict("records"):
        shown.add_row(
            row["run_id"],
            _shown(row["n_latents"], ",.0f"),
            _shown(row["k"], ".0f"),
            _shown(row["lr"], ".2e"),
            row["state"],
            f"{row['tokens']:,} ({_shown(row['tokens'] / row['budget'], '.0%')})",
            _shown(row["nmse"], ".4f"),
            _shown(row["tokens_per_second"], ",.0f"),
            "" if pd.isna(row["seconds_left"]) else clock(row["seconds_left"]),
            Text(_shown(row["message"], "")),  # Text: its brackets are no markup
        )
    return shown


def _shown(value: Any, form: str) -> str:
    return "" if pd.isna(value) else format(value, form)


def look(study: Study) -> tuple[pd.DataFrame, str]:
    """The table as it stands, and a line that counts; with the jobs where SLURM is here and answers."""
    note = ""
    try:
        in_jobs = settle(study)
    except SweepError as error:
        in_jobs, note = {}, f" (SLURM: {error}; from the folders alone)"
    frame = states(study, in_jobs)
    counts = Counter(frame.state)
    return frame, f"{study.path}: " + ", ".join(f"{c} {s}" for s, c in sorted(counts.items())) + note


def plot(study: Study) -> None:
    """Collects the tables and draws the curves so far into the study's figures/; says what it wrote, or why not."""
    from fit.views.figures import gallery  # matplotlib takes half a second to import

    runs, curves = (pd.read_parquet(path) for path in write_tables(study)[:2])
    gallery.make(runs, curves, None, study.path / "figures", only=["curves"])


@verb("status", "STUDY", flags=["--watch", "--plot"])
def main(arguments: Sequence[str], watch: bool, with_plot: bool) -> int:
    """Show every run of a study: state, tokens, pace, time left, last loss. From the folders, and SLURM's queue where
    it is at hand; works from any machine that sees the folders.

    saescale status runs/demo
    saescale status study=demo --watch            (again every five seconds, until Ctrl-C)
    saescale status runs/demo --plot              (collects, and draws the curves so far into runs/demo/figures)
    saescale status runs/demo 3f2a9c01b7de        (all about one run: where it ran, why it failed, its logs)

    Exit code 1 if a run has failed, or has stopped because its worker is gone.
    """
    ids = [a for a in arguments if re.fullmatch("[0-9a-f]{12}", a)]
    study = find_study([a for a in arguments if a not in ids])
    for run_id in ids:
        if not study.run(run_id).path.is_dir():
            raise SweepError(f"There is no run {run_id} in {study.path}.")
        print("\n".join(run_detail.lines(study.run(run_id))))
    if ids:
        return 0
    console = Console(width=None if Console().is_terminal else 150)
    frame, line = look(study)
    with Live(console=console, auto_refresh=False, screen=False) if watch else nullcontext() as live:
        while live is not None:
            live.update(Group(table(frame), Text(line)), refresh=True)
            time.sleep(WATCH_S)
            frame, line = look(study)
    console.print(table(frame))
    print(line)
    if with_plot:
        plot(study)
    return 0 if all(s in (*ENDED, "running", "pending", "queued") for s in frame.state) else 1


if __name__ == "__main__":
    raise SystemExit(main())
