"""One law fitted to one set of rows: the best of many starts, with its predictions and correlations."""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from fit.law.basis import Basis, Terms
from fit.law.law import Array, Inputs, Law
from fit.law.losses import LOG, Objective
from fit.law.rows import Rows, check_rows
from fit.law.solver import Problem, Solution, evaluate, minimise
from fit.law.starts import (
    best_of,
    deviance_of_all,
    may_vanish,
    on_all_rows,
    refined,
    revived,
    sampled,
    starting_points,
    with_floors,
    without,
)

# Starts whose deviances differ by less than this, relatively, have reached the same optimum.
SAME = 1e-6
# A floor that vanished is linearised at this share of the loss; any small share gives the same column.
SMALL = 1e-3
# A row that alone determines a parameter has a leverage of 1 and no residual that could be corrected by it.
HIGHEST_LEVERAGE = 0.9
# A column of ∂r/∂θ' this short is 0: its parameter moves no row, as the width of a break that is a step between two
# rows. The square of its inverse is no number from 1e-154 down.
NO_LENGTH = 1e-100


@dataclass(frozen=True)
class Estimate:
    """The optimum of the deviance Σ w 2ρ(r), for the default objective Σ w (ln L_law − ln L)².

    problem: a single problem, R = 1. solution: its optimum, with a leading axis of 1. starts: (S, p). agree: how many
    of the starts reached the optimum.
    """

    basis: Basis
    problem: Problem
    solution: Solution
    starts: Array
    agree: int
    # Cache of `without`: each result takes several refits, and few are ever asked for.
    known_without: dict[int, float] = field(default_factory=dict, repr=False, compare=False)

    def without(self, term: int) -> float:
        """The deviance of the law without one of its terms; infinite if it has no other term."""
        if term not in self.known_without:
            bare = without(term, sampled(self.problem), self.starts)
            self.known_without[term] = np.inf if bare is None else deviance_of_all(self.problem, bare)
        return self.known_without[term]

    @property
    def tried(self) -> int:
        return len(self.starts)

    @property
    def law(self) -> Law:
        return self.basis.law

    @property
    def deviance(self) -> float:
        return float(self.solution.deviance[0])

    @property
    def weights(self) -> Array:
        return self.problem.w[0]

    @property
    def dof(self) -> float:
        """Σ w − p: a weight of 2 counts as two measurements."""
        return float(self.weights.sum()) - len(self.law.internal)

    def freedom(self) -> float:
        """Degrees of freedom of the scatter: ν (1 + κ)/2 with κ the mean of ψ', ν itself for least squares.

        Where most errors lie beyond Huber's δ, the scatter rests on the density of the errors at 0, which n rows tell
        about half as well as their variance.
        """
        return self.dof * (1 + min(self.influence()[1], 1.0)) / 2

    @property
    def floor_vanished(self) -> bool:
        return self.law.floor is not None and not self.solution.alive[0, self.law.floor]

    def theta(self) -> Array:
        """Internal parameters, (p,); those of a vanished floor are −inf for its intercept and NaN for its slopes."""
        return internal(self.basis, self.solution)[0]

    def log_loss(self, x: Inputs) -> Array:
        """ln L at inputs (rows,)."""
        return log_losses(self.basis.at(x), self.solution)[0]

    def log_fitted(self) -> Array:
        """ln L_law of the fitted rows, (rows,)."""
        return log_losses(self.basis.terms, self.solution)[0]

    def residuals(self) -> Array:
        """ln L_law − ln L of the fitted rows, (rows,), whatever the objective."""
        return self.log_fitted() - self.problem.ln_y

    def scatter(self) -> float:
        """τ = (Σwψ²/ν) / mean ψ', s² for least squares.

        The rise of the deviance with one parameter, divided by τ, follows χ² with one degree of freedom.
        """
        psi, inside = self.influence()
        return float((self.weights * psi**2).sum() / self.dof / inside)

    def influence(self) -> tuple[Array, float]:
        """ψ of the rows, (rows,), and the mean of ψ' at their errors."""
        return self._influence

    @cached_property
    def _influence(self) -> tuple[Array, float]:
        objective = self.problem.objective
        r = objective.residual(self.log_fitted(), self.problem.ln_y)
        if not np.isfinite(objective.delta):
            return r, 1.0
        return objective.slope(r), objective.mean_inside(r, self.leverage, self.weights)

    @cached_property
    def leverage(self) -> Array:
        """h, (rows,): how far the fitted value of each row follows its own measurement, between 0 and 1; Σ h = p.

        A floor counts even if it vanished.
        """
        plane = revived(self.basis, self.problem, self.solution, SMALL)
        J = self.jacobian(plane)
        h = self.weights * np.einsum("pi,pi->i", J, self.covariance(plane) @ J)
        return np.asarray(np.clip(h, 0.0, HIGHEST_LEVERAGE))

    def jacobian(self, solution: Solution | None = None) -> Array:
        """∂r/∂θ' of the fitted rows, (p, rows), at the optimum or another solution; 0 for a vanished floor."""
        at = solution or self.solution
        f, share = evaluate(self.basis.terms, at.theta, at.alive)
        return self.basis.terms.slopes(at.theta, share)[0] * self.problem.objective.rate(f)

    def covariance(self, solution: Solution | None = None) -> Array:
        """(JᵀWJ)⁺ of θ', (p, p), without the factor s²; 0 for a vanished floor."""
        J = self.jacobian(solution) * np.sqrt(self.weights)
        # Columns are scaled to length 1, so that the pseudo-inverse does not cut off the column of a small floor.
        length = np.linalg.norm(J, axis=1)
        scale = np.divide(1, length, out=np.zeros(len(J)), where=length > NO_LENGTH)
        J = J * scale[:, None]
        inverse = np.asarray(np.linalg.pinv(J @ J.T, rcond=1e-13, hermitian=True), dtype=float)
        return inverse * np.outer(scale, scale)

    def errors(self) -> Array:
        """Standard errors of the internal parameters by the delta method, (p,); NaN for those of a vanished floor."""
        _, inside = self.influence()
        inner = self.basis.inverse @ self.covariance() @ self.basis.inverse.T
        variance = np.diag(inner) * self.scatter() / inside
        return np.sqrt(np.where(variance > 0, variance, np.nan))


