"""What a page is made of: the tables and fits of a study, from a folder, a table of runs, or any CSV with a map."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from fit.law.errors import FitError
from fit.law.json_values import plain
from fit.study import Study, fit_study
from fit.study.study_tables import StudyTables

Fit = Mapping[str, Any]


@dataclass(frozen=True)
class Source:
    """runs, curves, latents: the tables under our column names. fits: the content of fits.json. skipped: what was not
    fitted or not read, and why, a sentence each. name: of the study; files: what was read, for the reader of the page.
    """

    runs: pd.DataFrame
    curves: pd.DataFrame | None
    fits: Mapping[str, Any]
    name: str
    skipped: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    latents: pd.DataFrame | None = None

    @property
    def laws(self) -> list[Fit]:
        """The fits, of which each has a law."""
        return [fit for fit in self.fits.get("fits") or [] if isinstance(fit, Mapping) and fit.get("law")]

    @property
    def regimes(self) -> Mapping[str, Any] | None:
        """L(C) against L(N), where both were fitted."""
        return self.fits.get("regimes")


def read(
    table: Path,
    mapping: Mapping[str, str] | None = None,
    curves: Path | None = None,
    fits: Path | None = None,
    refit: bool = False,
) -> Source:
    """The study of a folder or of a table of runs, with what lies beside it: curves, latents and fits.

    Fits are made here where there is no fits.json, or with refit. FitError for a table, or a file that was named, that
    cannot be read; one that only lies there is told on the page.
    """
    study = StudyTables.read(table, mapping, None, curves, fits, with_fits=not refit, lenient=True)
    assert study.path is not None
    said = list(study.notes)
    if study.outdated is not None:
        said.append(f"{study.outdated} The laws on this page were fitted for it, to the table as it is now.")
    said = [
        sentence.replace(f"{study.path.parent}/", "") for sentence in said
    ]  # the same page in every folder
    runs, evaluations = _ours(study.runs, study.mapping), _ours(study.curves, study.mapping)
    content = study.content
    if content is None:
        content = fitted(runs, evaluations, said.append)
    files = [f"{study.path.name} ({len(runs):,} rows)"]
    for kind, part, what in (("curves", evaluations, "evaluations"), ("latents", study.latents, "bins")):
        if part is not None:
            files.append(f"{study.files[kind].name} ({len(part):,} {what})")
    name = _name(runs, study.path)
    return Source(runs, evaluations, content, name, tuple(said), tuple(files), study.latents)


def fitted(runs: pd.DataFrame, curves: pd.DataFrame | None, say: Callable[[str], None]) -> dict[str, Any]:
    """What fits.json would hold, fitted here; a law that cannot be fitted, or a table of another make, is told."""
    study = Study((), None)
    try:
        study = fit_study(runs, curves, say=say)
    except FitError as error:
        say(str(error))
    except Exception as error:  # a column that no fit foresaw costs the laws, not the page
        say(f"No law was fitted: {type(error).__name__}: {' '.join(str(error).split())}")
    regimes = None if study.regimes is None else plain(study.regimes.to_dict())
    return {"fits": [fit.to_dict() for fit in study.fits], "regimes": regimes}


def _ours(table: Any, mapping: Mapping[str, str]) -> Any:
    """The table without the columns that it also has under our names; lists and other objects become text."""
    if table is None:
        return None
    foreign = set(mapping.values()) - set(mapping)
    table = table.drop(columns=list(foreign), errors="ignore")
    table.columns = [str(column) for column in table.columns]
    odd = [
        c
        for c in table.columns
        if table[c]
        .map(lambda v: isinstance(v, list | dict | set | tuple) or type(v).__name__ == "ndarray")
        .any()
    ]
    return table.assign(**{c: table[c].map(str) for c in odd}).reset_index(drop=True)


def _name(runs: pd.DataFrame, table: Path) -> str:
    """The study's name, or that of the file."""
    studies = sorted({str(v) for v in runs["study"].dropna()}) if "study" in runs.columns else []
    return ", ".join(studies) or table.stem
