"""Show the state of a study's runs. `saescale status runs/demo`"""

import argparse
import json
import time
from collections import Counter
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from sweeps.verbs.arguments import RUN_ID, SweepVerb, add_study, find_study

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from rich.table import Table

    from sweeps.ledger.phase_record import PhaseRecord
    from sweeps.ledger.run_folder import Study

WATCH_S = 5.0
# Nobody works on a study in which for this long no run trained, waited in a queue or was held by a worker: a worker
# imports torch for up to 30 s before it takes its first run, and a launch that waits tries a failed run again in 10 s.
QUIET_S = 120.0
# States that stay as they are until somebody launches, retries or repairs.
AT_REST = ("done", "diverged", "cancelled", "unreadable")
ENDED = "every run has ended"


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
        "--watch",
        action="store_true",
        help=f"refresh every {WATCH_S:.0f} seconds until the study has ended in all its phases, or nobody works on it",
    )
    parser.add_argument(
        "--plot",
        action="store_true",
        help="also collect, and draw the curves so far into the study's figures/",
    )
    parser.add_argument(
        "--json", action="store_true", help="print JSON: the counts and a row for each run, or the named runs"
    )


def run(arguments: argparse.Namespace) -> int:
    """Show the runs of the study, or all details of the named runs. Returns 1 if a run has failed or stopped."""
    from sweeps.dispatch.states import run_detail, run_facts
    from sweeps.errors import SweepError

    ids = [a for a in arguments.study if RUN_ID.fullmatch(a)]
    study = find_study([a for a in arguments.study if a not in ids])
    for run_id in ids:
        if not study.run(run_id).path.is_dir():
            raise SweepError(f"There is no run {run_id} in {study.path}.")
    if ids and (arguments.watch or arguments.plot):
        raise SweepError("--watch and --plot are about all runs of a study: leave out the run ids.")
    if ids:
        folders = [study.run(run_id) for run_id in ids]
        if arguments.json:
            print(_dumped({"study": str(study.path), "runs": [run_facts(folder) for folder in folders]}))
        else:
            print("\n".join(line for folder in folders for line in run_detail(folder)))
        return 0
    return _as_json(study) if arguments.json else _show(study, arguments.watch, arguments.plot)


class Watched:
    """Says when there is nothing more to watch in a study: it has ended in all its phases, or nobody works on it."""

    def __init__(self, study: "Study") -> None:
        self.study = study
        self._moved = time.monotonic()

    def over(self, frame: "pd.DataFrame") -> str | None:
        """A sentence on why nothing changes any more by itself, None while something may.

        A run that failed and may be tried again has not ended while a launch may still do it, nor has a study with
        phases while its last phase has not begun.
        """
        from sweeps.ledger.phase_record import records, to_come

        launched = records(self.study)[0]
        later = to_come(launched)
        unwritten = {run for record in launched for run in record.runs}.difference(frame.run_id)
        rest = all(map(self._rests, frame.run_id, frame.state))
        if rest and not (later or unwritten):
            return ENDED
        now = time.monotonic()
        if any(map(self._moves, frame.run_id, frame.state)) or rest and self._goes_on(launched):
            self._moved = now
        elif rest and (stopped := [record for record in launched if record.stopped]):
            return f"{ENDED}, and the study stopped at its phase {stopped[-1].phase}: {stopped[-1].stopped}"
        if now - self._moved < QUIET_S:
            return None
        counts = Counter(state for state in frame.state if state not in AT_REST)
        left = [f"{count} {state}" for state, count in sorted(counts.items())]
        left += [f"{len(unwritten)} without a folder"] if unwritten else []
        left += [f"to come: {', '.join(later)}"] if later else []
        what = "all runs have ended but not all phases have begun" if rest and later else "not all have ended"
        return (
            f"for {QUIET_S:.0f} s no run trained, waited in a queue or was held by a worker, and {what} "
            f"({', '.join(left)}): saescale launch goes on with them"
        )

    def _goes_on(self, launched: "Sequence[PhaseRecord]") -> bool:
        """Whether a launch fits a phase now, or a job in SLURM's queue is to do it, before the next phase begins."""
        from sweeps.errors import SweepError
        from sweeps.ledger.claims import held
        from sweeps.ledger.launches import planners
        from sweeps.ledger.phase_record import PhaseFolder

        if any(held(PhaseFolder(self.study, record.phase).claimed) for record in launched):
            return True
        if not planners(self.study):
            return False
        from sweeps.dispatch.planner import living  # with all that a launch needs, which `status` seldom does

        try:
            return living(self.study) is not None
        except SweepError:  # SLURM is not here, or does not answer
            return False

    def _rests(self, run_id: str, state: str) -> bool:
        from sweeps.ledger import failures

        if state.startswith("failed"):
            return not failures.may_retry(self.study.run(run_id), failures.RETRIES)
        return state in AT_REST

    def _moves(self, run_id: str, state: str) -> bool:
        from sweeps.ledger.claims import held

        return state in ("running", "queued") or (state not in AT_REST and held(self.study.run(run_id)))


def _code(frame: "pd.DataFrame") -> int:
    from sweeps.ledger.run_folder import ENDED

    return 0 if all(state in (*ENDED, "running", "pending", "queued") for state in frame.state) else 1


def _as_json(study: "Study") -> int:
    from sweeps.dispatch.states import states_now

    frame, counts = states_now(study)
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    content = {"study": str(study.path), "text": counts, "states": dict(Counter(frame.state)), "runs": rows}
    print(_dumped(content))
    return _code(frame)


def _dumped(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)


def _show(study: "Study", watch: bool, with_plot: bool) -> int:
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

    from sweeps.dispatch.states import states_now

    console = Console(width=None if Console().is_terminal else 150)
    frame, counts = states_now(study)
    watched, end = Watched(study), None
    with Live(console=console, auto_refresh=False, screen=False) if watch else nullcontext() as live:
        while live is not None and (end := watched.over(frame)) is None:
            live.update(Group(table(frame), Text(counts)), refresh=True)
            time.sleep(WATCH_S)
            frame, counts = states_now(study)
        if live is not None:
            live.update(Text(""), refresh=True)
    console.print(table(frame))
    print(counts)
    if end is not None:
        print(f"{end[0].upper()}{end[1:]}.")
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
