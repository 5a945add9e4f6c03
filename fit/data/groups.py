"""Splits a table into groups of rows that may be fitted together: other data or another k is another experiment."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from fit.data import tables
from fit.law.json_values import integral, plain

# Rows that differ in these are different experiments; n_latents and k are the inputs.
GROUPS = ("data_fingerprint", "data", "d_model", "batch_tokens", "activation")


def groups(
    table: pd.DataFrame, always: Sequence[str], varying: Sequence[str], inputs: Sequence[str] = ()
) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """The groups of a table by the columns `always`, if it has them, and by the columns in `varying` that vary.

    The name of the data is used only if the table has no fingerprint. inputs: the law's inputs, which never split rows.
    """
    table_has = set(table.columns) - set(inputs)
    varying = [name for name in varying if name in table_has]
    varying = [name for name in varying if name != "data" or "data_fingerprint" not in table.columns]
    keys = [name for name in always if name in table_has]
    keys += [name for name in varying if not tables.single(table[name])]
    if not keys:
        yield {}, table
        return
    for values, part in table.groupby(keys, dropna=False, sort=True):
        yield {key: _plain(value) for key, value in zip(keys, values, strict=True)}, part


def _plain(value: Any) -> Any:
    """A key as JSON and the terminal show it: 32 for 32.0, None if it is missing."""
    if pd.isna(value):
        return None
    value = value.item() if isinstance(value, np.generic) else value
    return integral(value) if isinstance(value, float) else plain(value)
