"""Writes a fit as text: the rows that it describes, its parameters with their intervals, and its held-out error."""

from collections.abc import Mapping
from typing import Any

from fit.law.checks.held_out import HeldOut
from fit.law.result import FitResult
from fit.law.selection import OptimumSelection
from fit.views.format import METHODS, MISSING, Estimate, percent, symbol, with_interval
from fit.views.page.run_table import cell_text


def group_name(group: Mapping[str, Any]) -> str:
    """`k = 32, d = 768`: the values that the rows share, or the inputs of a derived quantity."""
    return ", ".join(
        f"{symbol(column)} = {cell_text(value)}" for column, value in group.items() if value is not None
    )


def fit_name(fit: FitResult) -> str:
    """`k = 32, by crossovers`; empty for a fit that has neither a group nor a choice of method."""
    method = METHODS.get(fit.selection.method) if isinstance(fit.selection, OptimumSelection) else None
    return ", ".join(filter(None, [group_name(fit.group), method and f"by {method}"]))


def interval(param: Estimate | None) -> str:
    """`0.357 [0.340, 0.374]`; a dash if the law does not have the parameter or its value is undefined."""
    if param is None or param.value is None:
        return MISSING
    return with_interval(param.value, param.low, param.high)


def held_out_error(held: HeldOut | None) -> str:
    """The relative error at the held-out largest scale; of several points, their root mean square."""
    if held is None:
        return MISSING
    if len(held.points) == 1:
        return percent(held.points[0].relative_error, signed=True)
    return percent(held.score.rms_log)


def held_out_inside(held: HeldOut | None) -> str:
    """How many of the held-out points lie inside their intervals, as `inside` or `1 of 4 inside`."""
    verdicts = [point.inside for point in held.points if point.inside is not None] if held else []
    if not verdicts:
        return MISSING
    if len(verdicts) == 1:
        return "inside" if verdicts[0] else "outside"
    return f"{sum(verdicts)} of {len(verdicts)} inside"


def optional_percent(value: float | None) -> str:
    """`1.80 %`; a dash if it is unknown."""
    return MISSING if value is None else percent(value)
