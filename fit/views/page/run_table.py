"""Reads the table of runs for the page: columns as numbers or as texts, cells as text, and the state of each run."""

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from fit.data import tables
from fit.law.errors import FitError
from fit.views.format import MISSING, percent, significant

SHARES = ("dead_fraction", "tail_gap", "last_doubling")
STATES = ("done", "running", "pending", "stopped", "diverged", "failed", "cancelled", "unreadable")
# States that a run does not leave by itself: it continues only after `saescale retry` or another launch.
FINAL_STATES = ("done", "diverged", "failed", "cancelled", "unreadable")
UNKNOWN = "unknown"


def known(value: Any) -> bool:
    """Whether there is a value: not None, NaN or NA."""
    return value is not None and value is not pd.NA and bool(value == value)


def as_floats(table: pd.DataFrame, column: str) -> pd.Series:
    """A column as floats, NaN where it is absent, missing or not a number."""
    if column not in table.columns:
        return pd.Series(np.nan, index=table.index, dtype=float)
    numbers = pd.to_numeric(table[column], errors="coerce")
    return pd.Series(numbers.to_numpy(dtype=float, na_value=np.nan), index=table.index)


def as_texts(table: pd.DataFrame, column: str) -> pd.Series:
    """A column as texts, empty where it is absent or missing."""
    if column not in table.columns:
        return pd.Series("", index=table.index, dtype=object)
    return table[column].map(lambda value: cell_text(value, column) if known(value) else "").astype(object)


def cell_text(value: Any, column: str = "") -> str:
    """`131,072`, `0.1547`, `1.6e+12`, `4.00 %`, `yes`, with the digits its column needs; a dash for a missing value."""
    if not known(value):
        return MISSING
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if not isinstance(value, int | float | np.integer | np.floating):
        return str(value)
    value = float(value)
    if not np.isfinite(value):
        return str(value).replace("-", "−").replace("inf", "∞")
    if column in SHARES:
        return percent(value)
    if value.is_integer() and abs(value) < 1e12 and not column.startswith("flops"):
        return f"{int(value):,}".replace("-", "−")
    if column.startswith("nmse"):
        return significant(value, 4)
    if column.startswith("flops"):
        return significant(value, 3)
    if abs(value) >= 1000:
        return f"{value:,.0f}".replace("-", "−")
    return f"{value:.3g}".replace("-", "−")


def counted(count: int, one: str, many: str | None = None) -> str:
    """`1 run`, `2,000 runs`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def distinct_values(table: pd.DataFrame, column: str, most: int = 8) -> str:
    """The values of a column in order: all of them, or if there are more than `most`, both ends and the number.

    A dash at the end stands for rows without a value.
    """
    values = table[column]
    numeric = pd.to_numeric(values, errors="coerce")
    if numeric.notna().sum() == values.notna().sum() and values.notna().any():
        distinct = [cell_text(v, column) for v in sorted(set(numeric.dropna().tolist()))]
    else:
        distinct = sorted({cell_text(v, column) for v in values.dropna()})
    if distinct and values.isna().any():
        distinct.append(MISSING)
    if len(distinct) <= most:
        return ", ".join(distinct)
    return f"{distinct[0]} … {distinct[-1]} ({len(distinct):,} values)"


def states(runs: pd.DataFrame) -> pd.Series:
    """The state of each run; `done` for every row of a table without states."""
    if "state" not in runs.columns:
        return pd.Series("done", index=runs.index, dtype=object)
    return as_texts(runs, "state").replace("", UNKNOWN)


def state_counts(runs: pd.DataFrame) -> dict[str, int]:
    """How many runs are in each state that occurs, in the order of `STATES`, other states at the end."""
    count = Counter(states(runs))
    ordered = (*STATES, *sorted(count.keys() - set(STATES)))
    return {state: count[state] for state in ordered if state in count}


def ended_count(runs: pd.DataFrame) -> int:
    """How many runs are in a final state."""
    return int(states(runs).isin(FINAL_STATES).sum())


def converged_counts(runs: pd.DataFrame) -> tuple[int, int, int] | None:
    """How many done runs are converged, not converged, and not known to be either; None without the column."""
    done = runs[states(runs) == "done"]
    if "converged" not in runs.columns:
        return None
    try:
        yes, unknown = tables.truths(done, "converged")
    except FitError:
        return None
    return int(yes.sum()), int((~yes & ~unknown).sum()), int(unknown.sum())
