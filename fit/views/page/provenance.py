"""The origin of the numbers: commit, versions, machines, seeds and times of the runs, and the files that were read."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pandas as pd

from fit.study.fits_file import version
from fit.views.page.run_table import as_texts, counted
from fit.views.page.study_report import StudyReport

COLUMNS = {
    "git_sha": "commit",
    "git_dirty": "uncommitted changes",
    "saescale": "saescale",
    "torch": "torch",
    "triton": "triton",
    "device": "device",
    "threads": "threads",
    "host": "host",
    "seed": "seed",
    "shuffle_seed": "seed of the order of tokens",
    "data_fingerprint": "fingerprint of the data",
}
MOST_VALUES = 8


@dataclass(frozen=True)
class Value:
    """A value and how many runs have it."""

    text: str
    runs: str


@dataclass(frozen=True)
class Column:
    """A column of provenance with its values, the most frequent first; more: how many further values there are."""

    meaning: str
    values: tuple[Value, ...]
    more: int


@dataclass(frozen=True)
class Provenance:
    """The origin of the numbers.

    period: from the first start to the last end, None if neither is known. sources: files and versions.
    """

    columns: tuple[Column, ...]
    period: str | None
    sources: tuple[str, ...]


def provenance(report: StudyReport) -> Provenance:
    """The facts of the section."""
    runs = report.runs
    columns = [_column(runs, name) for name in COLUMNS if name in runs.columns and runs[name].notna().any()]
    times = [time for time in (_extreme(runs, "started", min), _extreme(runs, "ended", max)) if time]
    sources = (*report.files, f"page by saescale {version() or 'from a checkout'}")
    return Provenance(tuple(columns), " … ".join(times) or None, sources)


def _column(runs: pd.DataFrame, name: str) -> Column:
    counts = as_texts(runs, name).value_counts()
    counts = counts.rename(index={"": "not known"}).sort_index().sort_values(ascending=False, kind="stable")
    values = [Value(str(text), counted(int(count), "run")) for text, count in counts.items()]
    return Column(COLUMNS[name], tuple(values[:MOST_VALUES]), max(len(values) - MOST_VALUES, 0))


def _extreme(runs: pd.DataFrame, column: str, choose: Callable[[Iterable[str]], str]) -> str | None:
    """The first or the last of a column of ISO dates."""
    known = [text for text in as_texts(runs, column) if text]
    return choose(known) if known else None
