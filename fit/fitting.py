"""Fits one law to arrays: parameters, intervals, held-out check, warnings and the curve to draw."""

from typing import Any

import numpy as np

from fit import judge
from fit.estimate import Estimate, estimate, improved
from fit.laws import Inputs, Law, named
from fit.result import FitResult, Param, Point, finite, integral
from fit.rows import Rows, make_rows
from fit.uncertainty import Intervals, ProfileIntervals, intervals

CURVE_POINTS = 40


def fit_law(
    law: str | Law,
    x: Any,
    loss: Any,
    *,
    weights: Any = None,
    replicates: Rows | None = None,
    hold_out: bool = True,
) -> FitResult:
    """Fits a law by least squares on ln L.

    x: mapping of the law's inputs to (rows,), or an array (rows, inputs); loss: (rows,), positive. weights: how many
    measurements each row stands for. replicates: resampled rows, (draws, rows); with them intervals are percentiles
    over their refits, without them profile likelihood. hold_out: also fit without the largest scale and predict it.
    Raises FitError for numbers that have no logarithm, and for too few or too similar rows.
    """
    law = named(law)
    rows = make_rows(law, x, loss, weights)
    at, how, params = _with_intervals(estimate(law, rows.x, rows.loss, rows.weights), replicates)
    held, reasons = judge.try_held_out(law, rows, replicates) if hold_out else (None, [])
    warnings = [
        *judge.few_agree(at),
        *judge.absent_floor(at, params),
        *judge.unidentified(law, params),
        *judge.trade_offs(at),
        *reasons,
    ]
    return FitResult(
        law=law.name,
        formula=law.formula,
        rows=len(rows.loss),
        loss="least squares on log nmse",
        objective=at.ssr / 2,
        rms_log=float(np.sqrt(at.ssr / rows.weights.sum())),
        params=params,
        starts={"tried": at.tried, "agree": at.agree},
        held_out=held,
        warnings=tuple(warnings),
        points=judge.fitted_points(rows, at),
        curve=curve(rows, at, how),
        estimate=at,
        intervals=how,
    )


def _with_intervals(at: Estimate, replicates: Rows | None) -> tuple[Estimate, Intervals, dict[str, Param]]:
    """Intervals of the parameters; where profiling runs into a lower optimum, that one is taken and profiled anew."""
    for _ in range(3):
        how = intervals(at, replicates)
        ends = how.parameters()
        better = how.profile.better if isinstance(how, ProfileIntervals) else None
        if better is None:
            break
        at = improved(at, better)
    values = at.law.values(at.theta())
    params = {
        name: Param(finite(values[name]), finite(ends[name][0]), finite(ends[name][1]), how.method)
        for name in at.law.params
    }
    return at, how, params


def curve(rows: Rows, at: Estimate, how: Intervals) -> tuple[Point, ...]:
    """The law and its 95 % interval from the smallest scale to an octave beyond the largest, for each k if it has k."""
    scale, *others = at.law.inputs
    grid = np.geomspace(rows.x[scale].min(), 2 * rows.x[scale].max(), CURVE_POINTS)
    if others:
        cells = np.unique(np.stack([rows.x[name] for name in others], axis=1), axis=0)
    else:
        cells = np.empty((1, 0))
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
