"""Result tables: reading CSV and Parquet, mapping foreign column names, choosing rows, checking numbers."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from fit.data import conditions
from fit.data.near_names import did_you_mean
from fit.law.errors import FitError


def read(path: Path | str) -> pd.DataFrame:
    """Read a .csv or .parquet file. Raises FitError if it cannot be read or has no rows."""
    path = Path(path)
    if path.suffix.lower() not in (".csv", ".parquet"):
        raise FitError(f"{path} is neither .csv nor .parquet: save the table as one of them.")
    if not path.is_file():
        raise FitError(f"There is no file {path}: give the path of a table.")
    try:
        table = pd.read_csv(path) if path.suffix.lower() == ".csv" else pd.read_parquet(path)
    except Exception as error:  # each reader has its own exceptions for broken files
        raise FitError(f"{path} cannot be read ({' '.join(str(error).split())}): is it complete?") from error
    if table.empty:
        raise FitError(f"{path} has no rows: there is nothing to fit.")
    return table


def parse_mapping(text: str) -> dict[str, str]:
    """`n_latents=n,nmse=loss` as {our name: the table's name}."""
    mapping: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        ours, _, theirs = pair.partition("=")
        if not ours.strip() or not theirs.strip():
            raise FitError(
                f"{pair!r} is not a mapping: write our name = the table's name, as n_latents=n,k=k,nmse=loss."
            )
        if ours.strip() in mapping:
            raise FitError(f"{text!r} maps {ours.strip()} twice: name one column for it.")
        mapping[ours.strip()] = theirs.strip()
    return mapping


def renamed(table: pd.DataFrame, mapping: Mapping[str, str], partial: bool = False) -> pd.DataFrame:
    """The table with our column names added to its own. partial: ignore names that the table does not have."""
    absent = [theirs for theirs in mapping.values() if theirs not in table.columns]
    if absent and not partial:
        raise FitError(
            f"The table has no column {absent[0]!r} to map; it has {', '.join(map(str, table.columns))}."
            f"{did_you_mean(absent[0], table.columns)}"
        )
    return table.assign(
        **{ours: table[theirs] for ours, theirs in mapping.items() if theirs in table.columns}
    )


def require(table: pd.DataFrame, *columns: str) -> None:
    """Raise FitError if columns are missing; it names them, those present, and how to map them."""
    absent = [name for name in dict.fromkeys(columns) if name not in table.columns]
    if absent:
        example = ",".join(f"{name}=COLUMN" for name in absent)
        raise FitError(
            f"The table has no column {', '.join(absent)}; it has {', '.join(map(str, table.columns))}."
            f"{did_you_mean(absent[0], table.columns)} If it is there under another name, add --map {example}."
        )


def where(table: pd.DataFrame, condition: str | None) -> pd.DataFrame:
    """The rows that meet a condition such as `k == 32 and n_latents > 512`; see `fit.data.conditions`."""
    if condition is None:
        return table
    kept = table[conditions.mask(condition, table)]
    if kept.empty:
        raise FitError(f"No row has {condition}: {len(table)} rows were looked at. Loosen the condition.")
    return kept


def numbers(table: pd.DataFrame, column: str) -> np.ndarray:
    """A column as floats, NaN where missing. Raises FitError if it is absent or has a value that is not a number."""
    require(table, column)
    if pd.api.types.is_bool_dtype(table[column]):
        raise FitError(f"The column {column} holds true and false instead of numbers: map another column.")
    try:
        return pd.to_numeric(table[column]).to_numpy(dtype=float, na_value=np.nan)
    except (ValueError, TypeError) as error:
        raise FitError(
            f"The column {column} holds a value that is not a number: {' '.join(str(error).split())}"
        ) from error


def numeric(table: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """The table with the given columns as floats, see `numbers`; those that it does not have are ignored."""
    return table.assign(**{name: numbers(table, name) for name in columns if name in table.columns})


def truths(table: pd.DataFrame, column: str) -> tuple[np.ndarray, np.ndarray]:
    """Flags of a column of true, false and missing values: where it is true, and where it is missing."""
    known = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
    texts = table[column].astype("string").str.strip().str.lower()
    values = texts.map(known)
    odd = texts[values.isna() & texts.notna() & (texts != "")]
    if len(odd):
        raise FitError(f"The column {column} holds {odd.iloc[0]!r}: write True, False, or leave it empty.")
    return values.eq(True).fillna(False).to_numpy(dtype=bool), values.isna().to_numpy(dtype=bool)


def positive(table: pd.DataFrame, *columns: str) -> None:
    """Raise FitError if a value is missing, 0 or negative; it says how many rows, and shows the first five."""
    for column in columns:
        values = numbers(table, column)
        bad = table.index[~(np.isfinite(values) & (values > 0))]
        if len(bad):
            shown = ", ".join(f"row {i}: {table.at[i, column]!s}" for i in bad[:5])
            more = f" and {len(bad) - 5} more" if len(bad) > 5 else ""
            raise FitError(
                f"{len(bad)} of {len(table)} rows have a {column} that is missing, 0 or negative ({shown}{more}). "
                "Correct them or leave them out with --where."
            )


def single(values: pd.Series) -> bool:
    """Whether a column has at most one value."""
    return values.nunique(dropna=False) <= 1
