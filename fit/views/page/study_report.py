"""The content of a page: the tables of a study, its fits from fits.json or made here, and notes for the reader."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from fit.law.errors import FitError
from fit.law.result import FitResult
from fit.regimes.compare import Regimes
from fit.study.fitting import Study, fit_study
from fit.study.study_tables import StudyTables


@dataclass(frozen=True)
class StudyReport:
    """The tables and fits of one page.

    Attributes
    ----------
    tables : the tables and their fits; runs and curves have only our column names, and texts in place of lists and
        other objects.
    fitted_here : whether the fits were made for this page.
    notes : one sentence for each thing that was not fitted or not read, with the reason.
    """

    tables: StudyTables
    fitted_here: bool
    notes: tuple[str, ...] = ()

    @property
    def runs(self) -> pd.DataFrame:
        assert self.tables.runs is not None
        return self.tables.runs

    @property
    def fits(self) -> tuple[FitResult, ...]:
        return self.tables.fits

    @property
    def regimes(self) -> Regimes | None:
        return self.tables.regimes

    @property
    def name(self) -> str:
        """The name of the study or of the file."""
        studies = (
            sorted({str(v) for v in self.runs["study"].dropna()}) if "study" in self.runs.columns else []
        )
        return ", ".join(studies) or (self.tables.path.stem if self.tables.path else "Study")

    @property
    def files(self) -> tuple[str, ...]:
        """The tables that were read, with their size, and the version of saescale that wrote the fits."""
        tables, content = self.tables, self.tables.content or {}
        listed = [f"{tables.path.name} ({len(self.runs):,} rows)"] if tables.path else []
        for kind, table, rows in (
            ("curves", tables.curves, "evaluations"),
            ("latents", tables.latents, "bins"),
        ):
            if table is not None and kind in tables.files:
                listed.append(f"{tables.files[kind].name} ({len(table):,} {rows})")
        written_by = content["saescale"] if "saescale" in content else None
        return (*listed, *([f"fits of saescale {written_by}"] if written_by else []))


def study_report(tables: StudyTables) -> StudyReport:
    """The report of these tables, with the fits that were read with them or, if there are none, with fits made here."""
    notes = list(tables.notes)
    if tables.outdated is not None:
        notes.append(
            f"{tables.outdated} The laws on this page were fitted for it, to the table as it is now."
        )
    if tables.path is not None:  # the same page in every folder
        notes = [note.replace(f"{tables.path.parent}/", "") for note in notes]
    cleaned = replace(
        tables, runs=_cleaned(tables.runs, tables.mapping), curves=_cleaned(tables.curves, tables.mapping)
    )
    if tables.content is not None:
        return StudyReport(cleaned, False, tuple(notes))
    study = _fitted(cleaned, notes)
    return StudyReport(replace(cleaned, fits=study.fits, regimes=study.regimes), True, tuple(notes))


def _fitted(tables: StudyTables, notes: list[str]) -> Study:
    """Fits made here; a law that cannot be fitted becomes a note."""
    assert tables.runs is not None
    try:
        return fit_study(tables.runs, tables.curves, say=notes.append, as_read=tables.as_read)
    except FitError as error:
        notes.append(str(error))
    except Exception as error:  # an unexpected column must not stop the page; it then has no laws
        notes.append(f"No law was fitted: {type(error).__name__}: {' '.join(str(error).split())}")
    return Study((), None)


def _cleaned(table: Any, mapping: Mapping[str, str]) -> Any:
    """The table without the columns that it also has under our names; lists and other objects become text."""
    if table is None:
        return None
    foreign = set(mapping.values()) - set(mapping)
    table = table.drop(columns=list(foreign), errors="ignore")
    table.columns = [str(column) for column in table.columns]
    objects = [
        column
        for column in table.columns
        if table[column].map(lambda v: isinstance(v, list | dict | set | tuple | np.ndarray)).any()
    ]
    return table.assign(**{column: table[column].map(str) for column in objects}).reset_index(drop=True)
