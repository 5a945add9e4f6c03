"""The parts of a table whose rows may be fitted together: rows of other data or another k are other experiments."""

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
    """The table in parts: by the columns `always`, where there are any, and by those of `varying` that vary.

    The name of the data counts only where there is no fingerprint. inputs: of the law, never what parts its rows.
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
    """A key as JSON and the screen show it: 32 for 32.0, None where it is missing."""
    if pd.isna(value):
        return None
    value = value.item() if isinstance(value, np.generic) else value
    return integral(value) if isinstance(value, float) else plain(value)
