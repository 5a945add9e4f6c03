"""`saescale report STUDY`: collects what the study's folders hold now, and writes its page, see `fit.views.page`."""

import sys
from collections.abc import Sequence
from pathlib import Path

from fit.views.verbs import report as cli


def main(arguments: Sequence[str] | None = None) -> int:
    """As `fit.views.verbs.report.main`; a study's folder, or the overrides that name it, are collected first."""
    try:
        given = cli.parser().parse_args(sys.argv[1:] if arguments is None else arguments)
    except SystemExit as stop:
        return int(stop.code or 0)
    if _is_table(given.study):
        return cli.run(given)
    from sweeps.errors import SweepError
    from sweeps.verbs import collect, locate  # with torch and Hydra, which a table does not need

    try:
        study = locate.find_study(given.study)
    except SweepError as error:
        print(f"saescale report: {error}", file=sys.stderr)
        return 1
    given.study = [str(study.path)]
    return collect.main(given.study) or cli.run(given)


def _is_table(named: Sequence[str]) -> bool:
    """A file, or a folder of tables without the runs they came from."""
    path = Path(named[0])
    if len(named) > 1 or "=" in named[0]:
        return False
    return path.is_file() or (path / "runs.parquet").is_file() and not any(path.glob("*/config.yaml"))


if __name__ == "__main__":
    raise SystemExit(main())
