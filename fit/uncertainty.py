"""95 % intervals of parameters, predictions and what follows from them, by the method that fits the rows."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from scipy.stats import t as student

from fit.bootstrap import Bootstrap, resample
from fit.engine import Flags
from fit.errors import FitError
from fit.estimate import Estimate
from fit.law import Array, Derived, Inputs
from fit.profile import LEVEL, Profile
from fit.quantities import Numbers, Parameters, Predictions, Quantities
from fit.rows import Rows

AUTO, PROFILE, BOOTSTRAP, DELTA = METHODS = ("auto", "profile", "bootstrap", "delta")
# Of 16 runs a profile covers 95 % where case bootstrap and delta method cover 50 to 72 %; from about 50 on a bootstrap
# does as well and asks nothing of the residuals.
FEW = 50
# Above this the law is a plane over its interval: 1,000 refits would only cost memory.
MANY = 20_000


class Intervals(Protocol):
    """How sure a fit is. Ends are ±inf, of E and A also 0, where a side is unbounded."""

    @property
    def method(self) -> str: ...

    def parameters(self) -> dict[str, tuple[float, float]]: ...

    def law(self, x: Inputs) -> tuple[Array, Array]: ...

    def measurement(self, x: Inputs) -> tuple[Array, Array]: ...

    def numbers(self, of: Sequence[Derived]) -> tuple[Array, Array]: ...


class ProfileIntervals:
    """Profile likelihood with the F threshold: right for few independent rows."""

    method = "profile"

    def __init__(self, at: Estimate) -> None:
        self.at = at
        self.profile = Profile(at)

    def parameters(self) -> dict[str, tuple[float, float]]:
        """Public name to its interval, without an end where the rows allow the parameter's term to be absent.

        Without its term a slope means nothing, nor does the coefficient that belongs to it; a constant floor may still
        have an upper end.
        """
        law, optional = self.at.law, self._optional()
        undefined = {
            n for j, t in enumerate(law.terms) if optional[j] and len(t.internal) > 1 for n in t.internal
        }
        names = tuple(name for name in law.params if name not in undefined)
        low, high = self.profile.ends(Parameters(self.at.basis, names))
        ends = dict(law.bounds)
        with np.errstate(over="ignore"):
            for name, *pair in zip(names, low, high, strict=True):
                lo, hi = np.exp(pair) if name in law.logs else pair
                ends[name] = float(lo), float(hi)
        return ends

    def _optional(self) -> Flags:
        """(J,): whether the rows allow a term to be absent."""
        return self.at.without <= self.at.deviance + self.profile.delta

    def law(self, x: Inputs) -> tuple[Array, Array]:
        """Interval of the law's L at inputs (m,)."""
        low, high = self.profile.ends(Predictions(self.at.basis.at(x)))
        return np.exp(low), np.exp(high)

    def measurement(self, x: Inputs) -> tuple[Array, Array]:
        """Interval of a new measurement of L at inputs (m,), its own noise included."""
        if self.at.problem.objective.name != "log":
            return _with_noise(self.at, x, *self.law(x))
        low, high = self.profile.ends(Predictions(self.at.basis.at(x)), measurement=True)
        return np.exp(low), np.exp(high)

    def numbers(self, of: Sequence[Derived]) -> tuple[Array, Array]:
        """Interval of what follows from the parameters, (m,) each, as logarithms where it is one."""
        low, high = np.full(len(of), -np.inf), np.full(len(of), np.inf)
        optional = self._optional()
        some = [m for m, d in enumerate(of) if d.term is None or d.log or not optional[d.term]]
        if some:
            low[some], high[some] = self.profile.ends(Numbers(self.at.basis, [of[m] for m in some]))
        return low, high


