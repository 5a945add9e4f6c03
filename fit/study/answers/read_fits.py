"""The fits that a question is about: a fits.json, the folder that holds it, or the table beside it."""

from pathlib import Path

import pandas as pd

from fit.law.errors import FitError
from fit.law.laws import named
from fit.law.result import FitResult
from fit.study import fits_file
from fit.study.study_tables import RUNS, StudyTables


def read_fits(path: Path | str) -> tuple[tuple[FitResult, ...], tuple[str, ...]]:
    """The fits at a path, and notes for the reader.

    Parameters
    ----------
    path : a fits.json, a study's folder, or a table of runs with a fits.json beside it that was made from it.

    Raises
    ------
    FitError
        If there are none, if they cannot be read, or if the fits beside a table were made from another one.
    """
    path = Path(path)
    if path.is_dir() or path.suffix.lower() == ".json":
        file = path / fits_file.NAME if path.is_dir() else path
        if not file.is_file():
            raise FitError(f"There is no {file}: `saescale fit` writes it, beside the table or to its --out.")
        return fits_file.read(file).fits, ()
    study = StudyTables.read(path)
    if study.outdated is not None:
        raise FitError(study.outdated)
    if not study.fits:
        raise FitError(
            f"There is no {fits_file.NAME} beside {path}: run `saescale fit {path}` first, or name it."
        )
    return study.fits, study.notes


def runs_beside(path: Path | str) -> pd.DataFrame | None:
    """The table of runs that lies beside fits, or that the path names; None without one that can be read."""
    path = Path(path)
    table = path / RUNS if path.is_dir() else path.parent / RUNS if path.suffix.lower() == ".json" else path
    try:
        return StudyTables.read(table, with_fits=False).runs
    except FitError:
        return None


def law_names(asked: list[str]) -> list[str]:
    """The names of laws; one's own, as mylaws.py:LAW, are imported, without which their fits cannot predict."""
    return [named(name).name if ":" in name else name for name in asked]
