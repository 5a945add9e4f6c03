"""Intervals by the delta method, which linearises the law at its optimum. Used for very many rows and as a check."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import t as student

from fit.law.estimate import Estimate
from fit.law.functionals import DerivedQuantities, Parameters, Predictions, Quantities
from fit.law.intervals.profile import LEVEL, undefined, with_ends
from fit.law.intervals.spread import plane, sandwich
from fit.law.law import Array, Derived, Inputs
from fit.law.rows import Rows


class DeltaIntervals:
    """± t standard errors, taken of the logarithm for positive parameters and of E itself, since E may be 0.

    The covariance is the sandwich over clusters or rows (`spread.sandwich`), which assumes nothing about the
    residuals. A floor is part of it even if it vanished, because the range of the other parameters depends on how large
    a floor the rows allow. Intervals are then up to 3 times as wide as profile intervals, which use that a floor is not
    negative.
    """

    method = "delta"

    def __init__(self, at: Estimate, rows: Rows) -> None:
        self.at = at
        self.plane = plane(at)
        # Under the objective linear the largest losses scatter most and have the most leverage: on 16 rows HC3 covers
        # 98 to 100 %.
        power = 0.75 if at.problem.objective.name == "linear" else 1.0
        self.covariance = sandwich(at, rows.cluster if rows.shared else None, power)
        freedom = (rows.runs - len(self.covariance)) * at.freedom() / at.dof
        self.width = float(student.ppf((1 + LEVEL) / 2, max(freedom, 1)))

    def _ends(self, quantities: Quantities) -> tuple[Array, Array]:
        value, half = self._value(quantities), self._half_width(quantities)
        known = np.isfinite(value)
        return np.where(known, value - half, -np.inf), np.where(known, value + half, np.inf)

    def _value(self, quantities: Quantities) -> Array:
        many = self.at.solution.take(np.zeros(len(quantities), dtype=np.intp))
        return quantities.evaluate(many.theta, many.alive, np.arange(len(quantities)))[0]

    def _half_width(self, quantities: Quantities) -> Array:
        many = self.plane.take(np.zeros(len(quantities), dtype=np.intp))
        g = quantities.evaluate(many.theta, many.alive, np.arange(len(quantities)))[1]
        return np.asarray(self.width * np.sqrt(np.einsum("mp,pq,mq->m", g, self.covariance, g)))

    def parameters(self) -> dict[str, tuple[float, float]]:
        law, without = self.at.law, undefined(self.at)
        low, high = self._ends(Parameters(self.at.basis, law.params))
        with np.errstate(over="ignore"):
            ends = {
                name: (float(np.exp(lo)), float(np.exp(hi))) if name in law.logs else (float(lo), float(hi))
                for name, lo, hi in zip(law.params, low, high, strict=True)
            }
        return {**ends, **self._floor(), **{name: law.bounds[name] for name in without}}

    def _floor(self) -> dict[str, tuple[float, float]]:
        """The interval of a constant floor, computed in E instead of ln E: the law is linear in E, and E may be 0."""
        law = self.at.law
        if law.floor is None or len(law.terms[law.floor].internal) > 1:
            return {}
        (name,) = law.terms[law.floor].internal
        floor = Parameters(self.at.basis, (name,))
        small = self.plane.theta @ self.at.basis.inverse[law.internal.index(name)]
        E, half = float(np.exp(self._value(floor)[0])), float(np.exp(small[0]) * self._half_width(floor)[0])
        return {name: (max(E - half, 0.0), E + half)}

    def law(self, x: Inputs) -> tuple[Array, Array]:
        low, high = self._ends(Predictions(self.at.basis.at(x)))
        return np.exp(low), np.exp(high)

    def measurement(self, x: Inputs) -> tuple[Array, Array]:
        return with_noise(self.at, x, *self.law(x))

    def numbers(self, derived: Sequence[Derived]) -> tuple[Array, Array]:
        low, high = np.full(len(derived), -np.inf), np.full(len(derived), np.inf)
        some = with_ends(self.at, derived)
        if some:
            low[some], high[some] = self._ends(DerivedQuantities(self.at.basis, [derived[m] for m in some]))
        return low, high


def with_noise(at: Estimate, x: Inputs, low: Array, high: Array) -> tuple[Array, Array]:
    """Widen an interval of the law by the noise of one measurement, in quadrature on the scale of the residuals."""
    log = at.problem.objective.name != "linear"
    to, back = (np.log, np.exp) if log else (np.asarray, np.asarray)
    value = at.log_loss(x)
    centre = value if log else np.exp(value)
    size = _log_noise(at) if log else _linear_noise(at, centre)
    noise = student.ppf((1 + LEVEL) / 2, at.dof) * size
    with np.errstate(divide="ignore"):  # an end of 0 is −∞ in logarithms
        lower, upper = np.hypot(centre - to(low), noise), np.hypot(to(high) - centre, noise)
    return np.asarray(back(centre - lower)), np.asarray(back(centre + upper))


def _log_noise(at: Estimate) -> float:
    return float(np.sqrt((at.weights * at.residuals() ** 2).sum() / at.dof))


def _linear_noise(at: Estimate, loss: Array) -> Array:
    """The standard deviation of a measurement where the law is `loss`: constant, or a share of the loss.

    Least squares on L supposes that noise is constant, but noise of an SAE's loss is a share of it, and then a constant
    is far too wide beyond the rows, where losses are smallest. The one under which the residuals are more likely is
    taken: normal with standard deviation σ, or σ L.
    """
    w, fitted = at.weights, np.exp(at.log_fitted())
    r = fitted - np.exp(at.problem.ln_y)
    constant, share = ((w * each**2).sum() / at.dof for each in (r, r / fitted))
    average = float((w * np.log(fitted)).sum() / w.sum())
    if np.sqrt(share) * np.exp(average) < np.sqrt(constant):
        return np.asarray(np.sqrt(share) * loss)
    return np.full(loss.shape, np.sqrt(constant))
