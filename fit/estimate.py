"""One law fitted to one set of rows: the best of many starts, with its predictions and correlations."""

from dataclasses import dataclass, replace

import numpy as np

from fit.basis import Basis
from fit.engine import Batch, Flags, Solution, evaluate, jacobian, minimise
from fit.errors import FitError
from fit.laws import Array, Inputs, Law
from fit.seeds import seeds

# Starts whose sum of squares is this close, relatively, have reached the same optimum.
SAME = 1e-6


@dataclass(frozen=True)
class Estimate:
    """The least-squares optimum of Σ w (ln L_law − ln L)².

    batch: the one problem; solution: its optimum, a leading axis of 1; without: (J,), the sum of squares of the law
    without each of its terms; tried, agree: starts, and how many of them reached the optimum.
    """

    basis: Basis
    batch: Batch
    solution: Solution
    without: Array
    tried: int
    agree: int

    @property
    def law(self) -> Law:
        return self.basis.law

    @property
    def ssr(self) -> float:
        return float(self.solution.ssr[0])

    @property
    def dof(self) -> float:
        """Σ w − p: a weight of 2 counts as two measurements."""
        return float(self.batch.w.sum()) - len(self.law.internal)

    @property
    def floor_vanished(self) -> bool:
        return self.law.floor is not None and not self.solution.alive[0, self.law.floor]

    def theta(self) -> Array:
        """Internal parameters, (p,); those of a vanished floor are −inf for its intercept and NaN for its slopes."""
        return internal(self.basis, self.solution)[0]

    def log_loss(self, x: Inputs) -> Array:
        """ln L at inputs (rows,)."""
        return log_losses(self.basis, self.solution, x)[0]

    def residuals(self) -> Array:
        """ln L_law − ln L of the fitted rows, (rows,)."""
        f, _ = evaluate(self.batch, self.solution.theta, self.solution.alive)
        return (f - self.batch.y)[0]

    def covariance(self) -> Array:
        """(JᵀWJ)⁺ of the whitened parameters, (p, p), without the factor s²; 0 for a vanished floor."""
        _, share = evaluate(self.batch, self.solution.theta, self.solution.alive)
        J = jacobian(self.batch, share)[0]
        return np.linalg.pinv((J * self.batch.w[0][:, None]).T @ J, rcond=1e-13, hermitian=True)


def internal(basis: Basis, solution: Solution) -> Array:
    """θ of every solution, (R, p); a vanished term has −inf for its intercept and NaN for its slopes."""
    theta = solution.theta @ basis.inverse.T
    for j in range(len(basis.law.terms)):
        block = basis.law.block(j)
        gone = ~solution.alive[:, j]
        theta[gone, block] = np.nan
        theta[gone, block.start] = -np.inf
    return theta


def log_losses(basis: Basis, solution: Solution, x: Inputs) -> Array:
    """ln L of every solution at inputs (rows,): (R, rows)."""
    phi = basis.rows(x)[None]
    rows = phi.shape[2]
    batch = Batch(phi, np.zeros((1, phi.shape[1], rows)), np.zeros((1, rows)), np.ones((1, rows)))
    return evaluate(batch, solution.theta, solution.alive)[0]


def may_vanish(law: Law) -> Flags:
    """(J,): which terms may go to their boundary."""
    return np.arange(len(law.terms)) == law.floor


def make_batch(basis: Basis, x: Inputs, loss: Array, weights: Array) -> Batch:
    """Problems over rows (R, rows)."""
    phi = basis.rows(x)
    return Batch(phi, np.zeros(phi.shape[:-1]), np.log(loss), weights)


def estimate(law: Law, x: Inputs, loss: Array, weights: Array) -> Estimate:
    """Fits a law to rows (rows,): seeds by variable projection, all refined at once, the lowest taken.

    The floor may vanish: the law without it is fitted too, and is the optimum where no floor does better.
    """
    check_rows(law, x, weights)
    basis = Basis.of(law, x)
    batch = make_batch(basis, {name: x[name][None] for name in law.inputs}, loss[None], weights[None])
    starts = seeds(basis, x, loss, weights)
    flags = may_vanish(law)
    everything = np.ones((len(starts), len(law.terms)), dtype=bool)
    found = minimise(batch, starts, everything, flags)
    best = found.take(np.array([np.nanargmin(found.ssr)]))
    without = [_without(j, batch, starts) for j in range(len(law.terms))]
    ssr = np.array([np.inf if bare is None else bare.ssr[0] for bare in without])
    bare = None if law.floor is None else without[law.floor]
    if bare is not None and bare.ssr[0] <= best.ssr[0] * (1 + 1e-9):
        best = bare
    tiny = 1e-20 * weights.sum()
    agree = int((found.ssr <= best.ssr[0] * (1 + SAME) + tiny).sum())
    return Estimate(basis, batch, best, ssr, len(starts), agree)


def _without(term: int, batch: Batch, starts: Array) -> Solution | None:
    """The optimum of the law without one of its terms; None where no other term is left."""
    terms = batch.phi.shape[1]
    if terms == 1:
        return None
    alive = np.tile(np.arange(terms) != term, (len(starts), 1))
    found = minimise(batch, starts, alive, np.zeros(terms, dtype=bool))
    return found.take(np.array([np.nanargmin(found.ssr)]))


def improved(at: Estimate, better: Solution) -> Estimate:
    """The estimate moved to a lower optimum near a solution that a profile ran into; no start had reached it."""
    return replace(at, solution=minimise(at.batch, better.theta, better.alive, may_vanish(at.law)), agree=0)


def check_rows(law: Law, x: Inputs, weights: Array) -> None:
    """FitError when the rows are too few, or too alike, for the law."""
    present = weights > 0
    for name, needed in law.distinct.items():
        values = np.unique(x[name][present])
        if len(values) < needed:
            shown = ", ".join(f"{v:g}" for v in values)
            raise FitError(
                f"{law.name} needs at least {needed} different values of {name}; these rows have {len(values)}"
                f"{f' ({shown})' if shown else ''}. Add runs at other values."
            )
    p = len(law.internal)
    if present.sum() < p + 2:
        raise FitError(
            f"{law.name} has {p} parameters and needs at least {p + 2} rows; there are {int(present.sum())}. "
            "Add runs, or fit a law with fewer parameters."
        )
