"""The verb `saescale report`: a study on one page, report.html. `python -m fit.views.verbs.report runs/demo`"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from fit.data import files, tables
from fit.law.errors import FitError
from fit.views.page.page import page
from fit.views.page.source import read

EXAMPLES = """The page opens offline: no script, font or picture is loaded from elsewhere. Of a sweep that still runs it
shows the curves so far. The link of the page keeps how its table is sorted and filtered, as in
report.html#sort=-nmse&filter=k=32&state=done

examples:
  saescale report runs/demo
  saescale report docs/smollm2/runs.parquet --out /tmp/smollm2.html
  saescale report fit/datasets/gao2024_gpt4_lnk.csv --map n_latents=n,k=k,nmse=loss --out /tmp/gpt4.html
"""


def parser() -> argparse.ArgumentParser:
    """The options of `saescale report`."""
    p = argparse.ArgumentParser(
        prog="saescale report",
        description="One self-contained page about a study: what was swept, laws, figures, warnings, cost, runs.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument(
        "study",
        nargs="+",
        metavar="STUDY",
        help="its folder, whose tables are collected first; the overrides that name it, as study=demo; or a table of "
        "runs, CSV or Parquet",
    )
    p.add_argument(
        "--map", default="", metavar="OURS=THEIRS,…", help="column names, as n_latents=n,k=k,nmse=loss"
    )
    p.add_argument(
        "--curves", metavar="FILE", type=Path, help="one row an evaluation (default: curves.parquet beside)"
    )
    p.add_argument(
        "--fits",
        metavar="FILE",
        type=Path,
        help="of `saescale fit` (default: fits.json beside; else fitted here)",
    )
    p.add_argument("--refit", action="store_true", help="fit afresh, whatever fits.json says")
    p.add_argument(
        "--out", metavar="FILE", type=Path, help="the page (default: report.html beside the table)"
    )
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the page. Returns 0, 1 with a sentence where there is no table to show, 2 for wrong usage."""
    try:
        given = parser().parse_args(argv)
    except SystemExit as stop:
        return int(stop.code or 0)
    return run(given)


def run(given: argparse.Namespace) -> int:
    """Writes the page of these options. Returns 0, or 1 with a sentence."""
    try:
        print(f"wrote {write(given)}")
    except (FitError, OSError) as error:
        print(f"saescale report: {error}", file=sys.stderr)
        return 1
    return 0


def write(given: argparse.Namespace) -> Path:
    """The page of the options' study, complete or not at all; returns its path."""
    if len(given.study) > 1:
        raise FitError(f"{len(given.study)} studies are named, {' '.join(given.study)}: name one.")
    study = Path(given.study[0])
    content = page(read(study, tables.parse_mapping(given.map), given.curves, given.fits, given.refit))
    out = given.out or (study if study.is_dir() else study.parent) / "report.html"
    return files.write(out, content.encode())


if __name__ == "__main__":
    sys.exit(main())
