"""The design of the sweep: the columns that vary, their values, the constant columns, and how many runs have ended."""

from dataclasses import dataclass

import pandas as pd

from fit.data import columns
from fit.views.page.run_table import (
    as_floats,
    as_texts,
    cell_text,
    counted,
    distinct_values,
    ended_count,
    state_counts,
    states,
)
from fit.views.page.study_report import StudyReport

# With more values of n or k than this, there is no table of n by k.
MOST_CELLS = 16


@dataclass(frozen=True)
class Axis:
    """A column that varies: its meaning, how many values it takes, and the values."""

    column: str
    meaning: str
    count: str
    values: str


@dataclass(frozen=True)
class Constant:
    """A column of the configuration with the same value in every run."""

    meaning: str
    values: str


@dataclass(frozen=True)
class Cell:
    """One n and k: the lowest loss of its done runs (None without any), how many are done, and how many there are."""

    lowest: str | None
    done: int
    runs: int


@dataclass(frozen=True)
class GridRow:
    """The cells of one n, one for each k."""

    n: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Grid:
    """A table of the lowest loss at each n and k."""

    k: tuple[str, ...]
    rows: tuple[GridRow, ...]


@dataclass(frozen=True)
class Design:
    """The design of the sweep.

    runs: how many there are, as `14 runs`; counted as rows if the table has no states. ended: how many have ended.
    states: how many runs are in each state, None for a table without states.
    """

    runs: str
    ended: str
    states: dict[str, str] | None
    axes: tuple[Axis, ...]
    grid: Grid | None
    constant: tuple[Constant, ...]


def axes(runs: pd.DataFrame) -> list[str]:
    """The settings that differ between runs, the most important first."""
    return [name for name in columns.axes() if name in runs.columns and as_texts(runs, name).nunique() > 1]


def design(report: StudyReport) -> Design:
    """The facts of the section."""
    runs = report.runs
    settings = {name: _meaning(column) for name, column in columns.axes().items() if name in runs.columns}
    varied = axes(runs)
    constant = [name for name in settings if name not in varied and runs[name].notna().any()]
    has_states = "state" in runs.columns
    return Design(
        runs=counted(len(runs), "run" if has_states else "row"),
        ended=f"{ended_count(runs):,}",
        states={state: f"{n:,}" for state, n in state_counts(runs).items()} if has_states else None,
        axes=tuple(_axis(runs, name, settings[name]) for name in varied),
        grid=_grid(runs),
        constant=tuple(Constant(settings[name], distinct_values(runs, name)) for name in constant),
    )


def _meaning(column: columns.Column) -> str:
    """`budget, tokens`: the label of a setting, and its unit if the label does not contain it."""
    return column.label if column.unit in column.label else f"{column.label}, {column.unit}"


def _axis(runs: pd.DataFrame, name: str, meaning: str) -> Axis:
    return Axis(name, meaning, f"{as_texts(runs, name).nunique():,}", distinct_values(runs, name))


def _grid(runs: pd.DataFrame) -> Grid | None:
    """The lowest loss at each n and k; None for a single n, for a table without k, and for a very large grid."""
    n, k = as_floats(runs, "n_latents"), as_floats(runs, "k")
    if not (1 < n.nunique() <= MOST_CELLS and 0 < k.nunique() <= MOST_CELLS):
        return None
    nmse, done = as_floats(runs, "nmse"), states(runs) == "done"
    ks = sorted(k.dropna().unique())
    rows = [
        GridRow(cell_text(size), tuple(_cell(nmse, done, (n == size) & (k == active)) for active in ks))
        for size in sorted(n.dropna().unique())
    ]
    return Grid(tuple(cell_text(active) for active in ks), tuple(rows))


def _cell(nmse: pd.Series, done: pd.Series, inside: pd.Series) -> Cell:
    losses = nmse[inside & done]
    lowest = cell_text(losses.min(), "nmse") if len(losses) else None
    return Cell(lowest, len(losses), int(inside.sum()))
