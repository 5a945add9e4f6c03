"""Fits one law to arrays: parameters, intervals, held-out check, warnings and the curve to draw."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from fit.law import diagnostics, losses, model_comparison
from fit.law.estimate import Estimate, estimate, improved
from fit.law.held_out import How, splits, try_held_out
from fit.law.intervals.choose import Intervals, ProfileIntervals, intervals
from fit.law.law import Inputs, Law
from fit.law.laws import named
from fit.law.options import AUTO
from fit.law.result import FitResult, Param, Point, finite, integral, numbers
from fit.law.rows import Rows, make_rows

CURVE_POINTS = 40
# Laws with as many values of their other inputs as a grid has k are drawn for each; a continuous input for these only.
CURVES = 12


def fit_law(
    law: str | Law,
    x: Any,
    loss: Any,
    *,
    weights: Any = None,
    cluster: Any = None,
    replicates: Rows | None = None,
    objective: str | tuple[str, float] | losses.Objective = "log",
    method: str = AUTO,
    draws: int = 1000,
    seed: int = 0,
    hold_out: bool = True,
    compare: bool = True,
) -> FitResult:
    """Fits a law, by default by least squares on ln L.

    x: mapping of the law's inputs to (rows,), or an array (rows, inputs); loss: (rows,), positive, the law's response.
    weights: how many measurements each row stands for. cluster: (rows,) labels of the runs or cells that rows belong
    to, which are then resampled whole. replicates: given resamplings, see `Rows`. objective: log, linear, huber or
    ("huber", δ), see `losses`. method: of the intervals, auto, profile, bootstrap or delta, see
    `uncertainty.intervals`; draws, seed: of its bootstrap. hold_out: also fit without the largest scales and predict
    them. compare: also fit the law's alternatives.
    Raises FitError for numbers that have no logarithm, and for too few or too similar rows.
    """
    law = named(law)
    rows = make_rows(law, x, loss, weights, cluster)
    how = How(losses.objective(objective), replicates, method, draws, seed)
    at, ends, params = _with_intervals(estimate(law, rows, how.objective), rows, how)
    own, reason = splits(law, rows, how.objective) if hold_out else (None, None)
    held, reasons = (None, []) if own is None else try_held_out(own, reason, how)
    laws = model_comparison.comparison(at, rows, how.objective, own) if compare else []
    apart = diagnostics.outliers(at)
    points = model_comparison.fitted_points(rows, at, apart)
    return FitResult(
        law=law.name,
        formula=law.formula,
        latex=law.latex,
        response=law.response,
        rows=len(rows.loss),
        loss=f"{how.objective.words} {law.response}",
        objective=at.deviance / 2,
        rms_log=float(np.sqrt((rows.weights * at.residuals() ** 2).sum() / rows.weights.sum())),
        params=params,
        derived=numbers(at, ends, law.derived(law, rows.x) if law.derived else {}),
        starts={"tried": at.tried, "agree": at.agree},
        held_out=held,
        comparison=tuple(laws),
        condition=diagnostics.condition(at),
        correlations=_correlations(at),
        outliers=tuple({**point, "score": apart[point["row"]]} for point in points if point["outlier"]),
        warnings=(
            *diagnostics.few_agree(at),
            *diagnostics.absent_floor(at, params),
            *diagnostics.rising(at, rows),
            *diagnostics.few_runs(rows, law, ends.method),
            *diagnostics.unidentified(law, params),
            *diagnostics.trade_offs(at),
            *diagnostics.ill_conditioned(at),
            *diagnostics.curved(at, params),
            *diagnostics.outlier_words(_inputs(points, law), apart, how.objective),
            *model_comparison.beaten(law, laws),
            *reasons,
        ),
        points=points,
        curve=curve(rows, at, ends),
        estimate=at,
        intervals=ends,
    )


def _with_intervals(at: Estimate, rows: Rows, how: How) -> tuple[Estimate, Intervals, dict[str, Param]]:
    """Intervals of the parameters; where profiling runs into a lower optimum, that one is taken and profiled anew."""
    for _ in range(3):
        ends = intervals(at, rows, how.replicates, how.method, how.draws, how.seed)
        found = ends.parameters()
        better = ends.profile.better if isinstance(ends, ProfileIntervals) else None
        if better is None:
            break
        at = improved(at, better)
    law = at.law
    values, errors = law.values(at.theta()), dict(zip(law.internal, at.errors(), strict=True))
    params = {
        name: Param(
            finite(values[name]),
            finite(found[name][0]),
            finite(found[name][1]),
            ends.method,
            finite(errors[name]),
        )
        for name in law.params
    }
    return at, ends, params


def _inputs(points: tuple[Point, ...], law: Law) -> Mapping[int, Mapping[str, float]]:
    return {point["row"]: {name: point[name] for name in law.inputs} for point in points if point["outlier"]}


def _correlations(at: Estimate) -> dict[str, dict[str, float | None]]:
    names, corr = at.law.internal, diagnostics.correlations(at)
    return {a: {b: finite(corr[i, j]) for j, b in enumerate(names)} for i, a in enumerate(names)}


def curve(rows: Rows, at: Estimate, how: Intervals) -> tuple[Point, ...]:
    """The law and its 95 % interval from the smallest scale to an octave beyond the largest.

    For each value of its other inputs, as k; where these are as good as continuous, for a few from end to end.
    """
    scale, *others = at.law.inputs
    grid = np.geomspace(rows.x[scale].min(), 2 * rows.x[scale].max(), CURVE_POINTS)
    cells = _cells(rows, others)
    x: Inputs = {
        scale: np.tile(grid, len(cells)),
        **{name: np.repeat(cells[:, i], len(grid)) for i, name in enumerate(others)},
    }
    value = np.exp(at.log_loss(x))
    low, high = how.law(x)
    return tuple(
        {
            scale: float(x[scale][i]),
            **{name: integral(x[name][i]) for name in others},
            "value": float(value[i]),
            "low": finite(low[i]),
            "high": finite(high[i]),
        }
        for i in range(len(value))
    )


def _cells(rows: Rows, others: list[str]) -> np.ndarray:
    if not others:
        return np.empty((1, 0))
    cells = np.unique(np.stack([rows.x[name] for name in others], axis=1), axis=0)
    return (
        cells[np.unique(np.linspace(0, len(cells) - 1, CURVES).round().astype(int))]
        if len(cells) > CURVES
        else cells
    )
