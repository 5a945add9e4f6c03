"""How much E and α of L(C) depend on choices: the FLOP convention, the way to the frontier, and its lower cut."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from fit.compute.frontier import Frontier, frontier
from fit.compute.hull import hull
from fit.data import tables
from fit.law.errors import FitError
from fit.law.fit import fit_law
from fit.law.result import FitResult

CONVENTIONS = ("flops_sparse", "flops_dense")
# The smallest models are off trend (Gao et al. 2024, §3.1.1): the frontier is also fitted from these octaves on.
OCTAVES = (1, 2)
FITTED = "as fitted"


@dataclass(frozen=True)
class Sensitivity:
    """rows: one choice changed at a time, the fit itself first. Each has choice, flops (the convention), method,
    min_flops (C of the first point), points, E, alpha, and reason: why there is no fit, else None.
    """

    rows: tuple[dict[str, Any], ...]
    warnings: tuple[str, ...]

    @property
    def lines(self) -> list[str]:
        """The rows as a table for the screen."""
        head = f"{'choice':<24}{'FLOPs':<8}{'from C':>10}{'points':>8}{'α':>9}{'E':>10}"
        return [head, *(_line(row) for row in self.rows)]


def ways(found: Frontier) -> dict[str, pd.DataFrame]:
    """Three ways to the frontier from the same curves, each with the columns flops and nmse at least.

    envelope: the lowest point in each bin of C; it is above the law by half a step of the grid of n on average. hull:
    the vertices of the lower convex hull in the same window; few, of the best runs, and the most optimistic. isoflop:
    L*(C) at the vertices of parabolas over n, without a step of the grid of n.
    """
    of, floor = found.candidates, found.selection["min_flops"]
    vertices = of.table(hull(of, of.log_c >= (-np.inf if floor is None else np.log(floor) - 1e-9)))
    low, high = (np.exp(end) for end in found.window)
    inside = (vertices["flops"] >= low * (1 - 1e-9)) & (vertices["flops"] <= high * (1 + 1e-9))
    return {
        "envelope": found.points,
        "hull": vertices[inside].reset_index(drop=True),
        "isoflop": found.vertices.points,
    }


def sensitivity(
    curves: pd.DataFrame, flops: str, base: FitResult, found: Frontier, needed: int, objective: str = "log"
) -> Sensitivity:
    """The law of `base`, fitted to `found`, refitted with the other FLOP convention, the other ways and higher cuts.

    curves: the table of `found`; flops: its column of C; objective: that of `base`. A choice that cannot be fitted has
    a reason and no numbers. A warning names the choices that move α by more than the half width of its interval.
    """
    rows = [_row(FITTED, flops, "envelope", found.points, base)]
    for choice, column, method, points in _choices(curves, flops, found, needed):
        try:
            if isinstance(points, FitError):
                raise points
            x = {"flops": points["flops"]}
            how: dict[str, Any] = {
                "objective": objective,
                "method": "delta",
                "hold_out": False,
                "compare": False,
            }
            fit = fit_law(base.law, x, points["nmse"], **how)
            rows.append(_row(choice, column, method, points, fit))
        except FitError as error:
            rows.append({**_row(choice, column, method, None, None), "reason": str(error)})
    return Sensitivity(tuple(rows), tuple(_moved(rows, base)))


def _choices(
    curves: pd.DataFrame, flops: str, found: Frontier, needed: int
) -> Iterator[tuple[str, str, str, pd.DataFrame | FitError]]:
    """Each choice with its points, or why there are none."""
    for other in CONVENTIONS:
        if other != flops and {flops, other} <= set(curves.columns):
            yield "other FLOP convention", other, "envelope", _other(curves, flops, other, found, needed)
    by_way = ways(found)
    yield "convex hull", flops, "hull", by_way["hull"]
    yield "isoFLOP vertices", flops, "isoflop", by_way["isoflop"]
    for octaves in OCTAVES:
        first = np.exp(found.window[0]) * 2**octaves * (1 - 1e-9)
        above = found.points[found.points["flops"] >= first]
        yield f"from {octaves} octave{'s' * (octaves > 1)} higher", flops, "envelope", above


def _other(
    curves: pd.DataFrame, flops: str, other: str, found: Frontier, needed: int
) -> pd.DataFrame | FitError:
    """The frontier in another convention of C, from the same evaluations."""
    floor = found.selection["min_flops"]
    known = curves[np.isfinite(tables.numbers(curves, other))]
    if floor is not None:
        known = known[tables.numbers(known, flops) >= floor]
    try:
        tables.positive(known, other)
        return frontier(known, other, needed).points
    except FitError as error:
        return error


def _row(
    choice: str, flops: str, method: str, points: pd.DataFrame | None, fit: FitResult | None
) -> dict[str, Any]:
    known = points is not None and len(points) > 0
    return {
        "choice": choice,
        "flops": flops.removeprefix("flops_"),
        "method": method,
        "min_flops": float(points["flops"].min()) if points is not None and known else None,
        "points": 0 if points is None else len(points),
        "E": None if fit is None else fit.params["E"].value,
        "alpha": None if fit is None else fit.params["alpha"].value,
        "reason": None,
    }


def _line(row: dict[str, Any]) -> str:
    left = f"{row['choice']:<24}{row['flops']:<8}"
    if row["reason"]:
        return f"{left}{row['reason']}"
    numbers = [f"{row[name]:.4f}" if row[name] is not None else "–" for name in ("alpha", "E")]
    return f"{left}{row['min_flops']:>10.3g}{row['points']:>8}{numbers[0]:>9}{numbers[1]:>10}"


def _moved(rows: list[dict[str, Any]], base: FitResult) -> list[str]:
    alpha = base.params["alpha"]
    if alpha.value is None or alpha.low is None or alpha.high is None:
        return []
    half = (alpha.high - alpha.low) / 2
    moved = [
        f"{row['alpha']:.3f} ({row['choice']})"
        for row in rows[1:]
        if row["alpha"] is not None and abs(row["alpha"] - alpha.value) > half
    ]
    if not moved:
        return []
    return [
        f"α of L(C) is {alpha.value:.3f} ± {half:.3f} as fitted and {', '.join(moved)}: "
        "it depends on this choice more than its interval tells."
    ]
