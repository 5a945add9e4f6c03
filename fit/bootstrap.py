"""Intervals from refits to resampled runs, for frontiers: their points come from few runs and are not independent."""

from dataclasses import replace

import numpy as np

from fit.engine import Solution, minimise
from fit.estimate import Estimate, internal, log_losses, make_batch, may_vanish
from fit.laws import Array, Inputs
from fit.profile import LEVEL, revived
from fit.rows import Rows

TAILS = (50 * (1 - LEVEL), 50 * (1 + LEVEL))


class RunBootstrap:
    """Percentile intervals of an estimate over replicates, each a frontier rebuilt from resampled runs.

    solutions: (R,), the refits. A draw of a run that the frontier hangs on can only raise the frontier, never lower it,
    so the intervals lean to higher losses.
    """

    method = "bootstrap over runs"

    def __init__(self, at: Estimate, replicates: Rows, seed: int = 0) -> None:
        self.at, self.seed = at, seed
        self.solutions = refits(at, replicates)

    def parameters(self) -> dict[str, tuple[float, float]]:
        values = self.at.law.values(internal(self.at.basis, self.solutions))
        return {name: _percentiles(value) for name, value in values.items()}

    def law(self, x: Inputs) -> tuple[Array, Array]:
        """95 % interval of the law's L at inputs (m,)."""
        return _ends(log_losses(self.at.basis, self.solutions, x))

    def measurement(self, x: Inputs) -> tuple[Array, Array]:
        """95 % interval of a new measurement of L at inputs (m,): the law's, with residuals drawn onto it."""
        logs = log_losses(self.at.basis, self.solutions, x)
        residuals = self.at.residuals() * np.sqrt(len(self.at.residuals()) / self.at.dof)
        return _ends(logs - np.random.default_rng(self.seed).choice(residuals, logs.shape))


def _percentiles(values: Array) -> tuple[float, float]:
    if np.isnan(values).any():  # the slope of a floor that vanished in some draw
        return -np.inf, np.inf
    low, high = np.percentile(values, TAILS, method="closest_observation")
    return float(low), float(high)


def _ends(logs: Array) -> tuple[Array, Array]:
    low, high = np.exp(np.percentile(logs, TAILS, axis=0))
    return low, high


def refits(at: Estimate, replicates: Rows) -> Solution:
    """The optimum of every replicate, rows (R, rows), from the estimate's, with its floor put back, and without."""
    batch = make_batch(at.basis, replicates.x, replicates.loss, replicates.weights)
    R, flags = len(batch.y), may_vanish(at.law)
    back = revived(at, at.solution, 0.3)
    starts = [at.solution, back, replace(back, alive=back.alive & ~flags)]
    tries = [
        minimise(batch, np.repeat(s.theta, R, axis=0), np.repeat(s.alive, R, axis=0), flags, tolerance=1e-9)
        for s in starts
    ]
    return tries[0].better_of(tries[1]).better_of(tries[2])
