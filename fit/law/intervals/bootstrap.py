"""Bootstrap intervals, from refits to resampled runs. Used for many runs, rows that share a run, and frontiers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

from fit.law.errors import FitError
from fit.law.estimate import Estimate, internal, log_losses
from fit.law.functionals import DerivedQuantities
from fit.law.intervals.profile import LEVEL, undefined, with_ends
from fit.law.law import Array, Derived, Inputs
from fit.law.options import FEWEST_DRAWS
from fit.law.rows import Rows
from fit.law.solver import Problem, Solution, minimise
from fit.law.starts import may_vanish, revived

# A refit stops when its deviance would fall by less than this share. For 1,000 rows or fewer it is then within 1e-3
# standard errors of its optimum. If refits stop much earlier, 95 % intervals cover only 29 to 49 %.
TOLERANCE = 1e-9
# The method of intervals from replicates by `redrawn`.
RESIDUALS = "residuals"
OVER_RESIDUALS = f"bootstrap over {RESIDUALS}"
# A loss that is redrawn is at least this share of the law: with squares of the loss itself an error could exceed it.
SMALLEST = 1e-3
# If the deviance without the floor is this many τ higher (6 standard errors), every refit has the floor.
SURE = 36.0


class Bootstrap:
    """Percentile intervals of an estimate over its refits to replicates. solutions: the R refits.

    level: what the percentiles enclose, 95 % where the rows are many, see `level_of_few`.
    """

    def __init__(
        self, at: Estimate, replicates: Rows, unit: str = "runs", seed: int = 0, level: float = LEVEL
    ) -> None:
        self.at, self.seed, self.tails = at, seed, _tails(level)
        self.method = f"bootstrap over {unit}"
        self.solutions = refits(at, replicates)

    @classmethod
    def of_refits(cls, at: Estimate, theta: Array, unit: str = "runs", seed: int = 0) -> "Bootstrap":
        """The bootstrap of refits with these internal parameters, (R, p); those of a vanished floor are not finite."""
        alive = np.stack(
            [np.isfinite(theta[:, at.law.block(j)]).all(axis=1) for j in range(len(at.law.terms))], axis=1
        )
        inner = np.where(np.isfinite(theta), theta, 0.0)
        whitened = np.asarray(np.linalg.solve(at.basis.inverse, inner.T).T, dtype=float)
        known = cls.__new__(cls)
        known.at, known.seed, known.method, known.tails = at, seed, f"bootstrap over {unit}", _tails(LEVEL)
        known.solutions = Solution(whitened, alive, np.full(len(theta), np.nan), np.ones(len(theta), bool))
        return known

    def parameters(self) -> dict[str, tuple[float, float]]:
        """Interval of each public parameter by name.

        Percentiles are always finite, so the parameters in `undefined` get their bounds instead.
        """
        law, without = self.at.law, undefined(self.at)
        return {
            name: law.bounds[name] if name in without else _percentiles(value, self.tails)
            for name, value in self.values().items()
        }

    def values(self) -> dict[str, Array]:
        """Public parameters of the refits, (R,) each."""
        return self.at.law.values(internal(self.at.basis, self.solutions))

    def law(self, x: Inputs) -> tuple[Array, Array]:
        """95 % interval of the law's L at inputs (m,)."""
        return _ends(log_losses(self.at.basis.at(x), self.solutions), self.tails)

    def measurement(self, x: Inputs) -> tuple[Array, Array]:
        """95 % interval of a new measurement of L at inputs (m,): the refits' predictions plus resampled residuals."""
        logs = log_losses(self.at.basis.at(x), self.solutions)
        w = self.at.weights / self.at.weights.sum()
        residuals = self.at.residuals() * np.sqrt(self.at.weights.sum() / self.at.dof)
        return _ends(logs - np.random.default_rng(self.seed).choice(residuals, logs.shape, p=w), self.tails)

    def numbers(self, derived: Sequence[Derived]) -> tuple[Array, Array]:
        """95 % interval of derived quantities, (m,) each; of the logarithm for those with `log`."""
        R, quantities = len(self.solutions.theta), DerivedQuantities(self.at.basis, derived)
        low, high = np.full(len(derived), -np.inf), np.full(len(derived), np.inf)
        for m in with_ends(self.at, derived):
            value = quantities.evaluate(self.solutions.theta, self.solutions.alive, np.full(R, m))[0]
            low[m], high[m] = _percentiles(value, self.tails)
        return low, high

    def resampled(self, function: Callable[[Mapping[str, Array]], Array]) -> Array:
        """A function of the public parameters, evaluated for every refit, (R,)."""
        return function(self.values())