def internal(basis: Basis, solution: Solution) -> Array:
    """θ of every solution, (R, p); a vanished term has −inf for its intercept and NaN for its slopes."""
    theta = solution.theta @ basis.inverse.T
    for j in range(len(basis.law.terms)):
        block = basis.law.block(j)
        gone = ~solution.alive[:, j]
        theta[gone, block] = np.nan
        theta[gone, block.start] = -np.inf
    return theta


def log_losses(terms: Terms, solution: Solution) -> Array:
    """ln L of every solution at the rows of `terms`, (R, rows)."""
    return evaluate(terms, solution.theta, solution.alive)[0]


def estimate(law: Law, rows: Rows, objective: Objective = LOG) -> Estimate:
    """Fit a law to rows: starting points from variable projection are refined together, and the lowest optimum is kept.

    The law without its floor is fitted too, and is the optimum if no fit with a floor does better.
    """
    check_rows(law, rows)
    basis = Basis.from_inputs(law, rows.x)
    problem = Problem(basis.terms, np.log(rows.loss), rows.weights[None], objective)
    starts = starting_points(basis, rows.x, rows.loss, rows.weights)
    sample = sampled(problem)
    everything = np.ones((len(starts), len(law.terms)), dtype=bool)
    optima = with_floors(basis, sample, refined(sample, starts, everything, may_vanish(law)))
    best = best_of(optima)
    bare = None if law.floor is None else without(law.floor, sample, starts)
    if bare is not None and bare.deviance[0] <= best.deviance[0] * (1 + 1e-9):
        best = bare
    tiny = 1e-20 * float(sample.w.sum())
    agree = int((optima.deviance <= best.deviance[0] * (1 + SAME) + tiny).sum())
    if sample is not problem:
        best = on_all_rows(basis, problem, best)
    without_floor = {}
    if bare is not None and law.floor is not None:
        without_floor[law.floor] = deviance_of_all(problem, bare)
    return Estimate(basis, problem, best, starts, agree, without_floor)


def improved(at: Estimate, better: Solution) -> Estimate:
    """The estimate moved to the lower optimum near a solution that a profile reached and no start had."""
    solution = minimise(at.problem, better.theta, better.alive, may_vanish(at.law))
    return replace(at, solution=solution, agree=0, known_without={})
