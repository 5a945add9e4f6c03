"""`saescale fit TABLE`: fits the laws that a table supports. `python -m fit.views.verbs.fit runs.parquet --law L_N`"""

import argparse
import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from fit.data.near_names import did_you_mean
from fit.law.options import (
    AUTO,
    DEFAULT_LAWS,
    DRAWS,
    DROP,
    FLOPS,
    FRONTIERS,
    METHODS,
    NONE,
    UNCONVERGED,
    FitOptions,
)
from fit.views.verbs.command import Verb, remarks
from fit.views.verbs.options import add_laws, add_map, add_resampling, add_sheet
from fit.views.verbs.waiting import Waiting

if TYPE_CHECKING:
    from fit.study import Study

OBJECTIVES = ("log", "linear", "huber", "asymmetric")
NARROWEST = 20  # columns; COLUMNS=0 and terminals of no width say less
WIDTH = 100  # of what is not printed on a terminal, whose width is not known


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare TABLE and the options of a fit."""
    from fit.law.law import RowSource
    from fit.law.laws import LAWS

    of_tables = [name for name, law in LAWS.items() if law.rows is not RowSource.NONE]
    add = parser.add_argument
    add(
        "table",
        metavar="TABLE",
        help="one row per run, or any table of losses: CSV, Parquet, JSON, JSON lines, XLSX, also compressed",
    )
    add(
        "--curves",
        metavar="FILE",
        help="one row per evaluation, needed for L_C (default: curves.parquet beside TABLE)",
    )
    add_laws(
        parser,
        f"{', '.join(of_tables)}, or your own as mylaws.py:LAW; several as L_N,L_NK "
        f"(default: {', '.join(DEFAULT_LAWS)})",
    )
    add_map(parser)
    add_sheet(parser)
    add("--where", metavar="CONDITION", help='which rows to use, as "k == 32 and n_latents > 512"')
    add(
        "--unconverged",
        choices=UNCONVERGED,
        default=DROP,
        help="what to do with runs that are not known to have converged (default: %(default)s)",
    )
    add("--flops", choices=FLOPS, default="sparse", help="convention of C (default: %(default)s)")
    add("--min-flops", type=_compute, metavar="X", help="ignore the part of the frontier below X FLOPs")
    add(
        "--objective",
        default="log",
        metavar="WHAT",
        help="log, linear, huber[:DELTA] or asymmetric:TAU, weights TAU above and 1 − TAU below (default: %(default)s)",
    )
    add(
        "--intervals",
        choices=METHODS,
        default=AUTO,
        help="method of the 95 %% intervals (default: %(default)s); for L_C and its optima runs are always resampled",
    )
    add_resampling(parser, f"bootstrap refits (default: {DRAWS:,}, and {FRONTIERS} for frontiers)")
    add("--weights", metavar="COLUMN", help="how many measurements a row stands for")
    add(
        "--cluster",
        metavar="COLUMN",
        help="rows with the same value are one run, resampled together; none: each row (default: found from the table)",
    )
    add(
        "--group",
        metavar="COLUMN,…",
        type=_columns,
        help="split the rows by these columns into fits of their own; none: one fit (default: k, data, d_model, "
        "batch_tokens, activation, as far as they do not follow n_latents)",
    )
    add("--out", metavar="DIR", help="folder of fits.json (default: that of TABLE)")
    add("-v", "--verbose", action="store_true", help="print every fit in full: its rows, checks and cautions")
    add("--json", action="store_true", help="print what fits.json holds; all else goes to stderr")
    add(
        "--as",
        dest="cards",
        choices=("text", "latex", "markdown"),
        help="print a paragraph for a paper about each fit instead of the table; all else goes to stderr",
    )


def _compute(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"must be a positive number of FLOPs, got {text}")
    return value


def _columns(text: str) -> tuple[str, ...]:
    names = tuple(filter(None, (name.strip() for name in text.split(","))))
    if not names:
        raise argparse.ArgumentTypeError("must be columns separated by commas, or none")
    return () if names == (NONE,) else names


def run(options: argparse.Namespace) -> int:
    """Read, fit, write and print, in this order, so that a closed pipe cannot lose the result."""
    from fit.data import tables
    from fit.law.errors import FitError
    from fit.law.losses import objective
    from fit.study import fit_study
    from fit.study.asked import check_mapped, law_names
    from fit.study.fits_file import NAME, write_json
    from fit.study.study_tables import StudyTables
    from fit.views.card import cards
    from fit.views.lines import text

    tell = remarks(options)
    laws = law_names(options.law or [])
    try:
        objective(options.objective)
    except FitError as error:
        near = did_you_mean(options.objective.partition(":")[0], OBJECTIVES)
        raise FitError(f"{error}{near}") from error
    mapping = tables.parse_mapping(options.map)
    check_mapped(mapping, laws)
    data = StudyTables.read(
        options.table, mapping, options.where, options.curves, with_fits=False, sheet=options.sheet
    )
    assert data.runs is not None and data.path is not None
    on_screen = not (options.verbose or options.json or options.cards)
    notes: list[str] = []
    say = notes.append if on_screen else tell
    for note in data.notes:
        say(note)
    try:
        with Waiting("fitting", options.quiet) as waiting:
            study = fit_study(
                data.runs,
                data.curves,
                laws or None,
                options=_choices(options),
                say=say,
                as_read=data.as_read,
                at=waiting.at,
            )
    except FitError:
        for note in notes:  # what was converted or dropped may be why
            tell(note)
        raise
    missing = [name for name in laws if name not in {fit.law for fit in study.fits}]
    if missing and options.quiet:  # the exit code is 0, since other laws were fitted
        print(f"{', '.join(missing)}: not fitted; without -q a sentence says why.", file=sys.stderr)
    out = Path(options.out) if options.out else data.path.parent
    try:
        written = write_json(study.fits, str(data.path), out / NAME, study.regimes, data.made_from)
    except OSError as error:
        raise FitError(
            f"{out} takes no fits.json ({error.strerror}): name another folder with --out."
        ) from error
    if on_screen:
        _show(study, notes)
        print(f"wrote {written}; -v prints each fit in full")
        return 0
    if options.json:
        print(written.read_text(encoding="utf-8"), end="")
    else:
        print(cards(study.fits, options.cards) if options.cards else text.text(study.fits, study.regimes))
    tell(f"wrote {written}")
    return 0


def _show(study: "Study", notes: list[str]) -> None:
    """Print one screen, in colours where the terminal has them."""
    from rich.console import Console
    from rich.text import Text

    from fit.views.lines.screen import screen

    console = Console(highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = WIDTH
    console.width = max(console.width, NARROWEST)
    for line in screen(study.fits, study.regimes, notes, console.width):
        console.print(Text(line.text, line.style), soft_wrap=True)


def _choices(options: argparse.Namespace) -> FitOptions:
    names = (
        "unconverged",
        "flops",
        "min_flops",
        "objective",
        "intervals",
        "draws",
        "seed",
        "weights",
        "cluster",
        "group",
    )
    return FitOptions(**{name: getattr(options, name) for name in names})


main = Verb(
    "fit",
    add_arguments,
    run,
    "Fit scaling laws to a table of runs, print them with 95 % intervals and write fits.json.",
    examples="""
    saescale fit runs/gpt2/runs.parquet
    saescale fit runs.parquet --law L_N,L_NK -v
    saescale fit runs.parquet --law L_NK --where "n_latents >= 512" --unconverged extrapolate
    saescale fit chinchilla.csv --law L_ND --map n_latents=N,tokens=D,nmse=loss --objective huber
    """,
    failure="no law could be fitted; a sentence says why",
)

if __name__ == "__main__":
    raise SystemExit(main())
