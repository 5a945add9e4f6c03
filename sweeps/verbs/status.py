"""Show the state of a study's runs. `saescale status runs/demo`"""

import argparse
import json
import time
from collections import Counter
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from sweeps.verbs.arguments import RUN_ID, SweepVerb, add_study, find_study

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

    from sweeps.ledger.run_folder import Study

WATCH_S = 5.0
# States that stay as they are until somebody launches, retries or repairs.
AT_REST = ("done", "diverged", "cancelled", "unreadable")


def clock(seconds: float | None) -> str:
    """A duration as `1:02:03` or `2:03`; `?` if it is unknown."""
    if seconds is None:
        return "?"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def table(frame: "pd.DataFrame") -> "Table":
    """The states of a study's runs as a table for the terminal."""
    import pandas as pd
    from rich.table import Table
    from rich.text import Text

    from sweeps.dispatch.states import progress_text

    def cell(value: Any, form: str) -> str:
        return "" if pd.isna(value) else format(value, form)

    shown = Table(box=None, header_style="bold")
    for column in ("run", "n_latents", "k", "lr", "state", "tokens", "NMSE", "tokens/s", "left", ""):
        shown.add_column(column, justify="left" if column in ("run", "state", "") else "right")
    for row in frame.sort_values(["state", "n_latents", "k", "lr"]).to_dict("records"):
        shown.add_row(
            row["run_id"],
            cell(row["n_latents"], ",.0f"),
            cell(row["k"], ".0f"),
            cell(row["lr"], ".2e"),
            row["state"],
            progress_text(row),
            cell(row["nmse"], ".4f"),
            cell(row["tokens_per_second"], ",.0f"),
            "" if pd.isna(row["seconds_left"]) else clock(row["seconds_left"]),
            Text(cell(row["message"], "")),  # Text, because rich would read brackets as markup
        )
    return shown


def plot(study: "Study") -> None:
    """Collect the tables, draw the current curves into figures/ of the study, and print what was written or missing."""
    import pandas as pd

    from fit.study.study_tables import StudyTables
    from fit.views.figures import gallery
    from sweeps.ledger.tables import write_tables

    runs, curves = (pd.read_parquet(path) for path in write_tables(study)[:2])
    gallery.make(StudyTables(runs, curves), study.path / "figures", only=["curves"])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare STUDY, runs of it, --watch and --plot."""
    add_study(parser, ids=True)
    parser.add_argument(
        "--watch", action="store_true", help=f"refresh every {WATCH_S:.0f} seconds until every run has ended"
    )
    parser.add_argument(
        "--plot",
        action="store_true",
        help="also collect, and draw the curves so far into the study's figures/",
    )
    parser.add_argument("--json", action="store_true", help="print JSON: the counts, and a row for each run")


def run(arguments: argparse.Namespace) -> int:
    """Show the runs of the study, or all details of the named runs. Returns 1 if a run has failed or stopped."""
    from sweeps.dispatch.states import run_detail
    from sweeps.errors import SweepError

    ids = [a for a in arguments.study if RUN_ID.fullmatch(a)]
    study = find_study([a for a in arguments.study if a not in ids])
    for run_id in ids:
        if not study.run(run_id).path.is_dir():
            raise SweepError(f"There is no run {run_id} in {study.path}.")
        print("\n".join(run_detail(study.run(run_id))))
    if ids:
        return 0
    return _as_json(study) if arguments.json else _show(study, arguments.watch, arguments.plot)


def over(frame: "pd.DataFrame") -> bool:
    """Whether no run will change any more by itself: each has a result, has failed for good, or is cancelled."""
    return all(state in AT_REST or state.startswith("failed") for state in frame.state)


def _code(frame: "pd.DataFrame") -> int:
    from sweeps.ledger.run_folder import ENDED

    return 0 if all(state in (*ENDED, "running", "pending", "queued") for state in frame.state) else 1


def _as_json(study: "Study") -> int:
    from sweeps.dispatch.states import states_now

    frame, counts = states_now(study)
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    content = {"study": str(study.path), "text": counts, "states": dict(Counter(frame.state)), "runs": rows}
    print(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False))
    return _code(frame)


def _show(study: "Study", watch: bool, with_plot: bool) -> int:
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

    from sweeps.dispatch.states import states_now

    console = Console(width=None if Console().is_terminal else 150)
    frame, counts = states_now(study)
    with Live(console=console, auto_refresh=False, screen=False) if watch else nullcontext() as live:
        while live is not None and not over(frame):
            live.update(Group(table(frame), Text(counts)), refresh=True)
            time.sleep(WATCH_S)
            frame, counts = states_now(study)
        if live is not None:
            live.update(Text(""), refresh=True)
    console.print(table(frame))
    print(counts)
    if with_plot:
        plot(study)
    return _code(frame)


main = SweepVerb(
    "status",
    add_arguments,
    run,
    "Show every run of a study: state, tokens, pace, time left, last loss. It reads the folders, and SLURM's queue "
    "where there is one; any machine that sees the folders will do.",
    examples="""
    saescale status runs/demo
    saescale status study=demo --watch
    saescale status runs/demo --plot
    saescale status runs/demo --json
    saescale status runs/demo 3f2a9c01b7de     (all about one run: where it ran, why it failed, its logs)
    """,
    failure="a run has failed, or has stopped because its worker is gone",
)

if __name__ == "__main__":
    raise SystemExit(main())
