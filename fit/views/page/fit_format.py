"""A fit in words: whose rows it is of, and its parameters with their intervals."""

from collections.abc import Mapping
from typing import Any

from fit.data.number_format import SYMBOLS, greek, percent, with_interval
from fit.views.page.cells_format import known, shown
from fit.views.page.markup import MISSING, Html, formula, join, tag, text

Fit = Mapping[str, Any]
METHODS = {"crossovers": "by crossovers", "isoflop": "by isoFLOP vertices"}
REGIMES = {"compute": "at the best use of compute", "converged": "at convergence"}


def of(fit: Fit) -> str:
    """`k = 32, by crossovers`; `all rows` where they have nothing in common that is told."""
    group = fit.get("group") or {}
    parts = [f"{SYMBOLS.get(key, key)} = {shown(value)}" for key, value in group.items() if value is not None]
    method = METHODS.get((fit.get("selection") or {}).get("method", ""))
    return ", ".join([*parts, *([method] if method else [])]) or "all rows"


def interval(param: Mapping[str, Any] | None, digits: int = 0) -> str:
    """`0.357 [0.340, 0.374]`; a dash where the value is not known or not defined."""
    if not param or not known(param.get("value")):
        return MISSING
    return with_interval(param["value"], param.get("low"), param.get("high"), digits)


def stacked(param: Mapping[str, Any] | None) -> Html:
    """The value and, below it, smaller, its interval."""
    value, gap, ends = interval(param).partition(" ")
    return join([value, tag("span", ends, class_="ends")]) if gap else text(value)


def symbol(name: str) -> Html:
    """A parameter's letter: `β_k` for beta_k."""
    return formula(greek(name))


def error(fit: Fit) -> str:
    """The relative error at the held-out largest scale, of several their root mean square."""
    held = fit.get("held_out") or {}
    points = held.get("points") or []
    if len(points) == 1 and known(points[0].get("relative_error")):
        return percent(points[0]["relative_error"], signed=True)
    return percent(held["rms_log"]) if known(held.get("rms_log")) else MISSING


def inside(fit: Fit) -> str:
    """How many of the held-out points lie inside their intervals: `inside`, `1 of 4 inside`."""
    known_points = [p for p in (fit.get("held_out") or {}).get("points") or [] if known(p.get("inside"))]
    within = sum(bool(point["inside"]) for point in known_points)
    if not known_points:
        return MISSING
    if len(known_points) == 1:
        return "inside" if within else "outside"
    return f"{within} of {len(known_points)} inside"
