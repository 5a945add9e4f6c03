"""A fingerprint of the rows of a table that depends neither on the file format nor on the order of the rows."""

import hashlib
import json
from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Fingerprint:
    """The number of rows of a table, and a hash of their contents."""

    rows: int
    hash: str


def fingerprint(table: pd.DataFrame) -> Fingerprint:
    """Hash the names of a table's columns and every value of its rows.

    The order of rows and of columns does not count, and neither does the way in which a value was stored: 32, 32.0 and
    the text "32" are equal, as are NaN, None, NA and an empty text. A table therefore keeps its fingerprint when it is
    saved as CSV instead of Parquet. Duplicate rows count as often as they occur.
    """
    names = sorted(str(column) for column in table.columns)
    columns = {str(column): table[column] for column in table.columns}
    digest = hashlib.blake2b(json.dumps(names).encode(), digest_size=16)
    if len(table) and names:
        cells = np.column_stack([_cells(columns[name]) for name in names])
        digest.update(cells[np.lexsort(cells.T)].astype("<u8").tobytes())
    return Fingerprint(len(table), digest.hexdigest())


def _cells(column: pd.Series) -> np.ndarray:
    """64 bits for each cell: those of its number where it is one, else of a hash of its text."""
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        return _bits(column.to_numpy(dtype=float, na_value=np.nan))
    codes, texts = pd.factorize(column.map(str).where(column.notna(), ""))
    numbers = pd.to_numeric(pd.Series(texts, dtype=object), errors="coerce").to_numpy(dtype=float)
    hashes = [
        int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") for text in texts
    ]
    words = np.array(hashes, dtype=np.uint64)
    is_text = np.isnan(numbers) & (np.asarray(texts, dtype=object) != "")
    return np.where(is_text, words, _bits(numbers))[codes]


def _bits(values: np.ndarray) -> np.ndarray:
    """The bits of float64 values, with one pattern for every NaN and for both zeros."""
    values = np.where(np.isnan(values), np.nan, values) + 0.0
    return np.ascontiguousarray(values, dtype=np.float64).view(np.uint64)
