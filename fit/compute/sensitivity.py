"""How much E and α of L(C) depend on analysis choices: FLOP convention, method for the frontier, and its lower cut."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from fit.compute.frontier import Frontier, frontier
from fit.data import tables
from fit.data.curves import Candidates, falling
from fit.law.caution import Caution, Kind
from fit.law.errors import FitError
from fit.law.fit import fit_law
from fit.law.result import Choice, FitResult

CONVENTIONS = ("flops_sparse", "flops_dense")
# The smallest models are off trend (Gao et al. 2024, §3.1.1): the frontier is also fitted from these octaves on.
OCTAVES = (1, 2)
FITTED = "as fitted"


@dataclass(frozen=True)
class Sensitivity:
    """How the fit depends on the choices. rows: the fit itself first, then fits with one choice changed each."""

    rows: tuple[Choice, ...]
    cautions: tuple[Caution, ...]


def ways(front: Frontier) -> dict[str, pd.DataFrame]:
    """Three methods for the frontier of the same curves, each with at least the columns flops and nmse.

    envelope: the lowest point in each bin of C, which lies above the law by half a step of the grid of n on average.
    hull: the vertices of the lower convex hull in the same window, which are few, come from the best runs, and are the
    most optimistic. isoflop: L*(C) at the vertices of parabolas over n, which the steps of the grid of n do not affect.
    """
    pool, floor = front.candidates, front.selection.min_flops
    vertices = pool.table(hull(pool, pool.log_c >= (-np.inf if floor is None else np.log(floor) - 1e-9)))
    low, high = (np.exp(end) for end in front.window)
    inside = (vertices["flops"] >= low * (1 - 1e-9)) & (vertices["flops"] <= high * (1 + 1e-9))
    return {
        "envelope": front.points,
        "hull": vertices[inside].reset_index(drop=True),
        "isoflop": front.vertices.points,
    }


def hull(pool: Candidates, present: np.ndarray) -> np.ndarray:
    """Indices, by rising C, of the vertices of the lower hull in (ln C, ln L) of the points flagged in `present` (m,).

    ln (E + A·C^−α) is convex in ln C, so a law can pass through every vertex. Between vertices the hull interpolates
    between two runs, so it lies below the curves. Its end points are always vertices.
    """
    kept: list[int] = []
    # Only points below all points of less compute can be vertices of the falling part (Andrew 1979, lower chain).
    for i in falling(pool, present):
        while len(kept) >= 2 and not _below(pool, kept[-2], kept[-1], i):
            kept.pop()
        kept.append(int(i))
    return np.array(kept, dtype=int)


def _below(pool: Candidates, left: int, middle: int, right: int) -> bool:
    """Whether the middle point is below the chord from left to right."""
    x, y = pool.log_c, pool.log_l
    slope = (y[right] - y[left]) / (x[right] - x[left]) if x[right] > x[left] else np.inf
    return bool(y[middle] < y[left] + slope * (x[middle] - x[left]))


def sensitivity(
    curves: pd.DataFrame, flops: str, base: FitResult, front: Frontier, needed: int, objective: str = "log"
) -> Sensitivity:
    """Refit a law of the frontier with the other FLOP convention, the other methods for the frontier, and higher cuts.

    A choice that cannot be fitted has a reason instead of numbers. A caution names the choices that change α by more
    than half the width of its interval.

    Parameters
    ----------
    curves : the table of the frontier.
    flops : its column of C.
    base : the fit to compare with.
    front : the frontier that it was fitted to.
    needed : a choice with fewer points than this is not fitted.
    objective : the objective of `base`.
    """
    rows = [_row(FITTED, flops, "envelope", front.points, base)]
    for choice, column, method, points in _choices(curves, flops, front, needed):
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
            rows.append(replace(_row(choice, column, method, None, None), reason=str(error)))
    return Sensitivity(tuple(rows), tuple(_moved(rows, base)))


def _choices(
    curves: pd.DataFrame, flops: str, front: Frontier, needed: int
) -> Iterator[tuple[str, str, str, pd.DataFrame | FitError]]:
    """Each choice with its points, or with the error that says why it has none."""
    for other in CONVENTIONS:
        if other != flops and {flops, other} <= set(curves.columns):
            yield "other FLOP convention", other, "envelope", _other(curves, flops, other, front, needed)
    by_way = ways(front)
    yield "convex hull", flops, "hull", by_way["hull"]
    yield "isoFLOP vertices", flops, "isoflop", by_way["isoflop"]
    for octaves in OCTAVES:
        first = np.exp(front.window[0]) * 2**octaves * (1 - 1e-9)
        above = front.points[front.points["flops"] >= first]
        yield f"from {octaves} octave{'s' * (octaves > 1)} higher", flops, "envelope", above


def _other(
    curves: pd.DataFrame, flops: str, other: str, front: Frontier, needed: int
) -> pd.DataFrame | FitError:
    """The frontier of the same evaluations in the other FLOP convention."""
    floor = front.selection.min_flops
    known = curves[np.isfinite(tables.numbers(curves, other))]
    if floor is not None:
        known = known[tables.numbers(known, flops) >= floor]
    try:
        tables.positive(known, other)
        return frontier(known, other, needed).points
    except FitError as error:
        return error


def _row(choice: str, flops: str, method: str, points: pd.DataFrame | None, fit: FitResult | None) -> Choice:
    known = points is not None and len(points) > 0
    return Choice(
        choice,
        flops.removeprefix("flops_"),
        method,
        float(points["flops"].min()) if points is not None and known else None,
        0 if points is None else len(points),
        None if fit is None else fit.params["E"].value,
        None if fit is None else fit.params["alpha"].value,
    )


def _moved(rows: list[Choice], base: FitResult) -> list[Caution]:
    alpha = base.params["alpha"]
    if alpha.value is None or alpha.low is None or alpha.high is None:
        return []
    half = (alpha.high - alpha.low) / 2
    moved = [
        f"{row.alpha:.3g} ({row.choice})"
        for row in rows[1:]
        if row.alpha is not None and abs(row.alpha - alpha.value) > half
    ]
    if not moved:
        return []
    text = (
        f"α of L(C) is {alpha.value:.3g} ± {half:.2g} as fitted and {', '.join(moved)}: "
        "it depends on this choice more than its interval says."
    )
    return [Caution(Kind.DISAGREEMENT, text, ("alpha",))]
