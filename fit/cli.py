"""`saescale fit TABLE`: fits the laws that a table supports. `python -m fit.cli runs.parquet --law L_N`"""

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from fit import report, tables
from fit.converged import UNCONVERGED
from fit.errors import FitError
from fit.laws import LAWS, named
from fit.regimes import FLOPS, Choices, fit_table
from fit.result import write_json


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    p = argparse.ArgumentParser(
        prog="saescale fit", description="Fit scaling laws to a table of runs, write fits.json."
    )
    p.add_argument("table", metavar="TABLE", help="CSV or Parquet: one row a run, or any table of losses")
    p.add_argument(
        "--curves",
        metavar="FILE",
        help="one row an evaluation, for L_C (default: curves.parquet beside TABLE)",
    )
    p.add_argument(
        "--law", action="append", metavar="LAW", help=f"{', '.join(LAWS)}; repeat for several (default: all)"
    )
    p.add_argument(
        "--map", default="", metavar="OURS=THEIRS,…", help="column names, as n_latents=n,k=k,nmse=loss"
    )
    p.add_argument("--where", metavar="CONDITION", help='rows to use, as "k == 32 and n_latents > 512"')
    p.add_argument(
        "--unconverged",
        choices=UNCONVERGED,
        default="drop",
        help="runs not known to be converged (%(default)s)",
    )
    p.add_argument("--flops", choices=FLOPS, default="sparse", help="convention of C (%(default)s)")
    p.add_argument("--min-flops", type=_compute, metavar="X", help="leave the frontier below X FLOPs out")
    p.add_argument("--out", metavar="DIR", help="folder of fits.json (default: that of TABLE)")
    return p


def _compute(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"{text} is no positive number of FLOPs")
    return value


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command. Returns 0, 1 for input that cannot be fitted, 2 for wrong usage."""
    try:
        options = parser().parse_args(argv)
    except SystemExit as stop:
        return int(stop.code or 0)
    try:
        run(options)
    except (FitError, OSError) as error:
        print(f"saescale fit: {error}", file=sys.stderr)
        return 1
    return 0


def run(options: argparse.Namespace) -> None:
    """Reads, fits, writes and prints, in this order: a closed pipe costs no result."""
    laws = [named(law).name for law in options.law or []]
    runs = tables.read(options.table)
    path = _curves_path(options, has_runs="run_id" in runs.columns)
    curves = None if path is None else tables.read(path)
    choices = Choices(unconverged=options.unconverged, flops=options.flops, min_flops=options.min_flops)
    mapping = tables.parse_mapping(options.map)
    results = fit_table(runs, curves, laws or None, mapping, options.where, choices)
    out = Path(options.out) if options.out else Path(options.table).parent
    try:
        written = write_json(results, str(options.table), out / "fits.json")
    except OSError as error:
        raise FitError(
            f"{out} takes no fits.json ({error.strerror}): name another folder with --out."
        ) from error
    print(f"{report.text(results)}\nwrote {written}")


def _curves_path(options: argparse.Namespace, has_runs: bool) -> Path | None:
    """The curves named, or those that lie beside a table of runs."""
    if options.curves:
        return Path(options.curves)
    beside = Path(options.table).parent / "curves.parquet"
    return beside if has_runs and beside.is_file() and beside != Path(options.table) else None


if __name__ == "__main__":
    sys.exit(main())
