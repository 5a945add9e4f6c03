"""The table of all runs: plain HTML for every browser, and the same rows with every column as data for page.js."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from fit.data.columns import axes
from fit.views.page.marked_runs import SIDE
from fit.views.page.run_table import (
    STATES,
    UNKNOWN,
    as_floats,
    as_texts,
    cell_text,
    known,
    state_counts,
    states,
)
from fit.views.page.study_report import StudyReport

# Columns that are visible at first, if they are known; settings only if they differ between runs.
SHOWN_FIRST = (
    "side", "state", "n_latents", "k", "lr", "batch_tokens", "seed", "data", "model", "layer", "d_model", "activation",
    "tokens", "nmse", "converged", "dead_fraction", "flops_sparse", "tokens_per_second", "run_id", "failure", "message",
)  # fmt: skip
# Of two studies on one page, each mostly has one value of these, which the table of what differs has: in the table of
# runs they would push the loss out of a window of 1280 px.
OF_THE_DATA = ("data", "model", "layer", "d_model")
# The number of columns that are visible at first in a table that has none of these.
MOST_FOREIGN = 12
ORDER = ("side", "study", "data", "d_model", "k", "n_latents", "lr", "batch_tokens", "seed", "run_id")


@dataclass(frozen=True)
class Column:
    """A column of the table.

    Its cells are texts, None for a missing value. values: the cells as numbers or booleans, to sort and filter by; None
    for a column of texts.
    """

    name: str
    texts: list[str | None]
    values: list[float | None] | list[bool | None] | None = None
    numeric: bool = False

    def css_class(self, row: int) -> str:
        """The CSS class of a cell in the column of states; unknown states have no colour."""
        text = self.texts[row]
        return text if text in STATES else UNKNOWN

    def to_json(self) -> dict[str, Any]:
        """The data that page.js reads."""
        data: dict[str, Any] = {"numeric": self.numeric, "texts": self.texts}
        return data if self.values is None else {**data, "values": self.values}


@dataclass(frozen=True)
class RunTable:
    """The facts of the section.

    count: the number of rows. first: the columns that are visible at first. empty: columns without any value. data: for
    page.js, every other column with its cells, the names of the empty columns, and the states that occur.
    """

    count: int
    first: tuple[Column, ...]
    empty: tuple[str, ...]
    data: dict[str, Any]


def run_table(report: StudyReport) -> RunTable:
    """The facts of the section."""
    runs = ordered(report.runs)
    settings = axes()
    empty = tuple(name for name in runs.columns if not runs[name].notna().any())
    columns = {name: _column(runs, name) for name in runs.columns if name not in empty}
    first = [
        name for name in SHOWN_FIRST if name in columns and not (name in settings and _constant(runs, name))
    ]
    first = first or list(columns)[:MOST_FOREIGN]
    data = {
        "columns": {name: column.to_json() for name, column in columns.items()},
        "shown": first,
        "empty": list(empty),
        "states": list(state_counts(runs)) if "state" in columns else [],
    }
    return RunTable(len(runs), tuple(columns[name] for name in first), empty, data)


def ordered(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs sorted by their configuration, with numbers sorted as numbers. The order in the file does not matter."""
    keys = [name for name in ORDER if name in runs.columns]
    floats = {name: as_floats(runs, name) for name in keys}
    by = pd.DataFrame({name: v if v.notna().any() else as_texts(runs, name) for name, v in floats.items()})
    return runs.loc[by.sort_values(keys, kind="stable").index] if keys else runs


def _constant(runs: pd.DataFrame, name: str) -> bool:
    """Whether all runs have one value of a setting; of the data, whether those of each of two studies have."""
    values = as_texts(runs, name)
    if SIDE in runs.columns and name in OF_THE_DATA:
        return bool((values.groupby(runs[SIDE].to_numpy()).nunique() <= 1).all())
    return len(runs) > 1 and values.nunique() <= 1


def _column(runs: pd.DataFrame, name: str) -> Column:
    cells = runs[name]
    if name == "state":
        return Column(name, states(runs).tolist())
    texts: list[str | None] = [cell_text(value, name) for value in cells]
    if pd.api.types.is_numeric_dtype(cells) and not pd.api.types.is_bool_dtype(cells):
        values = as_floats(runs, name).tolist()
        return Column(name, texts, [value if np.isfinite(value) else None for value in values], numeric=True)
    texts = [text if known(value) else None for text, value in zip(texts, cells, strict=True)]
    if all(isinstance(value, bool | np.bool_) for value in cells if known(value)):
        return Column(name, texts, [bool(value) if known(value) else None for value in cells])
    return Column(name, texts)
