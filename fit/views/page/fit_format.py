"""A fit as texts: which rows it describes, its parameters with their intervals, and its held-out error."""

from collections.abc import Mapping
from typing import Any

from fit.data.number_format import SYMBOLS, percent, with_interval
from fit.views.page.render import MISSING
from fit.views.page.run_table import cell_text, known
from fit.views.page.source import Fit

METHODS = {"crossovers": "by crossovers", "isoflop": "by isoFLOP vertices"}
REGIMES = {"compute": "at the best use of compute", "converged": "at convergence"}


def group_name(group: Mapping[str, Any]) -> str:
    """`k = 32, d = 768`: what the rows of a fit have in common."""
    return ", ".join(
        f"{SYMBOLS.get(column, column)} = {cell_text(value)}"
        for column, value in group.items()
        if value is not None
    )


def fit_name(fit: Fit) -> str:
    """`k = 32, by crossovers`; empty where the rows are all rows of the table, chosen the only way."""
    method = METHODS.get((fit.get("selection") or {}).get("method", ""))
    return ", ".join(filter(None, [group_name(fit.get("group") or {}), method]))


def interval(param: Mapping[str, Any] | None, digits: int = 0) -> str:
    """`0.357 [0.340, 0.374]`; a dash where the value is not known or not defined."""
    if not param or not known(param.get("value")):
        return MISSING
    return with_interval(param["value"], param.get("low"), param.get("high"), digits)


def held_out_error(fit: Fit) -> str:
    """The relative error at the held-out largest scale; of several points, their root mean square."""
    held = fit.get("held_out") or {}
    points = held.get("points") or []
    if len(points) == 1 and known(points[0].get("relative_error")):
        return percent(points[0]["relative_error"], signed=True)
    return percent(held["rms_log"]) if known(held.get("rms_log")) else MISSING


def held_out_inside(fit: Fit) -> str:
    """How many of the held-out points lie inside their intervals: `inside`, `1 of 4 inside`."""
    known_points = [p for p in (fit.get("held_out") or {}).get("points") or [] if known(p.get("inside"))]
    within = sum(bool(point["inside"]) for point in known_points)
    if not known_points:
        return MISSING
    if len(known_points) == 1:
        return "inside" if within else "outside"
    return f"{within} of {len(known_points)} inside"
