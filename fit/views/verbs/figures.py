"""`saescale figures`: the paper's figures as PDF, PNG and CSV. `python -m fit.views.verbs.figures runs.parquet`"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from fit.data import tables
from fit.law.errors import FitError
from fit.study.fits_file import read_json
from fit.views.figures.gallery import FIGURES, make
from fit.views.figures.shared.style import STYLES


def parser() -> argparse.ArgumentParser:
    """The options of `saescale figures`."""
    options = argparse.ArgumentParser(
        prog="saescale figures", description="Draws the figures of a table of runs."
    )
    options.add_argument("table", metavar="TABLE", type=Path, help="CSV or Parquet: one row a run")
    options.add_argument(
        "--map", default="", metavar="OURS=THEIRS,…", help="column names, as n_latents=n,k=k,nmse=loss"
    )
    options.add_argument(
        "--curves",
        metavar="FILE",
        type=Path,
        help="one row an evaluation (default: curves.parquet beside TABLE)",
    )
    options.add_argument(
        "--fits",
        metavar="FILE",
        type=Path,
        help="what `saescale fit` wrote (default: fits.json beside TABLE)",
    )
    options.add_argument("--only", nargs="+", metavar="FIGURE", help=f"some of: {', '.join(FIGURES)}")
    options.add_argument("--style", default="paper", help=f"{' or '.join(STYLES)} (default: paper)")
    options.add_argument(
        "--out", metavar="DIR", type=Path, help="folder of the figures (default: figures beside TABLE)"
    )
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Draws what can be drawn. Returns 0, 1 with a sentence when no figure could be made, 2 for wrong usage."""
    try:
        given = parser().parse_args(argv)
    except SystemExit as stop:
        return int(stop.code or 0)
    try:
        written = _draw(given)
    except (FitError, OSError) as error:
        print(f"saescale figures: {error}", file=sys.stderr)
        return 1
    if not written:
        print(
            "saescale figures: no figure could be made; each line above says what is missing.",
            file=sys.stderr,
        )
    return 0 if written else 1


def _draw(given: argparse.Namespace) -> list[Path]:
    folder = given.table.parent
    curves, fits = (
        _sibling(given.curves, folder / "curves.parquet"),
        _sibling(given.fits, folder / "fits.json"),
    )
    runs, evaluations = _mapped(tables.read(given.table), tables.read(curves) if curves else None, given.map)
    out = given.out or folder / "figures"
    latents = folder / "latents.parquet"
    histograms = tables.read(latents) if latents.exists() else None
    content = read_json(fits) if fits else None
    return make(runs, evaluations, content, out, given.only, given.style, latents=histograms)


def _mapped(
    runs: pd.DataFrame, curves: pd.DataFrame | None, text: str
) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """Both tables with our column names; a name must be in at least one of them."""
    mapping = tables.parse_mapping(text)
    if curves is None:
        return tables.renamed(runs, mapping), None
    here = {ours: theirs for ours, theirs in mapping.items() if theirs not in curves.columns}
    tables.renamed(runs, here)
    return tables.renamed(runs, mapping, partial=True), tables.renamed(curves, mapping, partial=True)


def _sibling(named: Path | None, default: Path) -> Path | None:
    """The file that was named, which must exist, or the default where it exists."""
    if named is not None and not named.exists():
        raise FitError(f"There is no file {named}.")
    return named or (default if default.exists() else None)


if __name__ == "__main__":
    sys.exit(main())
