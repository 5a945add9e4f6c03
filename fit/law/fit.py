"""Fits one law to arrays: parameters, intervals, held-out check, warnings and the curve to draw."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fit.law import diagnostics, losses
from fit.law.checks import model_comparison
from fit.law.checks.held_out import splits, try_held_out
from fit.law.checks.lack_of_fit import lack_of_fit, misfit
from fit.law.checks.noise import Noise, noise_of_rows
from fit.law.estimate import Estimate
from fit.law.intervals.recipe import Fitted, Recipe
from fit.law.json_values import finite
from fit.law.law import Law
from fit.law.laws import ORIGINS, named
from fit.law.options import AUTO, DRAWS, FitOptions
from fit.law.points import Point, curve, fitted_points
from fit.law.result import FitResult, Param, Starts, derived_quantities
from fit.law.rows import Rows, make_rows


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
    draws: int = DRAWS,
    seed: int = 0,
    hold_out: bool = True,
    compare: bool = True,
    noise: Noise | None = None,
    shared: Any = None,
) -> FitResult:
    """Fit a law to arrays, by default by least squares on ln L.

    Parameters
    ----------
    x : mapping of the law's inputs to (rows,), or an array (rows, inputs).
    loss : (rows,), positive: the law's response.
    weights : how many measurements each row stands for.
    cluster : (rows,) labels of the runs or cells that rows belong to, which are then resampled whole.
    replicates : resamplings to use instead of drawing them, see `Rows`.
    objective : log, linear, huber or ("huber", δ), see `losses`.
    method : of the intervals: auto, profile, bootstrap or delta, see `intervals.choose.intervals`.
    draws, seed : of its bootstrap.
    hold_out : also fit without the largest scales, and predict them.
    compare : also fit the law's alternatives.
    noise : the noise of ln L in a row, where more is known of it than these rows show, see `checks.noise`.
    shared : (2 errors, rows), ln of the factors on the losses at both 95 % ends of each error that rows share.

    Raises
    ------
    FitError
        For numbers that have no logarithm, and for too few or too similar rows.
    """
    law = named(law)
    rows = make_rows(law, x, loss, weights, cluster)
    minimised = losses.objective(objective)
    options = FitOptions(intervals=method, draws=draws, seed=seed)
    fitted = Recipe.made(minimised, rows, method, draws, seed).fitted(law, rows, replicates)
    noise = noise or noise_of_rows(law, rows)
    test = lack_of_fit(fitted.at, rows, noise)
    if test.refuted and test.measurements is not None:
        fitted = fitted.recipe.refuted(fitted, test.measurements)
    shifts = np.asarray(shared, dtype=float) if shared is not None and np.any(shared) else None
    if shifts is not None:
        fitted = fitted.recipe.sharing(fitted, rows, shifts)
    at, ends, params = fitted.at, fitted.ends, _params(fitted)
    known_splits, reason = splits(law, rows, minimised) if hold_out else (None, None)
    held, reasons = (
        (None, [])
        if known_splits is None
        else try_held_out(known_splits, reason, options, replicates, test.refuted, shifts)
    )
    laws = model_comparison.comparison(at, rows, minimised, known_splits, noise) if compare else []
    apart = diagnostics.outliers(at)
    points = fitted_points(rows, at, apart)
    return FitResult(
        law=law.name,
        formula=law.formula,
        latex=law.latex,
        response=law.response,
        inputs=law.inputs,
        rows=len(rows.loss),
        loss=f"{minimised.description} {law.response}",
        objective=at.deviance / 2,
        rms_log=float(np.sqrt((rows.weights * at.residuals() ** 2).sum() / rows.weights.sum())),
        params=params,
        derived=derived_quantities(at, ends, law.derived(law, rows.x) if law.derived else {}),
        starts=Starts(at.tried, at.agree),
        held_out=held,
        comparison=tuple(laws),
        condition=diagnostics.condition(at),
        correlations=_correlations(at),
        lack_of_fit=test,
        cautions=(
            *misfit(test),
            *diagnostics.few_agree(at),
            *diagnostics.absent_floor(at, params),
            *diagnostics.rising(at, rows),
            *diagnostics.few_runs(rows, law, params),
            *diagnostics.undercovered(rows, ends.method, minimised),
            *diagnostics.unclustered(rows, ends.method),
            *diagnostics.unidentified(law, params),
            *diagnostics.trade_offs(at),
            *diagnostics.ill_conditioned(at),
            *diagnostics.curved(at, params),
            *diagnostics.outlying(_inputs(points), apart, minimised),
            *model_comparison.beaten(law, laws),
            *reasons,
        ),
        points=points,
        curve=curve(rows, at, ends),
        recipe=fitted.recipe,
        origin=ORIGINS.get(law.name),
        estimate=at,
        intervals=ends,
    )


def _params(fitted: Fitted) -> dict[str, Param]:
    """The parameters with their intervals and standard errors."""
    at, law, bounds = fitted.at, fitted.at.law, fitted.bounds
    values, errors = law.values(at.theta()), dict(zip(law.internal, at.errors(), strict=True))
    return {
        name: Param(
            finite(values[name]),
            finite(bounds[name][0]),
            finite(bounds[name][1]),
            fitted.ends.method,
            finite(errors[name]),
        )
        for name in law.params
    }


def _inputs(points: Sequence[Point]) -> Mapping[int, Mapping[str, float]]:
    return {point.row: point.inputs for point in points if point.outlier}


def _correlations(at: Estimate) -> dict[str, dict[str, float | None]]:
    names, corr = at.law.internal, diagnostics.correlations(at)
    return {a: {b: finite(corr[i, j]) for j, b in enumerate(names)} for i, a in enumerate(names)}