class DeltaIntervals:
    """The law as a plane around its optimum: for very many rows, and to check the others.

    The covariance is the sandwich over clusters or rows, H⁻¹ (Σ_c g_c g_cᵀ) H⁻¹, which asks nothing of the residuals.
    """

    method = "delta"

    def __init__(self, at: Estimate, rows: Rows) -> None:
        self.at = at
        psi, inside = at._influence()
        scores = at.jacobian() * (at.weights * psi)
        bread = at.covariance() / inside
        labels = np.arange(scores.shape[1]) if rows.cluster is None else rows.cluster
        units = len(np.unique(labels))
        summed = np.stack([np.bincount(labels, weights=g) for g in scores])
        p = len(scores)
        # The correction of few clusters, n/(n − p), makes it s² (JᵀJ)⁻¹ for equal residuals.
        self.covariance = bread @ (summed @ summed.T) @ bread * units / max(units - p, 1)
        self.width = float(student.ppf((1 + LEVEL) / 2, max(units - p, 1)))

    def _ends(self, of: Quantities) -> tuple[Array, Array]:
        m = len(of)
        many = self.at.solution.take(np.zeros(m, dtype=np.intp))
        value, g, _ = of.evaluate(many.theta, many.alive, np.arange(m))
        half = self.width * np.sqrt(np.einsum("mp,pq,mq->m", g, self.covariance, g))
        known = np.isfinite(value)
        return np.where(known, value - half, -np.inf), np.where(known, value + half, np.inf)

    def parameters(self) -> dict[str, tuple[float, float]]:
        law = self.at.law
        low, high = self._ends(Parameters(self.at.basis, law.params))
        with np.errstate(over="ignore"):
            return {
                name: (float(np.exp(lo)), float(np.exp(hi))) if name in law.logs else (float(lo), float(hi))
                for name, lo, hi in zip(law.params, low, high, strict=True)
            }

    def law(self, x: Inputs) -> tuple[Array, Array]:
        low, high = self._ends(Predictions(self.at.basis.at(x)))
        return np.exp(low), np.exp(high)

    def measurement(self, x: Inputs) -> tuple[Array, Array]:
        return _with_noise(self.at, x, *self.law(x))

    def numbers(self, of: Sequence[Derived]) -> tuple[Array, Array]:
        return self._ends(Numbers(self.at.basis, of))


def _with_noise(at: Estimate, x: Inputs, low: Array, high: Array) -> tuple[Array, Array]:
    """An interval of the law and the noise of one measurement, added in squares on the scale of the residuals."""
    log = at.problem.objective.name != "linear"
    to, back = (np.log, np.exp) if log else (np.asarray, np.asarray)
    value, r = at.log_loss(x), at.residuals()
    centre = value if log else np.exp(value)
    r = r if log else np.exp(at.log_fitted()) - np.exp(at.problem.ln_y)
    noise = student.ppf((1 + LEVEL) / 2, at.dof) * np.sqrt((at.weights * r**2).sum() / at.dof)
    lower = np.hypot(centre - to(low), noise)
    upper = np.hypot(to(high) - centre, noise)
    return np.asarray(back(centre - lower)), np.asarray(back(centre + upper))


def intervals(
    at: Estimate,
    rows: Rows,
    replicates: Rows | None = None,
    method: str = AUTO,
    draws: int = 1000,
    seed: int = 0,
) -> Intervals:
    """The intervals of an estimate by the method asked for, or by the number of independent runs.

    replicates: given resamplings, which are then used. Without them: few independent rows, profile likelihood; many, or
    rows that share runs, bootstrap over those; very many, the delta method.
    """
    if method not in METHODS:
        raise FitError(f"There is no interval method {method!r}: choose {', '.join(METHODS)}.")
    if replicates is not None and method in (AUTO, BOOTSTRAP):
        return Bootstrap(at, replicates, seed=seed)
    if method == AUTO:
        method = _suited(rows)
    if method == PROFILE:
        return ProfileIntervals(at)
    if method == DELTA:
        return DeltaIntervals(at, rows)
    unit = "rows" if rows.cluster is None else "runs"
    return Bootstrap(at, resample(rows, draws, seed), unit, seed)


def _suited(rows: Rows) -> str:
    count = int((rows.weights > 0).sum())
    if count > MANY:
        return DELTA
    if rows.cluster is None or len(np.unique(rows.cluster)) == len(rows.cluster):
        return PROFILE if count < FEW else BOOTSTRAP
    return BOOTSTRAP
