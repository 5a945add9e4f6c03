"""Conditions and derived values over a grid cell or a run, in the language of `fit.data.conditions`."""

from collections.abc import Callable, Mapping
from typing import Any

from fit.data import conditions
from fit.law.errors import FitError
from sweeps.errors import SweepError


def holds(text: str, row: Mapping[str, Any]) -> bool:
    """Return whether the condition holds for the row. Raises SweepError if it is not a condition on its columns."""
    try:
        return conditions.holds(text, row)
    except FitError as error:
        raise SweepError(str(error)) from error


def compute(text: str, row: Mapping[str, Any], functions: Mapping[str, Callable[..., Any]]) -> Any:
    """Return the value of the expression for the row. Raises SweepError if it cannot be parsed or has no value."""
    try:
        return conditions.value(text, row, functions)
    except FitError as error:
        raise SweepError(str(error)) from error
