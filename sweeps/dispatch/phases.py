"""Phases: studies one after another, where a later one uses numbers that an earlier one found, as data in the ledger.

`study=lr_sweep,main` names them in order; `sweeps.config.earlier_fit` reads the numbers.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from fit.law.errors import FitError
from sweeps.config.earlier_fit import FITS
from sweeps.errors import SweepError
from sweeps.ledger.run_folder import ENDED
from sweeps.ledger.tables import write_tables
from sweeps.planning.plan import Plan


def split(overrides: Sequence[str]) -> list[list[str]]:
    """The overrides of each phase: one list for each study in `study=a,b`."""
    at = [i for i, text in enumerate(overrides) if text.startswith("study=") and "," in text]
    if not at:
        return [list(overrides)]
    before, after = list(overrides[: at[-1]]), list(overrides[at[-1] + 1 :])
    return [
        [*before, f"study={name}", *after] for name in overrides[at[-1]].removeprefix("study=").split(",")
    ]


def finished(plan: Plan) -> bool:
    """Whether every run of the phase has its result."""
    return all(plan.study.run(run.run_id).status().state in ENDED for run in plan.runs)


def close(plan: Plan, say: Callable[[str], None] = print) -> Path:
    """Collect and fit a phase whose runs have ended, so that the next one can use its laws. SweepError if none fits."""
    # Here, since a plan only splits its phases: scipy would double its time to start.
    from fit.study import fit_study
    from fit.study.fits_file import write_json
    from fit.study.study_tables import StudyTables

    runs = write_tables(plan.study)[0]
    path = plan.study.path
    try:
        tables = StudyTables.read(runs, with_fits=False)
        assert tables.runs is not None
        found = fit_study(tables.runs, tables.curves, say=say)
    except FitError as error:
        raise SweepError(f"{path} cannot be fitted, so no phase can follow it: {error}") from error
    return write_json(found.fits, str(runs), path / FITS, found.regimes, tables.made_from)
