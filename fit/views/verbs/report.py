"""`saescale report`: writes a study as one page, report.html. `python -m fit.views.verbs.report runs/demo`"""

import argparse
from pathlib import Path

from fit.law.errors import FitError
from fit.views.verbs.command import Verb
from fit.views.verbs.options import add_map, add_sheet
from fit.views.verbs.waiting import Waiting


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare STUDY and the options of the page."""
    add = parser.add_argument
    add(
        "study",
        nargs="+",
        metavar="STUDY",
        help="its folder, whose tables are collected first; the overrides that name it, as study=demo; or a table of "
        "runs, as `saescale fit` reads it",
    )
    add_map(parser)
    add_sheet(parser)
    add("--curves", metavar="FILE", type=Path, help="one row per evaluation (default: curves.parquet beside)")
    add(
        "--fits",
        metavar="FILE",
        type=Path,
        help="what `saescale fit` wrote (default: fits.json beside; without one the laws are fitted here)",
    )
    add("--refit", action="store_true", help="fit afresh, whatever fits.json holds")
    add("--out", metavar="FILE", type=Path, help="the page (default: report.html beside the table)")


def run(given: argparse.Namespace) -> int:
    """Write the page of these options."""
    print(f"wrote {write(given)}")
    return 0


def write(given: argparse.Namespace) -> Path:
    """Write the page of the study, completely or not at all, and return its path."""
    from fit.data import files, tables
    from fit.study.study_tables import StudyTables
    from fit.views.page.page import page

    if len(given.study) > 1:
        raise FitError(f"{len(given.study)} studies are named, {' '.join(given.study)}: name one.")
    study = Path(given.study[0])
    with Waiting("writing the page", given.quiet):
        content = StudyTables.read(
            study,
            tables.parse_mapping(given.map),
            curves=given.curves,
            fits=given.fits,
            with_fits=not given.refit,
            lenient=True,
            sheet=given.sheet,
        )
        out = given.out or (study if study.is_dir() else study.parent) / "report.html"
        return files.write(out, page(content).encode())


main = Verb(
    "report",
    add_arguments,
    run,
    "Write one self-contained page about a study: what was swept, laws, figures, warnings, cost and runs.",
    examples="""
    saescale report runs/demo
    saescale report docs/smollm2/runs.parquet --out /tmp/smollm2.html
    saescale report fit/datasets/gao2024_gpt4_lnk.csv --map n_latents=n,k=k,nmse=loss --out /tmp/gpt4.html
    """,
    notes="""
The page opens offline: no script, font or picture is loaded from elsewhere. While a sweep is still running, the page
shows the curves so far. Its link remembers how the table is sorted and filtered, as in
report.html#sort=-nmse&filter=k=32&state=done
""",
    failure="there is no table to show; a sentence says why",
)

if __name__ == "__main__":
    raise SystemExit(main())
