"""Shows the progress of a study, as a bar or as plain lines: runs by state, share of the work done, and time left."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from sweeps.ledger.claims import current_status
from sweeps.ledger.run_folder import ENDED
from sweeps.planning.plan import Plan
from sweeps.verbs.status import clock

_POLL_S = 0.5
_LINE_S = 15.0  # between two lines of output that is not a terminal


@dataclass(frozen=True)
class Snapshot:
    counts: Counter[str]
    share: float  # of the FLOPs of all runs, in [0, 1]; a run that ended early counts with its whole budget

    @property
    def text(self) -> str:
        c = self.counts
        parts = [f"{c['done'] + c['diverged']} done", f"{c['running']} running", f"{c['failed']} failed"]
        waiting = [f"{c['pending'] + c['stopped']} waiting"]
        return " · ".join([*parts, *waiting, *([f"{c['cancelled']} cancelled"] if c["cancelled"] else [])])


def snapshot(plan: Plan) -> Snapshot:
    """Count the runs by state and the share of the work that is done."""
    counts: Counter[str] = Counter()
    done = 0.0
    for run in plan.runs:
        status = current_status(plan.study.run(run.run_id))
        counts[status.state] += 1
        part = 1.0 if status.state in ENDED else status.tokens / run.config.train.budget
        done += part * run.flops_sparse
    return Snapshot(counts, done / sum(run.flops_sparse for run in plan.runs))


def time_left(start_share: float, share: float, elapsed_s: float) -> float | None:
    """Seconds left at the average pace since the start; None before any progress."""
    gained = share - start_share
    return elapsed_s * (1 - share) / gained if gained > 1e-6 else None


def follow(plan: Plan, ended: Callable[[], bool]) -> None:
    """Show progress until `ended()` is true: a live bar on a terminal, otherwise a line every 15 seconds."""
    console = Console()
    started, first = time.monotonic(), snapshot(plan).share
    columns = (
        BarColumn(bar_width=20),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.description}"),
    )
    printed = float("-inf")
    with Progress(*columns, TimeElapsedColumn(), console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=1.0)
        while True:
            over = ended()
            now = snapshot(plan)
            elapsed = time.monotonic() - started
            text = f"{now.text} · {clock(time_left(first, now.share, elapsed))} left"
            bar.update(task, completed=now.share, description=text)
            if not console.is_terminal and (over or elapsed - printed >= _LINE_S):
                print(f"{now.share:4.0%}  {text}  ({elapsed:.0f} s)", flush=True)
                printed = elapsed
            if over:
                return
            time.sleep(_POLL_S)
