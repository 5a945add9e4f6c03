"""Splits a table into groups of rows that may be fitted together: other data or another k is another experiment."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from fit.data import tables
from fit.law.caution import Caution, Kind
from fit.law.json_values import integral, plain

# The ends of runs whose lr decays are lower than points of a constant lr at the same compute.
SCHEDULE = "lr_schedule"
# The lr of μP is in other units. Tables of before there was a choice lack it.
PARAMETRIZATION = "parametrization"
_USUAL = {SCHEDULE: "constant", PARAMETRIZATION: "standard"}
# Rows that differ in these are different experiments; n_latents and k are the inputs.
GROUPS = ("data_fingerprint", "data", "d_model", "batch_tokens", "activation", SCHEDULE, PARAMETRIZATION)
SIZE = "n_latents"
# The different values of each input that a group needs for a law of its own.
FEWEST = 3


@dataclass(frozen=True)
class Split:
    """The columns that split a table into groups, and those that could and follow the size instead.

    following: the columns that have one value at each size, as d_model has in a family of language models. Split by
    them, each group would have too few sizes for a law.
    """

    by: tuple[str, ...] = ()
    following: tuple[str, ...] = ()

    @property
    def cautions(self) -> list[Caution]:
        """A caution for each column that follows the size."""
        return [
            Caution.advising(
                Kind.ROWS,
                f"{name} follows {SIZE} and does not split the rows, so the law is of both changing together",
                f"; --group {name} would split them.",
                (name,),
            )
            for name in self.following
        ]


def schedules(table: pd.DataFrame) -> pd.Series:
    """The schedule of the lr of each row, without differences in case; a missing one counts as constant."""
    return _with_usual(table)[SCHEDULE]


def split(
    table: pd.DataFrame,
    always: Sequence[str],
    varying: Sequence[str],
    inputs: Sequence[str] = (),
    asked: Sequence[str] | None = None,
) -> Split:
    """Which columns split a table.

    Parameters
    ----------
    table : the rows of one law.
    always : columns that split if the table has them.
    varying : columns that split if they vary. The name of the data counts only if the table has no fingerprint.
    inputs : the law's inputs, which never split rows.
    asked : the columns that the user wants split by, in place of all others; empty for none.

    Raises
    ------
    FitError
        If the table lacks a column that was asked for.
    """
    if asked is not None:
        tables.require(table, *asked, option="--group")
        return Split(tuple(asked))
    table, table_has = _with_usual(table), set(table.columns) - set(inputs)
    varying = [name for name in varying if name in table_has and not tables.single(table[name])]
    varying = [name for name in varying if name != "data" or "data_fingerprint" not in table.columns]
    keys = [name for name in always if name in table_has]
    if PARAMETRIZATION in table_has and (table[PARAMETRIZATION] != _USUAL[PARAMETRIZATION]).any():
        keys.append(
            PARAMETRIZATION
        )  # also where all rows have it: the fit then says in which units its lr is
        varying = [name for name in varying if name != PARAMETRIZATION]
    sizes = [name for name in (inputs or (SIZE,)) if name in table.columns]
    following = [name for name in dict.fromkeys([*keys, *varying]) if _follows(table, name, sizes)]
    return Split(tuple(name for name in [*keys, *varying] if name not in following), tuple(following))


def groups(
    table: pd.DataFrame,
    always: Sequence[str],
    varying: Sequence[str],
    inputs: Sequence[str] = (),
    asked: Sequence[str] | None = None,
) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """The groups of a table by the columns of its `split`, which takes the same arguments."""
    keys = list(split(table, always, varying, inputs, asked).by)
    if not keys:
        yield {}, table
        return
    if set(_USUAL) & set(keys):
        table = _with_usual(table)
    for values, part in table.groupby(keys, dropna=False, sort=True):
        yield {key: _plain(value) for key, value in zip(keys, values, strict=True)}, part


def _with_usual(table: pd.DataFrame) -> pd.DataFrame:
    """The table with the usual value where the schedule or the parametrisation is missing, and none in other case."""
    columns = {
        name: table[name].astype("string").str.strip().str.lower().fillna(usual)
        for name, usual in _USUAL.items()
        if name in table.columns
    }
    return table.assign(**columns) if columns else table


def _follows(table: pd.DataFrame, name: str, sizes: Sequence[str]) -> bool:
    """Whether a column only follows the size: it has one value at each size, and most of its groups too few sizes.

    A column of numbers also rises or falls with the size. One of texts has one size in each of its groups, because
    there is no order that could tell a following column from two experiments at different sizes.
    """
    if SIZE not in table.columns or name in sizes or tables.single(table[name]):
        return False
    one_each = table.groupby(SIZE, dropna=False)[name].nunique(dropna=False).eq(1).all()
    parts = table.groupby(name, dropna=False)
    if not one_each or len(parts) < 2:
        return False
    if pd.api.types.is_numeric_dtype(table[name]) and not pd.api.types.is_bool_dtype(table[name]):
        values = table.drop_duplicates(SIZE).sort_values(SIZE)[name]
        if not (values.is_monotonic_increasing or values.is_monotonic_decreasing):
            return False
        needed = {size: min(FEWEST, table[size].nunique()) for size in sizes}
        fits = pd.DataFrame({size: parts[size].nunique() >= count for size, count in needed.items()})
        return bool(fits.all(axis=1).mean() < 0.5)
    return bool(parts[SIZE].nunique().eq(1).all())


def _plain(value: Any) -> Any:
    """A key as JSON and the terminal show it: 32 for 32.0, None if it is missing."""
    if pd.isna(value):
        return None
    value = value.item() if isinstance(value, np.generic) else value
    return integral(value) if isinstance(value, float) else plain(value)
