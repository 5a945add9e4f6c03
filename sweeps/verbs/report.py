"""`saescale report STUDY`, or `A B`: collects the tables of each study and writes the page, see `fit.views.page`."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fit.views.verbs import report as of_tables
from sweeps.ledger.run_folder import Study
from sweeps.verbs.arguments import USER_ERRORS, find_study


def run(arguments: argparse.Namespace) -> int:
    """Write the page. Where an argument names a study by its folder or overrides, its tables are collected first."""
    named = list(arguments.study)
    several = len(named) > 1 and not any("=" in each for each in named)
    arguments.study = (
        [_collected(each, arguments) for each in ([one] for one in named)]
        if several
        else [_collected(named, arguments)]
    )
    return of_tables.run(arguments)


def _collected(named: Sequence[str], arguments: argparse.Namespace) -> str:
    """The path of the tables of one study, which are collected first if there are runs that they came from."""
    if _is_table(named):
        return named[0]
    from sweeps.verbs import collect

    path = str(find_study(named).path)
    collect.run(argparse.Namespace(**{**vars(arguments), "study": [path]}))
    return path


def _is_table(named: Sequence[str]) -> bool:
    """Whether the argument is a file, or a folder of tables without the runs that they came from."""
    path = Path(named[0])
    if len(named) > 1 or "=" in named[0]:
        return False
    return path.is_file() or (path / "runs.parquet").is_file() and not Study(path).has_runs


main = replace(of_tables.main, run=run, errors=USER_ERRORS)

if __name__ == "__main__":
    raise SystemExit(main())
