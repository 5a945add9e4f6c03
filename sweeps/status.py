"""How the runs of a study stand, from their folders alone. `saescale status runs/demo`"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sae_core.config import RunConfig
from sweeps.claims import held
from sweeps.errors import SweepError
from sweeps.ledger import ENDED, RunFolder, Status, Study
from sweeps.locate import find_study
from sweeps.verbs import verb


def current(folder: RunFolder) -> Status:
    """The run's status, where a running one whose worker has gone is `stopped`."""
    status = folder.status()
    if status.state == "running" and not held(folder.path):
        return replace(status, state="stopped", message="its worker is gone; launch again to go on")
    return status


def states(study: Study) -> pd.DataFrame:
    """One row a run: run_id, n_latents, k, lr, state, tokens, budget, nmse (last evaluation), message."""
    return pd.DataFrame([_row(folder) for folder in study.runs()])


def _row(folder: RunFolder) -> dict[str, Any]:
    status, curve = current(folder), folder.curve()
    row = {"run_id": folder.run_id, "tokens": status.tokens, "state": status.state, "message": status.message}
    if status.state == "failed":
        row["state"] = f"failed ({status.failure})"
    last = {key: curve[-1].get(key) if curve else None for key in ("nmse", "tokens_per_second")}
    try:
        run = RunConfig.from_dict(folder.config()["run"])
    except SweepError as error:
        return row | last | {"state": "unreadable", "message": str(error)}
    return (
        row
        | last
        | {"n_latents": run.sae.n_latents, "k": run.sae.k, "lr": run.train.lr, "budget": run.train.budget}
    )


def table(frame: pd.DataFrame) -> Table:
    shown = Table(box=None, header_style="bold")
    for column in ("run", "n_latents", "k", "lr", "state", "tokens", "NMSE", "tokens/s", ""):
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
            Text(_shown(row["message"], "")),  # Text: its brackets are no markup
        )
    return shown


def _shown(value: Any, form: str) -> str:
    return "" if pd.isna(value) else format(value, form)


@verb("status", "STUDY")
def main(arguments: Sequence[str]) -> int:
    """Show every run of a study: state, tokens, last loss. Reads the folders; works from any machine that sees them.

    saescale status runs/demo
    saescale status study=demo

    Exit code 1 if a run has failed, or has stopped because its worker is gone.
    """
    study = find_study(arguments)
    frame = states(study)
    console = Console(width=None if Console().is_terminal else 140)
    console.print(table(frame))
    counts = Counter(frame.state)
    print(f"{study.path}: " + ", ".join(f"{c} {s}" for s, c in sorted(counts.items())))
    return 0 if all(s in (*ENDED, "running", "pending") for s in counts) else 1


if __name__ == "__main__":
    raise SystemExit(main())
