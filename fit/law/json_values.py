"""Plain values for JSON: numbers that are known or None, and the frozen records that are read back from them."""

import math
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from fit.law.errors import FitError
from fit.law.law import Array

T = TypeVar("T")


def plain(value: Any) -> Any:
    """numpy to Python, tuples to lists; NaN, NA and infinities to None; dates, as a column may hold, to text."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or pd.isna(value) or (isinstance(value, float) and math.isinf(value)):
        return None
    return value if isinstance(value, bool | int | float) else str(value)


def finite(value: float | Array) -> float | None:
    """A float, or None where it is not finite."""
    number = float(value)
    return number if math.isfinite(number) else None


def integral(value: float) -> int | float:
    """An int where the value is one, as n and k are."""
    return int(value) if float(value).is_integer() and abs(value) < 2**53 else float(value)


def record(kind: type[T], content: Mapping[str, Any], **parts: Any) -> T:
    """A frozen dataclass from plain data: its fields by name, lists as tuples; keys that are not fields are ignored.

    parts: fields that are records themselves, already read. FitError where a field without a default is absent.
    """
    known = fields(kind)  # type: ignore[arg-type]
    values = {f.name: _frozen(content[f.name]) for f in known if f.name in content}
    values |= parts
    absent = [
        f.name
        for f in known
        if f.name not in values and f.default is MISSING and f.default_factory is MISSING
    ]
    if absent:
        raise FitError(
            f"fits.json cannot be read: a {kind.__name__} has no {', '.join(absent)}. Fit the table again with "
            "`saescale fit`."
        )
    return kind(**values)


def _frozen(value: Any) -> Any:
    return tuple(_frozen(v) for v in value) if isinstance(value, list) else value
