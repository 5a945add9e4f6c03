"""Intervals of a law that its rows refute: wide enough for an error that all rows of a run share."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.stats import t as student

from fit.law.estimate import Estimate
from fit.law.functionals import DerivedQuantities, Parameters, Predictions, Quantities
from fit.law.intervals.choose import MANY, NONE, Intervals, ProfileIntervals
from fit.law.intervals.profile import LEVEL, optional, undefined, with_ends
from fit.law.law import Array, Derived, Inputs

# What the name of the method ends with.
WIDENED = ", widened by the misfit"


def carrying_misfit(base: Intervals, at: Estimate, measurements: float | None) -> Intervals:
    """The intervals of a refuted law, see `WithMisfit`; `base` where all rows count, or where it has no intervals."""
    total = float(at.weights.sum())
    if measurements is None or measurements >= total or base.method == NONE:
        return base
    return WithMisfit(base, at, measurements)


class WithMisfit:
    """On each side the wider of two intervals: the usual one, and one that takes the misfit for an error of runs.

    The residuals of a refuted law are not noise that many rows average out: neighbouring rows of a run miss the law by
    the same amount. All rows together then count as few measurements. Scaling their weights to that number leaves the
    estimate as it is, and gives the profile likelihood its scatter, s² = Σ w r²/(m − p), and its degrees of freedom,
    m − p, for m measurements. Only parameters are profiled, which takes a second; intervals of derived quantities and
    of the law at given inputs are linear, ± t √(s² g C gᵀ).

    base: the usual intervals. measurements: m, as how many independent measurements the rows count.
    """

    def __init__(self, base: Intervals, at: Estimate, measurements: float) -> None:
        self.base = base
        self.method = f"{base.method}{WIDENED}"
        share = measurements / float(at.weights.sum())
        problem = replace(at.problem, w=at.problem.w * share)
        solution = replace(at.solution, deviance=at.solution.deviance * share)
        known = {term: deviance * share for term, deviance in at.known_without.items()}
        self.at = replace(at, problem=problem, solution=solution, known_without=known)
        # Profiling refits every row hundreds of times; of so many rows the law is linear over its interval.
        few = self.at.weights.size <= MANY
        self.whole: Intervals = ProfileIntervals(self.at) if few else _Linear(self.at)

    def parameters(self) -> dict[str, tuple[float, float]]:
        with np.errstate(
            over="ignore", invalid="ignore"
        ):  # far from the optimum, where few rows hold it back
            wide = self.whole.parameters()
        return {
            name: (min(low, wide[name][0]), max(high, wide[name][1]))
            for name, (low, high) in self.base.parameters().items()
        }

    def law(self, x: Inputs) -> tuple[Array, Array]:
        return _wider(self.base.law(x), _Linear(self.at).law(x))

    def measurement(self, x: Inputs) -> tuple[Array, Array]:
        return _wider(self.base.measurement(x), _Linear(self.at).measurement(x))

    def numbers(self, derived: Sequence[Derived]) -> tuple[Array, Array]:
        return _wider(self.base.numbers(derived), _Linear(self.at).numbers(derived))


def _wider(one: tuple[Array, Array], other: tuple[Array, Array]) -> tuple[Array, Array]:
    return np.minimum(one[0], other[0]), np.maximum(one[1], other[1])


class _Linear:
    """Intervals ± t √(s² g C gᵀ), g the slope of the quantity, or of its logarithm, in the parameters."""

    method = "delta"

    def __init__(self, at: Estimate) -> None:
        self.at = at

    def parameters(self) -> dict[str, tuple[float, float]]:
        law, without = self.at.law, undefined(self.at)
        names = tuple(name for name in law.params if name not in without)
        low, high = self._ends(Parameters(self.at.basis, names))
        ends = dict(law.bounds)
        for name, *pair in zip(names, low, high, strict=True):
            lo, hi = np.exp(pair) if name in law.logs else pair
            ends[name] = float(lo), float(hi)
        return ends

    def law(self, x: Inputs) -> tuple[Array, Array]:
        low, high = self._ends(Predictions(self.at.basis.at(x)))
        return np.exp(low), np.exp(high)

    def measurement(self, x: Inputs) -> tuple[Array, Array]:
        noise = float((self.at.weights * self.at.residuals() ** 2).sum()) / self.at.dof
        low, high = self._ends(Predictions(self.at.basis.at(x)), noise)
        return np.exp(low), np.exp(high)

    def numbers(self, derived: Sequence[Derived]) -> tuple[Array, Array]:
        low, high = np.full(len(derived), -np.inf), np.full(len(derived), np.inf)
        some = with_ends(self.at, derived)
        if some:
            low[some], high[some] = self._ends(DerivedQuantities(self.at.basis, [derived[m] for m in some]))
        absent = optional(self.at)
        vanishing = [d.term is not None and bool(absent[d.term]) for d in derived]
        low[vanishing] = -np.inf
        return low, high

    def _ends(self, quantities: Quantities, noise: float = 0.0) -> tuple[Array, Array]:
        """noise: the variance of a measurement, where it is part of the interval."""
        many = self.at.solution.take(np.zeros(len(quantities), dtype=np.intp))
        value, g, _ = quantities.evaluate(many.theta, many.alive, np.arange(len(quantities)))
        _, inside = self.at.influence()
        variance = np.einsum("mp,pq,mq->m", g, self.at.covariance(), g) / inside * self.at.scatter() + noise
        half = float(student.isf((1 - LEVEL) / 2, self.at.dof)) * np.sqrt(variance)
        known = np.isfinite(value)
        return np.where(known, value - half, -np.inf), np.where(known, value + half, np.inf)
