"""`saescale fit TABLE`: fits the laws that a table supports. `python -m fit.views.verbs.fit runs.parquet --law L_N`"""

import argparse
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from fit.converged.runs import UNCONVERGED
from fit.data import tables
from fit.law.errors import FitError
from fit.law.intervals.bootstrap import FEWEST
from fit.law.intervals.choose import AUTO, METHODS
from fit.law.laws import LAWS, LR_NR, named
from fit.law.losses import objective
from fit.law.options import DRAWS, DROP, FLOPS, FRONTIERS, Choices
from fit.study import DEFAULT, fit_study
from fit.study.fits_file import write_json
from fit.views import text

EXAMPLES = """examples:
  saescale fit runs/gpt2/runs.parquet
  saescale fit runs.parquet --law L_NK --where "n_latents >= 512" --unconverged extrapolate
  saescale fit chinchilla.csv --law L_ND --map n_latents=N,tokens=D,nmse=loss --objective huber
"""


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    p = argparse.ArgumentParser(
        prog="saescale fit",
        description="Fit scaling laws to a table of runs, print them, write fits.json.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("table", metavar="TABLE", help="CSV or Parquet: one row a run, or any table of losses")
    p.add_argument(
        "--curves",
        metavar="FILE",
        help="one row an evaluation, for L_C (default: curves.parquet beside TABLE)",
    )
    p.add_argument(
        "--law",
        action="append",
        metavar="LAW",
        help=f"{', '.join(name for name in LAWS if name != LR_NR.name)}, or your own as module:LAW; "
        f"repeat for several (default: {', '.join(DEFAULT)})",
    )
    p.add_argument(
        "--map", default="", metavar="OURS=THEIRS,…", help="column names, as n_latents=n,k=k,nmse=loss"
    )
    p.add_argument("--where", metavar="CONDITION", help='rows to use, as "k == 32 and n_latents > 512"')
    p.add_argument(
        "--unconverged",
        choices=UNCONVERGED,
        default=DROP,
        help="runs not known to be converged (%(default)s)",
    )
    p.add_argument("--flops", choices=FLOPS, default="sparse", help="convention of C (%(default)s)")
    p.add_argument("--min-flops", type=_compute, metavar="X", help="leave the frontier below X FLOPs out")
    p.add_argument(
        "--objective", default="log", metavar="WHAT", help="log, linear or huber[:DELTA] (%(default)s)"
    )
    p.add_argument(
        "--intervals",
        choices=METHODS,
        default=AUTO,
        help="how 95 %% intervals are made (%(default)s); those of L_C and its optima always resample runs",
    )
    p.add_argument(
        "--draws", type=_count, metavar="R", help=f"bootstrap refits ({DRAWS:,}; of frontiers {FRONTIERS})"
    )
    p.add_argument("--seed", type=_seed, default=0, help="of every resampling (%(default)s)")
    p.add_argument("--weights", metavar="COLUMN", help="how many measurements a row stands for")
    p.add_argument("--cluster", metavar="COLUMN", help="rows with one value of it are resampled together")
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


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < FEWEST:
        raise argparse.ArgumentTypeError(f"{text} is no number of draws: give {FEWEST} or more")
    return int(text)


def _seed(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text} is no seed: give 0 or more")
    return int(text)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command. Returns 0, 1 where nothing could be fitted, 2 for wrong usage."""
    try:
        options = parser().parse_args(argv)
    except SystemExit as stop:
        return int(stop.code or 0)
    try:
        run(options)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has seen enough (… | head)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    except (FitError, OSError) as error:
        print(f"saescale fit: {error}", file=sys.stderr)
        return 1
    return 0


def run(options: argparse.Namespace) -> None:
    """Reads, fits, writes and prints, in this order: a closed pipe costs no result."""
    laws = [named(law).name for law in options.law or []]
    objective(options.objective)
    runs = tables.read(options.table)
    path = _curves_path(options, has_runs="run_id" in runs.columns)
    curves = None if path is None else tables.read(path)
    mapping = tables.parse_mapping(options.map)
    study = fit_study(runs, curves, laws or None, mapping, options.where, _choices(options))
    out = Path(options.out) if options.out else Path(options.table).parent
    try:
        written = write_json(study.fits, str(options.table), out / "fits.json", study.regimes)
    except OSError as error:
        raise FitError(
            f"{out} takes no fits.json ({error.strerror}): name another folder with --out."
        ) from error
    print(f"{text.text(study.fits, study.regimes)}\nwrote {written}")


def _choices(options: argparse.Namespace) -> Choices:
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
    )
    return Choices(**{name: getattr(options, name) for name in names})


def _curves_path(options: argparse.Namespace, has_runs: bool) -> Path | None:
    """The curves named, or those that lie beside a table of runs."""
    if options.curves:
        return Path(options.curves)
    beside = Path(options.table).parent / "curves.parquet"
    return beside if has_runs and beside.is_file() and beside != Path(options.table) else None


if __name__ == "__main__":
    sys.exit(main())
