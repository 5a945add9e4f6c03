"""A cell of our tables as text: digits by its column, a missing number as a dash and never as 0."""

from typing import Any

import numpy as np
import pandas as pd

from fit.data.number_format import number, percent, significant
from fit.views.page.markup import MISSING

SHARES = ("dead_fraction", "tail_gap", "last_doubling")


def known(value: Any) -> bool:
    """Whether there is a value: not None, NaN or NA."""
    return value is not None and value is not pd.NA and bool(value == value)


def values(table: pd.DataFrame, column: str) -> pd.Series:
    """A column as floats, NaN where it is absent, missing or holds no number."""
    if column not in table.columns:
        return pd.Series(np.nan, index=table.index, dtype=float)
    numbers = pd.to_numeric(table[column], errors="coerce")
    return pd.Series(numbers.to_numpy(dtype=float, na_value=np.nan), index=table.index)


def names(table: pd.DataFrame, column: str) -> pd.Series:
    """A column as texts, empty where it is absent or missing."""
    if column not in table.columns:
        return pd.Series("", index=table.index, dtype=object)
    return table[column].map(lambda value: shown(value, column) if known(value) else "").astype(object)


def shown(value: Any, column: str = "") -> str:
    """`131,072`, `0.1547`, `1.6e+12`, `4.00 %`, `yes`; a dash where there is nothing."""
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
        return number(round(value), 0)
    return f"{value:.3g}".replace("-", "−")


def counted(count: int, one: str, many: str | None = None) -> str:
    """`1 run`, `2,000 runs`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def spread(column: str, of: pd.Series, most: int = 8) -> str:
    """The values that a column takes, in order: all of a few, else the ends and how many lie between."""
    numeric = pd.to_numeric(of, errors="coerce")
    if numeric.notna().sum() == of.notna().sum() and of.notna().any():
        distinct = [shown(v, column) for v in sorted(set(numeric.dropna().tolist()))]
    else:
        distinct = sorted({shown(v, column) for v in of.dropna()})
    if len(distinct) <= most:
        return ", ".join(distinct)
    return f"{distinct[0]} … {distinct[-1]} ({len(distinct):,} values)"
