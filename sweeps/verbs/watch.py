"""Keep a page about a study up to date while its runs train. `saescale watch runs/demo`"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sweeps.verbs.arguments import SweepVerb, add_study, find_study
from sweeps.verbs.status import AT_REST, ENDED, Watched, clock

if TYPE_CHECKING:
    import pandas as pd

    from fit.law.result import FitResult
    from fit.study.study_tables import StudyTables

EVERY_S = 30
# The laws that a page of a running study shows: they are fitted in a second, where L(C) and its optima take many.
LAWS = ("L_N", "L_NK")
# Of the machine that trains, a watcher takes at most this share of one core.
SHARE = 0.1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare STUDY, --every and --out."""
    add_study(parser)
    parser.add_argument(
        "--every",
        type=_seconds,
        default=EVERY_S,
        metavar="S",
        help="seconds between two versions of the page, more where it takes long to write (default: %(default)s)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="the page (default: live.html in the study's folder)"
    )


def _seconds(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of seconds, at least 1, got {text}")
    return int(text)


def run(arguments: argparse.Namespace) -> int:
    """Write the page again and again until nothing changes any more; its last version does not reload itself.

    Returns 1 if runs are left that nobody works on.
    """
    from sweeps.errors import SweepError

    study = find_study(arguments.study)
    out = arguments.out or study.path / "live.html"
    if out.is_dir():
        raise SweepError(f"--out {out} is a folder: name the file of the page, as {out / 'live.html'}.")
    watched, is_told = Watched(study), False
    while True:
        started = time.process_time()
        end = write(watched, out, arguments.every)
        if end is not None:
            print(f"{end}; {out} is complete. With every law: saescale report {study.path}")
            return 0 if end == ENDED else 1
        if not is_told:
            print(
                f"wrote {out}: open it in a browser, it reloads itself every {arguments.every} s", flush=True
            )
            is_told = True
        time.sleep(max(arguments.every, (time.process_time() - started) / SHARE))


def write(watched: Watched, out: Path, every_s: int) -> str | None:
    """Collect the tables and write the page. Returns why nothing changes any more, None while something may."""
    from fit.data import files
    from fit.study.study_tables import StudyTables
    from fit.views.page.page import Live, page
    from sweeps.dispatch.states import states_now
    from sweeps.ledger.tables import write_tables

    study = watched.study
    frame, counts = states_now(study)
    write_tables(study)
    tables, notes = _fitted(StudyTables.read(study.path, with_fits=False, lenient=True))
    end = watched.over(frame)
    lines = (counts.partition(": ")[2], *_pace(frame), *map(law_line, tables.fits), *notes)
    files.write(out, page(tables, None if end is not None else Live(every_s, lines)).encode())
    return end


def _fitted(tables: "StudyTables") -> "tuple[StudyTables, list[str]]":
    """The tables with the laws that form so far, and a sentence where there are none yet."""
    from fit.law.errors import FitError
    from fit.study.fitting import fit_study

    assert tables.runs is not None
    notes: list[str] = []
    try:
        fits = fit_study(tables.runs, tables.curves, LAWS, say=notes.append, as_read=tables.as_read).fits
    except FitError:
        fits, notes = (), ["No law yet: L(N) needs five sizes with a converged run."]
    # An empty content says that these are the fits of the page, so that it fits no more.
    return replace(tables, fits=fits, content={}), notes


def _pace(frame: "pd.DataFrame") -> Iterator[str]:
    """`51,200 tokens/s in 4 runs; at most 1:02:03 left at this pace`: at most, since runs that converge end earlier.

    Runs that failed or stopped count only when they are launched again, and the line says how many they are.
    """
    running = frame[frame.state == "running"]
    rate = float(running.rate.sum()) if "rate" in running else 0.0
    if not rate:
        return
    idle = (frame.state == "stopped") | frame.state.str.startswith("failed")
    unfinished = frame[~frame.state.isin(AT_REST) & ~idle]
    left = float((unfinished.budget - unfinished.tokens).clip(lower=0).sum())
    most = "at most " if (unfinished.stop != "budget").any() else ""
    without = f", without the {idle.sum()} that failed or stopped" if idle.any() else ""
    yield f"{rate:,.0f} tokens/s in {len(running)} runs; {most}{clock(left / rate)} left at this pace{without}"


def law_line(fit: "FitResult") -> str:
    """`L(N) = E + A·N^−α so far at k=16: α 0.357 [0.340, 0.374], …; 7/7 runs`: the law with its 95 % intervals."""
    from fit.views.format import greek, with_interval
    from fit.views.lines.law_table import merged_groups, runs_used

    values = [f"{greek(name)} {with_interval(p.value, p.low, p.high)}" for name, p in fit.params.items()]
    where = f" at {merged_groups([fit.group])}" if fit.group else ""
    refuted = "; the rows refute it" if fit.refutation else ""
    return f"{fit.formula} so far{where}: {', '.join(values)}; {runs_used(fit)} runs{refuted}"


main = SweepVerb(
    "watch",
    add_arguments,
    run,
    "Rewrite a page about a study while its runs train: tokens per second, hours left, the curves so far, L(N) as it "
    "forms, with its band. No server is needed: the file reloads itself in the browser.",
    examples="""
    saescale watch runs/demo
    saescale watch study=demo --every 60 --out /tmp/demo.html
    """,
    failure="runs are left that nobody works on: for two minutes none trained, was queued or was held by a worker",
    notes="It ends when every run of every phase has ended, or when nobody works on the study any more. It writes\n"
    "neither fits.json nor report.html.",
    interrupted="interrupted; the page stays as it is, and the runs go on.",
)

if __name__ == "__main__":
    raise SystemExit(main())
