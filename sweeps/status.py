"""How the runs of a study stand, from their folders alone. `saescale status runs/demo`"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from sweeps.claims import held
from sweeps.ledger import ENDED, RunFolder, Study
from sweeps.locate import find_study
from sweeps.verbs import verb

_LEASE_S = 60.0  # as launcher.lease_s by default; only tells "running" from "its worker is gone"


def states(study: Study) -> pd.DataFrame:
    """One row a run: run_id, n_latents, k, lr, state, tokens, max_tokens, nmse (last evaluation), message."""
    return pd.DataFrame([_row(folder) for folder in study.runs()])


def _row(folder: RunFolder) -> dict[str, Any]:
    run, status = folder.config()["run"], folder.status()
    curve = folder.curve()
    state, message = status.state, status.message
    if state == "running" and not held(folder.path, _LEASE_S):
        state, message = "stopped", "its worker is gone; launch again to go on"
    return {
        "run_id": folder.run_id,
        "n_latents": run["sae"]["n_latents"],
        "k": run["sae"]["k"],
        "lr": run["train"]["lr"],
        "state": f"failed ({status.failure})" if state == "failed" else state,
        "tokens": status.tokens,
        "max_tokens": run["train"]["max_tokens"],
        "nmse": curve[-1]["nmse"] if curve else None,
        "tokens_per_second": curve[-1]["tokens_per_second"] if curve else None,
        "message": message,
    }


def table(frame: pd.DataFrame) -> Table:
    shown = Table(box=None, header_style="bold")
    for column in ("run", "n_latents", "k", "lr", "state", "tokens", "NMSE", "tokens/s", ""):
        shown.add_column(column, justify="left" if column in ("run", "state", "") else "right")
    for row in frame.sort_values(["state", "n_latents", "k", "lr"]).to_dict("records"):
        shown.add_row(
            row["run_id"],
            f"{row['n_latents']:,}",
            str(row["k"]),
            f"{row['lr']:.2e}",
            row["state"],
            f"{row['tokens']:,} ({row['tokens'] / row['max_tokens']:.0%})",
            "" if pd.isna(row["nmse"]) else f"{row['nmse']:.4f}",
            "" if pd.isna(row["tokens_per_second"]) else f"{row['tokens_per_second']:,.0f}",
            "" if pd.isna(row["message"]) else row["message"],
        )
    return shown


@verb("status")
def main(arguments: Sequence[str]) -> int:
    """Show every run of a study: state, tokens, last loss. Reads the folders; works from any machine that sees them.

    saescale status runs/demo
    saescale status study=demo
    """
    study = find_study(arguments)
    frame = states(study)
    console = Console(width=None if Console().is_terminal else 140)
    console.print(table(frame))
    counts = Counter(frame.state)
    console.print(
        f"{Path(study.path)}: " + ", ".join(f"{c} {s}" for s, c in sorted(counts.items())), highlight=False
    )
    return 0 if all(s in (*ENDED, "running", "pending") for s in counts) else 1


if __name__ == "__main__":
    raise SystemExit(main())
