"""N*(C), D*(C) and lr*(C) of an isoFLOP table, from the vertices of its budgets, with intervals from its rows."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from fit.compute.frontier import drawn
from fit.compute.isoflop import IsoFlops, isoflops
from fit.compute.optima import ISOFLOP, LAWS, Optima, Way, attempted, fit_vertices
from fit.compute.slices import EXACT
from fit.data.budgets import Budgets
from fit.data.curves import Candidates
from fit.law.caution import Caution, Kind
from fit.law.result import Extra, FitResult
from fit.law.selection import OptimumSelection

# With fewer degrees of freedom, the scatter of the rows about their parabolas is too poorly known to draw it.
FEWEST_DOF = 4


def budget_optima(
    pool: Candidates,
    budgets: Budgets,
    min_flops: float | None = None,
    draws: int = 200,
    seed: int = 0,
    objective: str = "log",
) -> Optima:
    """N*(C), D*(C) and lr*(C) of an isoFLOP table, by the vertices of its budgets alone.

    There are no crossovers, because no n has a curve along C. For the intervals, see `_resampled`.

    Parameters
    ----------
    pool, budgets : the rows of the table and their budgets.
    min_flops : no budget is taken below this C.
    draws, seed : the number of resamplings, and their seed.
    objective : of the power laws.
    """
    vertices = isoflops(pool, None, min_flops)
    of_lr = {"lr": (*vertices.without_lr, *vertices.dropped)}
    way = Way(
        ISOFLOP,
        vertices.points,
        _resampled(pool, vertices, min_flops, draws, seed),
        dict.fromkeys(LAWS.values(), vertices.dropped) | of_lr,
        "train at more budgets of C, or n on both sides of N*",
        weighted=vertices.dof < FEWEST_DOF,
        unit="the rows of the budgets" if vertices.dof < FEWEST_DOF else "simulated rows",
    )

    def fit(law: str, way: Way) -> FitResult:
        result = fit_vertices(law, way, seed, objective)
        assert isinstance(result.selection, OptimumSelection)
        chosen = replace(
            result.selection,
            rule=_rule(budgets, len(vertices.points)),
            budgets=len(budgets.flops),
            runs=budgets.rows,
            diverged=budgets.diverged,
        )
        return replace(result, selection=chosen, extra=Extra(isoflop=vertices.recorded))

    fits, skipped = attempted([(law, way) for law in LAWS], pool, fit)
    return Optima(tuple(fits), tuple(skipped), tuple(diverged(budgets.diverged)))


def _resampled(
    pool: Candidates, vertices: IsoFlops, min_flops: float | None, draws: int, seed: int
) -> list[pd.DataFrame]:
    """The vertices of every draw.

    In a draw each row has an error of its own in ln L, normal, with the variance of the rows about their parabolas
    times ν/χ²_ν, since that variance is known from ν degrees of freedom only. If the vertices scatter about the power
    law by more than such errors explain, the draws scatter by as much. Where ν is below `FEWEST_DOF`, rows are
    drawn with replacement instead, as the runs of curves are.

    Coverage of the 95 % interval of a in 60 simulated tables each: 95 % (six budgets of seven rows, 0.3 % noise), 100 %
    (five of five, 0.2 %) and 100 % (six of nine, 1 %). Rows drawn with replacement leave out a third of each parabola:
    in the first of these designs the interval is then twice as wide and covers 100 % of 40 tables.
    """
    if vertices.dof < FEWEST_DOF:
        present = (weights > 0 for weights in drawn(len(pool.runs), draws, seed))
        return [isoflops(pool, here, min_flops, resampled=True).points for here in present]
    rng, tables = np.random.default_rng(seed), []
    for _ in range(draws):
        scale = np.sqrt(vertices.square / rng.chisquare(vertices.dof))
        noisy = replace(pool, log_l=pool.log_l + scale * rng.standard_normal(len(pool.log_l)))
        tables.append(isoflops(noisy, None, min_flops, resampled=True).points)
    scatter = {column: _unexplained(vertices.points, tables, column) for column in LAWS.values()}
    return [
        table.assign(
            **{
                column: table[column] * np.exp(size * rng.standard_normal(len(table)))
                for column, size in scatter.items()
            }
        )
        for table in tables
    ]


def _unexplained(points: pd.DataFrame, tables: Sequence[pd.DataFrame], column: str) -> float:
    """The standard deviation of ln of a column about its power law that the scatter of the draws does not explain."""
    known = points[np.isfinite(points[column])]
    if len(known) < 3:
        return 0.0
    x, y = np.log(known["flops"]), np.log(known[column])
    residual = y - np.polyval(np.polyfit(x, y, 1), x)
    every = pd.concat(tables)
    explained = np.log(every[column]).groupby(every["flops"]).var().mean()
    excess = float((residual**2).sum() / (len(known) - 2) - explained)
    return float(np.sqrt(excess)) if excess > 0 else 0.0


def _rule(budgets: Budgets, inside: int) -> str:
    """A sentence that says which rows are one parabola, and how many have their minimum inside their n."""
    count = len(budgets.flops)
    each = "a parabola each" if inside == count else f"{inside} of them parabolas with the minimum inside"
    text = f"{count} budgets of {budgets.rows} rows, {each}: "
    if budgets.width < EXACT:
        return f"{text}the rows of equal C."
    return (
        f"{text}rows are one budget if each C is within {100 * budgets.gap:.0f} % of the next; the widest spans "
        f"{100 * budgets.width:.2g} %. Their losses are moved to the C of the budget."
    )


def diverged(names: Sequence[str]) -> list[Caution]:
    """A caution that names the rows of an isoFLOP table that are in no parabola, the first three with their reason."""
    if not names:
        return []
    more = f", and {len(names) - 3} more" if len(names) > 3 else ""
    count = "1 row diverged and is" if len(names) == 1 else f"{len(names)} rows diverged and are"
    text = f"{count} in no parabola: {'; '.join(names[:3])}{more}."
    return [Caution(Kind.ROWS, text, ("nmse",))]
