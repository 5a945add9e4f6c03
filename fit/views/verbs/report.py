"""`saescale report`: writes a study as one page, report.html. `python -m fit.views.verbs.report runs/demo`"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from fit.law.errors import FitError
from fit.views.verbs.command import Verb
from fit.views.verbs.options import add_map, add_sheet
from fit.views.verbs.waiting import Waiting

if TYPE_CHECKING:
    from fit.study.study_tables import StudyTables


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare STUDY and the options of the page."""
    add = parser.add_argument
    add(
        "study",
        nargs="+",
        metavar="STUDY",
        help="its folder, whose tables are collected first; the overrides that name it, as study=demo; or a table of "
        "runs, as `saescale fit` reads it. Two folders or tables, A B, are compared on one page",
    )
    add_map(parser)
    add_sheet(parser)
    add(
        "--curves",
        metavar="FILE",
        type=Path,
        help="of one study: one row per evaluation (default: curves.parquet beside)",
    )
    add(
        "--fits",
        metavar="FILE",
        type=Path,
        help="of one study: what `saescale fit` wrote (default: fits.json beside; without one laws are fitted here)",
    )
    add("--refit", action="store_true", help="fit afresh, whatever fits.json holds")
    add(
        "--out",
        metavar="FILE",
        type=Path,
        help="the page (default: report.html beside the table; of A B, report_A_B.html beside A's)",
    )


def run(given: argparse.Namespace) -> int:
    """Write the page of these options."""
    print(f"wrote {write(given)}")
    return 0


def write(given: argparse.Namespace) -> Path:
    """Write the page of the study, or of two, completely or not at all, and return its path."""
    from fit.data import files

    studies = [Path(each) for each in given.study]
    if len(studies) > 2:
        raise FitError(
            f"{len(studies)} studies are named, {' '.join(given.study)}: name one, or two to compare them."
        )
    if len(studies) == 2:
        _refuse_for_two(given)
    with Waiting("writing the page", given.quiet):
        read = [_read(study, given) for study in studies]
        if len(read) == 2:
            from fit.views.page.pair.pair_page import pair_page

            content, name = pair_page(*read), f"report_{'_'.join(map(_name, studies))}.html"
        else:
            from fit.views.page.page import page

            content, name = page(read[0]), "report.html"
        first = studies[0]
        return files.write(given.out or (first if first.is_dir() else first.parent) / name, content.encode())


def _refuse_for_two(given: argparse.Namespace) -> None:
    """FitError for an option that names a file of one study."""
    for name in ("curves", "fits"):
        if getattr(given, name):
            raise FitError(
                f"--{name} names a file of one study, and two are compared: put it beside its table, or leave it out."
            )


def _read(study: Path, given: argparse.Namespace) -> "StudyTables":
    from fit.data import tables
    from fit.study.study_tables import StudyTables

    return StudyTables.read(
        study,
        tables.parse_mapping(given.map),
        curves=given.curves,
        fits=given.fits,
        with_fits=not given.refit,
        lenient=True,
        sheet=given.sheet,
    )


def _name(study: Path) -> str:
    """The name of a study in the name of a page: of its folder, where it is that or its table of runs."""
    path = study.resolve()
    return path.name if path.is_dir() else path.parent.name if path.stem == "runs" else path.stem


main = Verb(
    "report",
    add_arguments,
    run,
    "Write one self-contained page about a study: what was swept, laws, figures, warnings, cost and runs; or about two "
    "studies, with their laws over one another.",
    examples="""
    saescale report runs/demo
    saescale report runs/topk runs/batchtopk
    saescale report docs/smollm2/runs.parquet --out /tmp/smollm2.html
    saescale report fit/datasets/gao2024_gpt4_lnk.csv --map n_latents=n,k=k,nmse=loss --out /tmp/gpt4.html
    """,
    notes="""
The page opens offline: no script, font or picture is loaded from elsewhere. While a sweep is still running, the page
shows the curves so far. Pointing at a run in a figure, or going to it with Tab and the arrow keys, shows its values; a
click or Enter highlights it in every figure and in the table, Escape undoes that. The filter takes the conditions of
--where. The link remembers what is shown, as in report.html#sort=-nmse&filter=k==32&state=done

Of two studies the page has the compute at equal loss, as `saescale compare` gives it, each law of both in one figure
and in one table with B/A or B − A, and the settings that differ. It says first what does not compare: losses of
other activations, other activation functions. --map and --sheet are of both.
""",
    failure="there is no table to show; a sentence says why",
)

if __name__ == "__main__":
    raise SystemExit(main())
