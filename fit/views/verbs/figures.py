"""`saescale figures`: the paper's figures as PDF, PNG and CSV. `python -m fit.views.verbs.figures runs.parquet`"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from fit.data.columns import map_help
from fit.law.errors import FitError
from fit.views.figures import FIGURE_NAMES, STYLE_NAMES
from fit.views.verbs.command import Verb

if TYPE_CHECKING:
    import pandas as pd


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare TABLE and the options of the figures."""
    add = parser.add_argument
    add("table", metavar="TABLE", type=Path, help="CSV or Parquet: one row per run")
    add("--map", default="", metavar="OURS=THEIRS,…", help=map_help())
    add(
        "--curves",
        metavar="FILE",
        type=Path,
        help="one row per evaluation (default: curves.parquet beside TABLE)",
    )
    add(
        "--fits",
        metavar="FILE",
        type=Path,
        help="what `saescale fit` wrote (default: fits.json beside TABLE)",
    )
    add(
        "--only",
        nargs="+",
        choices=FIGURE_NAMES,
        metavar="FIGURE",
        help=f"draw only these: {', '.join(FIGURE_NAMES)}",
    )
    add("--style", default="paper", choices=STYLE_NAMES, help="one column or a slide (default: %(default)s)")
    add("--out", metavar="DIR", type=Path, help="folder of the figures (default: figures beside TABLE)")


def run(given: argparse.Namespace) -> int:
    """Draw what can be drawn; FitError if no figure could be made."""
    if not _draw(given):
        raise FitError("no figure could be made; each line above says what is missing.")
    return 0


def _draw(given: argparse.Namespace) -> list[Path]:
    from fit.data import tables
    from fit.study.fits_file import read_json
    from fit.views.figures.gallery import make

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
    runs: "pd.DataFrame", curves: "pd.DataFrame | None", text: str
) -> "tuple[pd.DataFrame, pd.DataFrame | None]":
    """Both tables with our column names; a name must be in at least one of them."""
    from fit.data import tables

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


main = Verb(
    "figures",
    add_arguments,
    run,
    "Draw the paper's figures from a table of runs and its fits: each as PDF, PNG and the CSV of its numbers.",
    examples="""
    saescale figures runs/demo/runs.parquet
    saescale figures runs/demo/runs.parquet --only l_n l_nk --style talk --out slides
    """,
    notes="A figure that lacks something is skipped, and a line says what it needs.",
    failure="no figure could be made, and a sentence says why",
)

if __name__ == "__main__":
    raise SystemExit(main())