def resample(rows: Rows, draws: int, seed: int) -> Rows:
    """Replicates of the rows, drawn with replacement `draws` times: whole clusters if the rows have any, else rows.

    Raises FitError if there are too few draws for percentiles or the seed is negative.
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


def redrawn(at: Estimate, rows: Rows, draws: int, seed: int) -> Rows:
    """Replicates of few rows: all of them, with new losses whose errors are those of the rows with random signs.

    The error of a row is its residual in a fit without it, as in `spread.sandwich`, r + (1/(1 − h) − 1) ψ(r)/κ with its
    leverage h (the wild bootstrap: Wu 1986, Liu 1988; for Huber's loss Feng, He & Hu 2011). The grid stays whole: of 16
    rows drawn with replacement 10 are different, which is no longer a grid that tells five parameters. Intervals from
    such draws held 98 to 100 % from 16 rows under Huber's loss, and 89 to 93 % from 45 under least squares.

    Raises FitError if there are too few draws for percentiles or the seed is negative.
    """
    check(draws, seed)
    objective, ln_fitted = at.problem.objective, at.log_fitted()
    psi, inside = at.influence()
    r = objective.residual(ln_fitted, at.problem.ln_y)
    errors = r + (1 / (1 - at.leverage) - 1) * psi / inside
    drawn = errors * np.random.default_rng(seed).choice([-1.0, 1.0], size=(draws, len(r)))
    fitted = np.exp(ln_fitted)
    loss = fitted - drawn if objective.name == "linear" else fitted * np.exp(-drawn)
    return replace(rows, loss=np.maximum(loss, SMALLEST * fitted), weights=np.tile(rows.weights, (draws, 1)))


def level_of_few(at: Estimate) -> float:
    """The level of percentiles that makes the interval t_ν/z times as wide as at 95 %, for normal draws.

    The draws know their spread from ν degrees of freedom, as a t test does.
    """
    t = student.ppf((1 + LEVEL) / 2, at.dof)
    return float(1 - 2 * norm.sf(t))


def check(draws: int, seed: int) -> None:
    """Raise FitError if there are too few draws for percentiles or the seed is negative."""
    if draws < FEWEST_DRAWS:
        raise FitError(f"{draws} draws are too few for a 95 % interval: give {FEWEST_DRAWS} or more.")
    if seed < 0:
        raise FitError(f"The seed is {seed}: give 0 or more.")


def refits(at: Estimate, replicates: Rows) -> Solution:
    """The optimum of every replicate: the best of refits from the estimate, with its floor restored, and without it."""
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


def _tails(level: float) -> tuple[float, float]:
    return 50 * (1 - level), 50 * (1 + level)


def _percentiles(values: Array, tails: tuple[float, float]) -> tuple[float, float]:
    if np.isnan(values).any():  # the slope of a floor that vanished in at least one draw
        return -np.inf, np.inf
    low, high = np.percentile(values, tails, method="closest_observation")
    return float(low), float(high)


def _ends(logs: Array, tails: tuple[float, float]) -> tuple[Array, Array]:
    low, high = np.exp(np.percentile(logs, tails, axis=0))
    return low, high
