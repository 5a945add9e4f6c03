"""The fitted rows of a law and the curve through them, as points that carry their inputs by name."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from fit.law.estimate import Estimate
from fit.law.intervals.choose import Intervals
from fit.law.json_values import finite, integral, record
from fit.law.law import Inputs
from fit.law.rows import Rows

# Fitted rows that a result lists: fits.json would have 300 MB for 10⁶.
MOST_FITTED = 10_000
CURVE_POINTS = 40
# Laws with as many values of their other inputs as a grid has k are drawn for each; a continuous input for these only.
CURVES = 12


@dataclass(frozen=True)
class PointRun:
    """The run behind a fitted point. None where the table has no such column, or where it is an input of the law.

    extrapolated: whether the loss is the L∞ of its tail, with the 95 % interval nmse_inf_low to nmse_inf_high.
    oracle: the loss of keeping the n most frequent features.
    """

    run_id: str | int | None = None
    n_latents: float | None = None
    lr: float | None = None
    batch_tokens: float | None = None
    seed: int | None = None
    tokens: float | None = None
    extrapolated: bool | None = None
    nmse_inf_low: float | None = None
    nmse_inf_high: float | None = None
    oracle: float | None = None


@dataclass(frozen=True)
class Point:
    """A fitted row: its index into the rows given, the inputs by name, and the measured response.

    residual: ln predicted − ln measured. score: the studentized residual of an outlier, None for all others.
    """

    row: int
    inputs: Mapping[str, float]
    response: float
    predicted: float
    residual: float
    weight: float = 1.0
    score: float | None = None
    run: PointRun = PointRun()

    @property
    def outlier(self) -> bool:
        return self.score is not None

    def value_of(self, column: str) -> Any:
        """An input of the law, or else a field of the run; None where it is unknown."""
        return self.inputs[column] if column in self.inputs else getattr(self.run, column, None)


@dataclass(frozen=True)
class CurvePoint:
    """The law at some inputs, with its 95 % interval; None where a side is unbounded."""

    inputs: Mapping[str, float]
    value: float | None
    low: float | None
    high: float | None


def fitted_points(rows: Rows, at: Estimate, scores: Mapping[int, float]) -> tuple[Point, ...]:
    """The fitted rows; for long tables, an evenly spaced sample plus all outliers. scores: of the outliers, by row."""
    listed = np.unique(
        np.linspace(0, len(rows.loss) - 1, min(len(rows.loss), MOST_FITTED)).round().astype(int)
    )
    predicted, r = np.exp(at.log_fitted()), at.residuals()
    return tuple(
        Point(
            i,
            {k: integral(v[i]) for k, v in rows.x.items()},
            float(rows.loss[i]),
            float(predicted[i]),
            float(r[i]),
            float(rows.weights[i]),
            scores.get(i),
        )
        for i in map(int, np.union1d(listed, np.array(list(scores), dtype=int)))
    )


def curve(rows: Rows, at: Estimate, how: Intervals) -> tuple[CurvePoint, ...]:
    """The law and its 95 % interval from the smallest scale to an octave beyond the largest.

    For each value of its other inputs, as k; where these are as good as continuous, for a few from end to end.
    """
    scale, *others = at.law.inputs
    low, high = rows.x[scale].min(), rows.x[scale].max()
    # An input that is used as it is need not be positive.
    grid = np.geomspace(low, 2 * high, CURVE_POINTS) if low > 0 else np.linspace(low, high, CURVE_POINTS)
    cells = _cells(rows, others)
    x: Inputs = {
        scale: np.tile(grid, len(cells)),
        **{name: np.repeat(cells[:, i], len(grid)) for i, name in enumerate(others)},
    }
    value = np.exp(at.log_loss(x))
    low, high = how.law(x)
    return tuple(
        CurvePoint(
            {scale: float(x[scale][i]), **{name: integral(x[name][i]) for name in others}},
            finite(value[i]),
            finite(low[i]),
            finite(high[i]),
        )
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


RUN_FIELDS = tuple(f.name for f in fields(PointRun))


def points_to_dicts(points: Sequence[Point], response: str) -> list[dict[str, Any]]:
    """Points for fits.json: inputs, the response under its column, and of the runs what is known of any point."""
    known = [name for name in RUN_FIELDS if any(getattr(point.run, name) is not None for point in points)]
    return [
        {
            "row": point.row,
            **point.inputs,
            response: point.response,
            "predicted": point.predicted,
            "residual": point.residual,
            "weight": point.weight,
            "outlier": point.outlier,
            **({"score": point.score} if point.outlier else {}),
            **{name: getattr(point.run, name) for name in known},
        }
        for point in points
    ]


def points_from_dicts(
    content: Sequence[Mapping[str, Any]],
    inputs: Sequence[str],
    response: str,
    outliers: Sequence[Mapping[str, Any]],
) -> tuple[Point, ...]:
    """Points of fits.json; inputs, response: of their law."""
    of_run = run_fields(inputs, response)
    scores = {point["row"]: point["score"] for point in outliers}
    return tuple(
        record(
            Point,
            {
                "row": i,
                "score": scores.get(point.get("row")),
                "residual": _residual(point, response),
                **point,
            },
            inputs={name: point[name] for name in inputs},
            response=point[response],
            run=PointRun(**{name: point[name] for name in of_run if name in point}),
        )
        for i, point in enumerate(content)
    )


def run_fields(inputs: Sequence[str], response: str) -> list[str]:
    """The fields of a run that are not a column of its law."""
    return [name for name in RUN_FIELDS if name not in (*inputs, response)]


def _residual(point: Mapping[str, Any], response: str) -> float:
    return math.log(point["predicted"] / point[response]) if "predicted" in point else math.nan


def curve_to_dicts(points: Sequence[CurvePoint]) -> list[dict[str, Any]]:
    return [{**p.inputs, "value": p.value, "low": p.low, "high": p.high} for p in points]


def curve_from_dicts(content: Sequence[Mapping[str, Any]], inputs: Sequence[str]) -> tuple[CurvePoint, ...]:
    return tuple(record(CurvePoint, p, inputs={name: p[name] for name in inputs}) for p in content)
