"""Intervals from refits to resampled runs: for many runs, for rows that share a run, and for frontiers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from fit.law.errors import FitError
from fit.law.estimate import Estimate, internal, log_losses
from fit.law.functionals import Numbers
from fit.law.intervals.profile import LEVEL, undefined, with_ends
from fit.law.law import Array, Derived, Inputs
from fit.law.options import FEWEST_DRAWS
from fit.law.rows import Rows
from fit.law.solver import Problem, Solution, minimise
from fit.law.starts import may_vanish, revived

TAILS = (50 * (1 - LEVEL), 50 * (1 + LEVEL))
# A refit that stops where its deviance would fall by less than this share is within 1e-3 standard errors of its optimum
# for 1,000 rows or fewer. Stopped much earlier, intervals cover 29 to 49 % instead of 95.
TOLERANCE = 1e-9
# A floor without which the deviance is this many τ higher, 6 standard errors, is there in every refit.
SURE = 36.0


class Bootstrap:
    """Percentile intervals of an estimate over the refits to replicates. solutions: (R,), the refits."""

    def __init__(self, at: Estimate, replicates: Rows, unit: str = "runs", seed: int = 0) -> None:
        self.at, self.seed = at, seed
        self.method = f"bootstrap over {unit}"
        self.solutions = refits(at, replicates)

    def parameters(self) -> dict[str, tuple[float, float]]:
        """Public name to its interval, see `undefined` for those without ends: a percentile is always finite."""
        law, without = self.at.law, undefined(self.at)
        return {
            name: law.bounds[name] if name in without else _percentiles(value)
            for name, value in self.values().items()
        }

    def values(self) -> dict[str, Array]:
        """Public parameters of the refits, (R,) each."""
        return self.at.law.values(internal(self.at.basis, self.solutions))

    def law(self, x: Inputs) -> tuple[Array, Array]:
        """95 % interval of the law's L at inputs (m,)."""
        return _ends(log_losses(self.at.basis.at(x), self.solutions))

    def measurement(self, x: Inputs) -> tuple[Array, Array]:
        """95 % interval of a new measurement of L at inputs (m,): the law's, with residuals drawn onto it."""
        logs = log_losses(self.at.basis.at(x), self.solutions)
        w = self.at.weights / self.at.weights.sum()
        residuals = self.at.residuals() * np.sqrt(self.at.weights.sum() / self.at.dof)
        return _ends(logs - np.random.default_rng(self.seed).choice(residuals, logs.shape, p=w))

    def numbers(self, of: Sequence[Derived]) -> tuple[Array, Array]:
        """95 % interval of what follows from the parameters, (m,) each, as logarithms where it is one."""
        R, quantities = len(self.solutions.theta), Numbers(self.at.basis, of)
        low, high = np.full(len(of), -np.inf), np.full(len(of), np.inf)
        for m in with_ends(self.at, of):
            value = quantities.evaluate(self.solutions.theta, self.solutions.alive, np.full(R, m))[0]
            low[m], high[m] = _percentiles(value)
        return low, high

    def resampled(self, of: Callable[[Mapping[str, Array]], Array]) -> Array:
        """A function of the public parameters over the refits, (R,)."""
        return of(self.values())


def resample(rows: Rows, draws: int, seed: int) -> Rows:
    """Runs drawn with replacement, `draws` times: whole clusters where rows belong together, else rows.

    FitError for fewer draws than make percentiles, and for a seed that is none.
    """
    check(draws, seed)
    rng = np.random.default_rng(seed)
    present = np.flatnonzero(rows.weights > 0)
    labels = (
        np.arange(len(present))
        if rows.cluster is None
        else np.unique(rows.cluster[present], return_inverse=True)[1]
    )
    units = int(labels.max()) + 1
    counts = rng.multinomial(units, np.full(units, 1 / units), size=draws).astype(float)
    weights = np.zeros((draws, len(rows.loss)))
    weights[:, present] = counts[:, labels] * rows.weights[present]
    return replace(rows, weights=weights)


def check(draws: int, seed: int) -> None:
    """FitError for fewer draws than make percentiles, and for a seed that is none."""
    if draws < FEWEST_DRAWS:
        raise FitError(f"{draws} draws make no 95 % interval: give {FEWEST_DRAWS} or more.")
    if seed < 0:
        raise FitError(f"The seed is {seed}: give 0 or more.")


def refits(at: Estimate, replicates: Rows) -> Solution:
    """The optimum of every replicate, from the estimate's, with its floor put back, and without it."""
    terms = at.basis.at(replicates.x)
    problem = Problem(terms, np.log(replicates.loss), replicates.weights, at.problem.objective)
    R, flags = len(replicates.weights), may_vanish(at.law)

    def refitted(start: Solution) -> Solution:
        many = start.take(np.zeros(R, dtype=np.intp))
        return minimise(problem, many.theta, many.alive, flags, TOLERANCE)

    best = refitted(at.solution)
    if at.law.floor is None or at.without(at.law.floor) > at.deviance + SURE * at.scatter():
        return best
    back = revived(at.basis, at.problem, at.solution, 0.3)
    if at.floor_vanished:
        return best.better_of(refitted(back))
    return best.better_of(refitted(replace(back, alive=back.alive & ~flags)))


def _percentiles(values: Array) -> tuple[float, float]:
    if np.isnan(values).any():  # the slope of a floor that vanished in some draw
        return -np.inf, np.inf
    low, high = np.percentile(values, TAILS, method="closest_observation")
    return float(low), float(high)


def _ends(logs: Array) -> tuple[Array, Array]:
    low, high = np.exp(np.percentile(logs, TAILS, axis=0))
    return low, high
