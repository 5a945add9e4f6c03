"""`saescale report STUDY`: collects the current tables of the study and writes its page, see `fit.views.page`."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fit.views.verbs import report as of_tables
from sweeps.ledger.run_folder import Study
from sweeps.verbs.arguments import USER_ERRORS, find_study


def run(arguments: argparse.Namespace) -> int:
    """Write the page. If the arguments name a study by its folder or overrides, its tables are collected first."""
    if not _is_table(arguments.study):
        from sweeps.verbs import collect

        study = find_study(arguments.study)
        arguments.study = [str(study.path)]
        collect.run(arguments)
    return of_tables.run(arguments)


def _is_table(named: Sequence[str]) -> bool:
    """Whether the argument is a file, or a folder of tables without the runs that they came from."""
    path = Path(named[0])
    if len(named) > 1 or "=" in named[0]:
        return False
    return path.is_file() or (path / "runs.parquet").is_file() and not Study(path).has_runs


main = replace(of_tables.main, run=run, errors=USER_ERRORS)

if __name__ == "__main__":
    raise SystemExit(main())
