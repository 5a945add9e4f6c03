"""Result tables: reading, mapping foreign column names, numbers written as text, choosing rows, checking numbers."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from fit.data import conditions
from fit.data.conversion import Need, header_unit, need, read_numbers
from fit.data.near_names import did_you_mean
from fit.data.quantities import NO_NUMBER
from fit.data.reading.table_file import read_file
from fit.data.usual_names import Usual, decides, is_explained_variance, usual_names
from fit.law.errors import FitError
from fit.law.json_values import integral

# Where a table remembers the names that its columns had before `renamed`, for error sentences.
_FOREIGN = "saescale.foreign_names"
# Where it remembers which of its columns could be one of ours.
_UNSURE = "saescale.unsure_names"
# Where a table remembers that it was read from a file, whose rows a user counts from 1.
_READ = "saescale.read"


def read(path: Path | str, say: Callable[[str], None] = print, sheet: str | None = None) -> pd.DataFrame:
    """Read a table: CSV and other separated text, Parquet, Feather, JSON, JSON lines, XLSX, also compressed.

    say: called with a sentence for whatever a reader should know about how it was read, such as its separator. sheet:
    of a workbook, the first with rows by default. Raises FitError if the file holds no table; it says what the file
    looks like.
    """
    file = read_file(Path(path), sheet)
    for note in file.notes:
        say(note)
    file.table.attrs[_READ] = True
    return file.table


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
    present = {ours: theirs for ours, theirs in mapping.items() if theirs in table.columns}
    named = table.assign(**{ours: table[theirs] for ours, theirs in present.items()})
    foreign = {ours: theirs for ours, theirs in present.items() if ours != theirs}
    named.attrs = {**table.attrs, _FOREIGN: {**table.attrs.get(_FOREIGN, {}), **foreign}}
    return named


def usual(table: pd.DataFrame, given: Mapping[str, str]) -> Usual:
    """Our names for a table's columns with usual names, see `usual_names`.

    The table remembers which are not sure, for the fit that needs one; those that it knew before are left out.
    """
    found, known = usual_names(table, given), table.attrs.get(_UNSURE, {})
    table.attrs[_UNSURE] = {**known, **found.unsure}
    return replace(found, unsure={ours: names for ours, names in found.unsure.items() if ours not in known})


def in_numbers(table: pd.DataFrame, mapping: Mapping[str, str]) -> tuple[pd.DataFrame, list[str]]:
    """A table from `renamed` with numbers where texts such as `2^9` or `16k` stand, and a sentence for each kind.

    Converted are our columns that hold numbers and those that are mapped, under both names; see `fit.data.conversion`.
    A unit in the header of a mapped column, as in `C (PFLOPs)`, concerns our column, which has its own unit.
    """
    notes: list[str] = []
    columns: dict[str, pd.Series] = {}
    for name in map(str, table.columns):
        wanted = need(name)
        theirs = mapping.get(name)
        if wanted is None or (theirs is None and not wanted.known) or name not in table.columns:
            continue
        read = read_numbers(table[name], wanted, label(table, name))
        unit = header_unit(theirs, wanted) if theirs is not None and theirs != name else None
        notes += read.notes
        if read.values is not table[name]:
            columns[name] = read.values
            if theirs is not None and _only_numbers(theirs, mapping):
                columns.setdefault(theirs, read.values.rename(theirs))
        if unit is not None and not read.refused and pd.api.types.is_numeric_dtype(read.values):
            columns[name] = read.values * float(unit[1])
            notes.append(
                f"{label(table, name)}: every value was multiplied by {float(unit[1]):g}, for {unit[0]} in its name."
            )
        if name == "nmse" and theirs is not None and is_explained_variance(theirs) and not read.refused:
            columns[name] = _unexplained(table, columns.get(name, table[name]))
            notes.append(f"nmse is 1 − {theirs}, since an explained variance rises where a loss falls.")
    return (table.assign(**columns) if columns else table), notes


def _unexplained(table: pd.DataFrame, explained: pd.Series) -> pd.Series:
    """1 − the explained variance. Raises FitError if it is above 1, as one in percent is."""
    values = pd.to_numeric(explained, errors="coerce")
    if (values > 1).any():
        at = int(np.flatnonzero(values > 1)[0])
        raise FitError(
            f"The column {label(table, 'nmse')} is called an explained variance and holds {values.iloc[at]:g} in "
            f"{row_of(table, at)}, which is above 1: write it as a fraction or with %, or rename it if it is a loss."
        )
    return 1 - values


def _only_numbers(theirs: str, mapping: Mapping[str, str]) -> bool:
    """Whether a foreign column is mapped to columns of numbers only, and not to a name or a flag too."""
    return all(need(ours) is not None for ours, name in mapping.items() if name == theirs)


def label(table: pd.DataFrame, column: str) -> str:
    """A column as the user knows it: `nmse (your column loss)` where it was mapped."""
    theirs = table.attrs.get(_FOREIGN, {}).get(column)
    return column if theirs is None else f"{column} (your column {theirs})"


def renames(table: pd.DataFrame, column: str) -> bool:
    """Whether a column is one of ours under its foreign name."""
    return column in table.attrs.get(_FOREIGN, {}).values()


def require(table: pd.DataFrame, *columns: str, option: str | None = None) -> None:
    """Raise FitError if columns are missing; it names them, those present, and how to map them.

    option: the option that names these columns, as `--weights`; they are then not to be mapped.
    """
    absent = [name for name in dict.fromkeys(columns) if name not in table.columns]
    if not absent:
        return
    has = f"The table has no column {', '.join(absent)}; it has {', '.join(map(str, table.columns))}."
    near = did_you_mean(absent[0], table.columns)
    if option is not None:
        raise FitError(f"{has}{near} Give {option} one of these columns.")
    unsure: Mapping[str, tuple[str, ...]] = table.attrs.get(_UNSURE, {})
    if names := unsure.get(absent[0]):
        raise FitError(f"{has} It could be {' or '.join(names)}: {decides(absent[0], names)}.")
    example = ",".join(f"{name}=COLUMN" for name in absent)
    raise FitError(f"{has}{near} If it is there under another name, add --map {example}.")


def where(table: pd.DataFrame, condition: str | None) -> pd.DataFrame:
    """The rows that meet a condition such as `k == 32 and n_latents > 512`; see `fit.data.conditions`."""
    if condition is None:
        return table
    _refuse_numbers_as_text(table, condition)
    kept = table[conditions.mask(condition, table)]
    if kept.empty:
        raise FitError(f"No row has {condition}: {len(table)} rows were looked at. Loosen the condition.")
    return kept


def _refuse_numbers_as_text(table: pd.DataFrame, condition: str) -> None:
    """Raise FitError where a condition compares numbers with a column of numbers written as text, such as 16k."""
    for name in sorted(conditions.compared_with_numbers(condition) & set(map(str, table.columns))):
        column = table[name]
        read = read_numbers(column, Need(name, known=False))
        if read.values is not column and not read.refused:
            first = next(cell for cell in column.tolist() if isinstance(cell, str))
            raise FitError(
                f"{condition} compares {name} with numbers, and the table has it as text ({first!r}): add "
                f"--map {name}={name}, and it is read as numbers."
            )


def numbers(table: pd.DataFrame, column: str) -> np.ndarray:
    """A column as floats, NaN where missing. Raises FitError if it is absent or has a value that is not a number."""
    require(table, column)
    values = table[column]
    if pd.api.types.is_bool_dtype(values):
        raise FitError(
            f"The column {label(table, column)} holds true and false instead of numbers: map another column."
        )
    if pd.api.types.is_datetime64_any_dtype(values) or pd.api.types.is_timedelta64_dtype(values):
        raise FitError(
            f"The column {label(table, column)} holds dates or times instead of numbers: map another column."
        )
    try:
        return pd.to_numeric(values).to_numpy(dtype=float, na_value=np.nan)
    except (ValueError, TypeError) as error:
        raise FitError(_no_numbers(table, column)) from error


def _no_numbers(table: pd.DataFrame, column: str) -> str:
    """A sentence about the first value of a column that is not a number, and how to leave its row out."""
    name, values = label(table, column), table[column]
    wanted = need(column) or Need(column, known=False)
    refused = read_numbers(values, wanted).refused
    texts = [cell for cell in values.tolist() if isinstance(cell, str)]
    if texts and len(texts) == int(values.notna().sum()) and all(text in refused for text in texts):
        some = ", ".join(map(repr, dict.fromkeys(texts[:3])))
        why = "" if refused[texts[0]] == NO_NUMBER else f"; {refused[texts[0]]}"
        return f"The column {name} holds no numbers ({some}{why}): map another column to {column}."
    bad = next((at for at, cell in enumerate(values) if isinstance(cell, str) and cell in refused), None)
    if bad is None:
        return (
            f"The column {name} holds numbers as text ({texts[0]!r}): add --map {column}={column}, and they are read."
            if texts
            else f"The column {name} holds values that are not numbers."
        )
    text = values.iloc[bad]
    return (
        f"The column {name} holds {text!r} in {row_of(table, bad)}: {refused[text]}. Correct it, or leave the row out "
        f'with --where "{column} != {text!r}".'
    )


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
    """Raise FitError if a value is missing, infinite, 0 or negative; it names the rows and how to leave them out."""
    for column in columns:
        values = numbers(table, column)
        kinds = {
            "missing": (np.isnan(values), f"{column} is not missing"),
            "inf": (np.isinf(values), f"{column} < 1e308"),
            "0 or negative": (np.isfinite(values) & (values <= 0), f"{column} > 0"),
        }
        present = {
            kind: (np.flatnonzero(rows), condition) for kind, (rows, condition) in kinds.items() if rows.any()
        }
        if not present:
            continue
        parts = [f"{kind} in {_rows(table, rows)}" for kind, (rows, _) in present.items()]
        condition = next(iter(present.values()))[1] if len(present) == 1 else f"0 < {column} < 1e308"
        count = sum(len(rows) for rows, _ in present.values())
        have, them = ("has", "it") if count == 1 else ("have", "them")
        raise FitError(
            f"{count} of {len(table)} rows {have} no usable {label(table, column)}: it is {' and '.join(parts)}. "
            f'Correct {them}, or leave the row{"s" * (count != 1)} out with --where "{condition}".'
        )


def finite(table: pd.DataFrame, column: str) -> None:
    """Raise FitError if a value is missing or infinite; it names the rows and how to leave them out."""
    values = numbers(table, column)
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        condition = f"{column} is not missing" if np.isnan(values).any() else f"-1e308 < {column} < 1e308"
        raise FitError(
            f"{len(bad)} of {len(table)} rows have no usable {label(table, column)}: it is missing or infinite in "
            f'{_rows(table, bad)}. Correct it, or leave these rows out with --where "{condition}".'
        )


def _rows(table: pd.DataFrame, rows: np.ndarray) -> str:
    """The first five rows."""
    first = ", ".join(row_of(table, int(at)) for at in rows[:5])
    return first + (f" and {len(rows) - 5} more" if len(rows) > 5 else "")


def row_of(table: pd.DataFrame, position: int) -> str:
    """A row as the user finds it, with its n_latents if it has one.

    In a table that was read from a file it is counted from 1 below the header; in any other it is named by its index.
    """
    at = table.index[position]
    counted = isinstance(at, int | np.integer) and table.attrs.get(_READ, False)
    number = f"row {int(at) + 1}" if counted else f"the row of index {at}"
    if "n_latents" not in table.columns:
        return number
    n = table["n_latents"].iloc[position]
    return (
        f"{number} (n_latents {n:g})" if isinstance(n, int | float | np.number) and np.isfinite(n) else number
    )


def known_single(table: pd.DataFrame, column: str) -> int | float | None:
    """The one number that all rows have in a column; None if they differ, or it is absent or unknown."""
    if column not in table.columns:
        return None
    values = np.unique(numbers(table, column))
    return integral(float(values[0])) if len(values) == 1 and np.isfinite(values[0]) else None


def single(values: pd.Series) -> bool:
    """Whether a column has at most one value."""
    return values.nunique(dropna=False) <= 1
