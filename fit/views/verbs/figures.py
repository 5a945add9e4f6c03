"""`saescale figures`: the paper's figures as PDF, PNG and CSV, with captions.

`python -m fit.views.verbs.figures runs.parquet`
"""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

from fit.data.near_names import did_you_mean
from fit.law.errors import FitError
from fit.views.figures import FIGURE_NAMES, STYLE_NAMES, TEXTS
from fit.views.verbs.command import Verb
from fit.views.verbs.options import add_map, add_sheet
from fit.views.verbs.waiting import Waiting

SETTINGS = (*TEXTS, "width", "height")


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
    add(
        "--style",
        default="paper",
        choices=STYLE_NAMES,
        help="a paper's 3.25 in column, or 6.75 in where three panels or more stand side by side; or a slide of 10 in "
        "(default: %(default)s)",
    )
    add(
        "--columns",
        type=int,
        choices=(1, 2),
        help="of a paper: every figure 3.25 in (1) or 6.75 in (2) wide",
    )
    add(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="settings",
        help=f"replace a text or a size, once for each: {', '.join(SETTINGS)} (width and height in inches)",
    )
    add(
        "--rc",
        metavar="FILE",
        type=Path,
        help="a matplotlib style file, whose fonts, colours and sizes have the last word",
    )
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
    from fit.views.figures.shared.style import changed

    texts, sizes = _settings(given.settings)
    look = changed(given.style, columns=given.columns, rc=given.rc, **sizes)
    mapping = tables.parse_mapping(given.map)
    study = StudyTables.read(given.table, mapping, curves=given.curves, fits=given.fits, sheet=given.sheet)
    if study.outdated is not None:
        raise FitError(study.outdated)
    for note in study.notes:
        print(note)
    assert study.path is not None
    out = given.out or study.path.parent / "figures"
    with Waiting("drawing", given.quiet) as waiting:
        return make(study, out, given.only, look, waiting.say, texts, waiting.at)


def _settings(given: Sequence[str]) -> tuple[dict[str, str], dict[str, float]]:
    """The texts and the sizes of `--set`. Raises FitError for another key, or a size that is no positive number."""
    texts: dict[str, str] = {}
    sizes: dict[str, float] = {}
    for setting in given:
        key, equals, value = setting.partition("=")
        if not equals or key not in SETTINGS:
            near = did_you_mean(key, SETTINGS)
            raise FitError(
                f"--set {setting}: write KEY=VALUE with one of the keys {', '.join(SETTINGS)}.{near}"
            )
        if key in TEXTS:
            texts[key] = value
            continue
        try:
            sizes[key] = float(value)
        except ValueError:
            sizes[key] = math.nan
        if not 1 <= sizes[key] <= 40:
            raise FitError(f"--set {setting}: {key} is a number of inches from 1 to 40.")
    return texts, sizes


main = Verb(
    "figures",
    add_arguments,
    run,
    "Draw the paper's figures from a table of runs and its fits: each as PDF, PNG and the CSV of its numbers, with its "
    "caption as Markdown and LaTeX.",
    examples="""
    saescale figures runs/demo/runs.parquet
    saescale figures runs/demo/runs.parquet --only l_n l_nk --style talk --out slides
    saescale figures runs/demo/runs.parquet --only fig1 --set title="Scaling of SAEs" --rc my.mplstyle
    """,
    notes="A figure that lacks something is skipped, and a line says what it needs.",
    failure="no figure could be made; a sentence says why",
)

if __name__ == "__main__":
    raise SystemExit(main())
