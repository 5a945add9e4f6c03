"""What a page is made of: the tables and fits of a study, from a folder, a table of runs, or any CSV with a map."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from fit.data import tables
from fit.law.errors import FitError
from fit.law.json_values import plain
from fit.study import Study, fit_study
from fit.study.fits_file import read_json

Fit = Mapping[str, Any]
RUNS, CURVES, LATENTS, FITS = "runs.parquet", "curves.parquet", "latents.parquet", "fits.json"


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
    table = table / RUNS if table.is_dir() else table
    if not table.exists() and table.name == RUNS:
        raise FitError(f"There is no {table}: `saescale collect` writes it, or name a table of runs.")
    runs = tables.read(table)
    said: list[str] = []
    ours = "run_id" in runs.columns
    evaluations = _or_none(tables.read, curves, table.parent / CURVES if ours else None, said)
    latents = _or_none(tables.read, None, table.parent / LATENTS if ours else None, said)
    content = None if refit else _or_none(read_json, fits, table.parent / FITS, said)
    runs, evaluations = _ours(runs, mapping or {}), _ours(evaluations, mapping or {}, partial=True)
    if content is None:
        content = fitted(runs, evaluations, said.append)
    files = [f"{table.name} ({len(runs):,} rows)"]
    if evaluations is not None:
        files.append(f"{(curves or Path(CURVES)).name} ({len(evaluations):,} evaluations)")
    if latents is not None:
        files.append(f"{LATENTS} ({len(latents):,} bins)")
    return Source(runs, evaluations, content, _name(runs, table), tuple(said), tuple(files), latents)


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


def _or_none(read: Callable[[Path], Any], named: Path | None, beside: Path | None, said: list[str]) -> Any:
    """The content of a file that was named; of one that lies beside, None where it is absent or broken."""
    if named is not None:
        if not named.is_file():
            raise FitError(f"There is no file {named}.")
        return read(named)
    if beside is None or not beside.is_file():
        return None
    try:
        return read(beside)
    except FitError as error:
        said.append(str(error).replace(f"{beside.parent}/", ""))  # the page is the same in every folder
        return None


def _ours(table: Any, mapping: Mapping[str, str], partial: bool = False) -> Any:
    """Our column names in place of the table's own; what is no plain value becomes text."""
    if table is None:
        return None
    foreign = set(mapping.values()) - set(mapping)
    table = tables.renamed(table, mapping, partial=partial).drop(columns=list(foreign), errors="ignore")
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
