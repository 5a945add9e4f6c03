"""What a fit returns: one frozen result."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import pandas as pd

from fit.law.estimate import Estimate
from fit.law.functionals import Numbers
from fit.law.intervals.bootstrap import Bootstrap
from fit.law.intervals.choose import Intervals
from fit.law.law import Array, Derived
from fit.law.rows import make_inputs

Point = dict[str, Any]


@dataclass(frozen=True)
class Param:
    """A parameter and its 95 % interval: an end is None where that side is unbounded, value None if it is undefined.

    se: the delta method's standard error, of the logarithm for a positive parameter such as E or A; None if unknown.
    """

    value: float | None
    low: float | None
    high: float | None
    method: str
    se: float | None = None


@dataclass(frozen=True)
class FitResult:
    """One fitted law. Every L is a normalized MSE; intervals are 95 %.

    latex: the formula. response: the column that was fitted. loss: the objective in words. objective: its value,
    Σ w ρ(r), for least squares on logs ½ Σ w r² with r = ln L_law − ln L. rms_log: root mean square of that r.
    derived: what follows from the parameters, as the exponent at each k. starts: {"tried", "agree"}.
    held_out: how well the smaller scales predicted the largest ones, see `judge.held_out`, or None. comparison: this
    law and its alternatives, the best first, see `judge.comparison`. condition, correlations: how well the rows tell
    the parameters apart, see `identified`. outliers: rows that stand apart, as points with their studentized `score`.
    points: the fitted rows, inputs with the response, predicted, residual, weight and outlier. curve: inputs with
    value, low and high on a log grid up to one octave beyond the rows. extra: further plain results about these rows.
    regime: "converged" (L at convergence, at any compute) or "compute" (best L for a compute, converged or not); never
    compare numbers of the two. group: what the rows have in common. flops: convention of C. selection: how the rows
    were chosen.
    """

    law: str
    formula: str
    rows: int
    loss: str
    objective: float
    rms_log: float
    params: Mapping[str, Param]
    starts: Mapping[str, int]
    held_out: Mapping[str, Any] | None
    warnings: tuple[str, ...]
    points: tuple[Point, ...]
    curve: tuple[Point, ...]
    latex: str = ""
    response: str = "nmse"
    derived: Mapping[str, Param] = field(default_factory=dict)
    comparison: tuple[Mapping[str, Any], ...] = ()
    condition: float | None = None
    correlations: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    outliers: tuple[Point, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    regime: str | None = None
    group: Mapping[str, Any] = field(default_factory=dict)
    flops: str | None = None
    selection: Mapping[str, Any] = field(default_factory=dict)
    estimate: Estimate | None = field(default=None, repr=False, compare=False)
    intervals: Intervals | None = field(default=None, repr=False, compare=False)

    def predict(self, x: Any = None, interval: str | None = None, **inputs: Any) -> Any:
        """L at given inputs, as `predict(n_latents=2**20)` or like `fit_law`; with an interval (L, low, high).

        interval: "law", where the law's own value lies, or "measurement", where a new measurement would lie.
        """
        estimate, intervals = self._data()
        given = inputs if x is None else x
        if isinstance(given, Mapping):
            values = (np.atleast_1d(np.asarray(v, dtype=float)) for v in given.values())
            given = dict(zip(given, np.broadcast_arrays(*values), strict=True))
        at = make_inputs(estimate.law, given)
        value = np.exp(estimate.log_loss(at))
        if interval is None:
            return value
        ends = {"law": intervals.law, "measurement": intervals.measurement}
        if interval not in ends:
            raise ValueError(f"There is no interval {interval!r}: choose law or measurement.")
        return value, *ends[interval](at)

    def number(self, of: Derived) -> Param:
        """What follows from the parameters, with its interval."""
        estimate, intervals = self._data()
        return numbers(estimate, intervals, {"": of})[""]

    def resampled(self, of: Callable[[Mapping[str, Array]], Array]) -> Array | None:
        """A function of the public parameters over the refits of a bootstrap, (R,); None for other intervals."""
        _, intervals = self._data()
        return intervals.resampled(of) if isinstance(intervals, Bootstrap) else None

    def _data(self) -> tuple[Estimate, Intervals]:
        if self.estimate is None or self.intervals is None:
            raise ValueError("This result was read back without its data: fit the table again to predict.")
        return self.estimate, self.intervals

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: None for what is unknown, unbounded or undefined."""
        hidden = ("estimate", "intervals")
        content = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in hidden}
        tables = {
            part: {n: vars(p) for n, p in getattr(self, part).items()} for part in ("params", "derived")
        }
        return plain({**content, **tables})


def numbers(at: Estimate, how: Intervals, of: Mapping[str, Derived]) -> dict[str, Param]:
    """Each number that follows from the parameters, with its interval."""
    if not of:
        return {}
    R, listed = len(of), list(of.values())
    theta, alive = np.repeat(at.solution.theta, R, axis=0), np.repeat(at.solution.alive, R, axis=0)
    value, _, _ = Numbers(at.basis, listed).evaluate(theta, alive, np.arange(R))
    low, high = how.numbers(listed)
    with np.errstate(over="ignore"):
        ends = [
            tuple(float(np.exp(v)) if d.log else float(v) for v in part)
            for d, *part in zip(listed, value, low, high, strict=True)
        ]
    return {
        name: Param(finite(v), finite(lo), finite(hi), how.method)
        for name, (v, lo, hi) in zip(of, ends, strict=True)
    }


def plain(value: Any) -> Any:
    """numpy to Python, tuples to lists; NaN, NA and infinities to None; dates, as a column may hold, to text."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or pd.isna(value) or (isinstance(value, float) and math.isinf(value)):
        return None
    return value if isinstance(value, bool | int | float) else str(value)


def joined(points: Sequence[Point], columns: Mapping[str, Any]) -> tuple[Point, ...]:
    """Points with further columns, each (rows,) by the points' row, None for one that is not known."""
    known = {name: list(values) for name, values in columns.items() if values is not None}
    return tuple(
        {**point, **{name: values[point["row"]] for name, values in known.items()}} for point in points
    )


def finite(value: float | Array) -> float | None:
    """A float, or None where it is not finite."""
    number = float(value)
    return number if math.isfinite(number) else None


def integral(value: float) -> int | float:
    """An int where the value is one, as n and k are."""
    return int(value) if float(value).is_integer() and abs(value) < 2**53 else float(value)
