"""`saescale figures`: the paper's figures as PDF, PNG and CSV. `python -m fit.views.verbs.figures runs.parquet`"""

import argparse
from pathlib import Path

from fit.law.errors import FitError
from fit.views.figures import FIGURE_NAMES, STYLE_NAMES
from fit.views.verbs.command import Verb
from fit.views.verbs.options import add_map, add_sheet


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare TABLE and the options of the figures."""
    add = parser.add_argument
    add(
        "table",
        metavar="TABLE",
        type=Path,
        help="one row per run: CSV, Parquet, JSON, JSON lines, XLSX, also compressed",
    )
    add_map(parser)
    add_sheet(parser)
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
    """Draw every figure that has its data. Raises FitError if no figure could be drawn."""
    if not _draw(given):
        raise FitError("No figure could be made; each line above says what is missing.")
    return 0


def _draw(given: argparse.Namespace) -> list[Path]:
    from fit.data import tables
    from fit.study.study_tables import StudyTables
    from fit.views.figures.gallery import make

    mapping = tables.parse_mapping(given.map)
    study = StudyTables.read(given.table, mapping, curves=given.curves, fits=given.fits, sheet=given.sheet)
    if study.outdated is not None:
        raise FitError(study.outdated)
    for note in study.notes:
        print(note)
    assert study.path is not None
    out = given.out or study.path.parent / "figures"
    return make(study, out, given.only, given.style)


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
    failure="no figure could be made; a sentence says why",
)

if __name__ == "__main__":
    raise SystemExit(main())
