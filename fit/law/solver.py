"""Batched Levenberg–Marquardt with the exact Hessian: many weighted problems over the same rows at once."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fit.law.basis import Terms
from fit.law.functionals import Quantities
from fit.law.law import Array
from fit.law.losses import Objective

Flags = NDArray[np.bool_]
Index = NDArray[np.intp]

# A floor below this share of every prediction changes the sum of squares only in its 10th digit or beyond. It has
# reached its boundary, E = 0, and is removed.
VANISHED = 1e-10
# Sums of squares below this, times the sum of the weights, are rounding errors of the logarithms, not residuals.
ROUNDING = 1e-26
LONGEST_STEP = 3.0
# Problems are solved in batches whose Jacobian has at most this many numbers (64 MiB).
AT_ONCE = 2**23


@dataclass(frozen=True)
class Pull:
    """One extra observation for each problem: quantities[which] is observed as `target` with `weight`, (R,) each."""

    quantities: Quantities
    which: Index
    target: Array
    weight: Array

    def take(self, index: Index) -> "Pull":
        return Pull(self.quantities, self.which[index], self.target[index], self.weight[index])


@dataclass(frozen=True)
class Problem:
    """R problems: minimise over θ the deviance Σ_i w_i 2ρ(r_i) of a law at its rows, plus the pull if there is one.

    ln_y: (rows,), or (R, rows) if each problem has losses of its own. w: (R, rows), or (1, rows) if all problems have
    the same weights.
    """

    terms: Terms
    ln_y: Array
    w: Array
    objective: Objective
    pull: Pull | None = None

    def take(self, index: Index) -> "Problem":
        """The problems at these indices."""
        w = self.w if len(self.w) == 1 else self.w[index]
        ln_y = self.ln_y if self.ln_y.ndim == 1 else self.ln_y[index]
        return replace(self, ln_y=ln_y, w=w, pull=self.pull.take(index) if self.pull else None)


@dataclass(frozen=True)
class Solution:
    """The optima of R problems.

    theta: (R, p). alive: (R, J), False for a term that vanished. deviance: (R,), of the rows and the pull. settled:
    (R,), False if the iterations ran out before the optimum was reached.
    """

    theta: Array
    alive: Flags
    deviance: Array
    settled: Flags

    def take(self, index: Index) -> "Solution":
        return Solution(self.theta[index], self.alive[index], self.deviance[index], self.settled[index])

    def better_of(self, other: "Solution") -> "Solution":
        """For each problem, the one of the two solutions with the lower deviance."""
        wins = other.deviance < self.deviance
        return Solution(
            np.where(wins[:, None], other.theta, self.theta),
            np.where(wins[:, None], other.alive, self.alive),
            np.where(wins, other.deviance, self.deviance),
            np.where(wins, other.settled, self.settled),
        )


def evaluate(terms: Terms, theta: Array, alive: Flags) -> tuple[Array, Array]:
    """ln y, (R, rows), and the share that each term has in y, (R, J, rows)."""
    z = terms.exponents(theta)
    if z.shape[1] == 1:
        return z[:, 0], np.ones_like(z)
    if not alive.all():
        z[~alive] = -np.inf
    top = z.max(axis=1)
    z -= top[:, None]
    share = np.exp(z, out=z)
    total = share.sum(axis=1)
    share /= total[:, None]
    return top + np.log(total), share


@dataclass
class _Point:
    """The current values of R problems: f, (R, rows), shares, (R, J, rows), and deviances, (R,)."""

    f: Array
    share: Array
    deviance: Array

    @classmethod
    def evaluated(cls, problem: Problem, theta: Array, alive: Flags) -> "_Point":
        f, share = evaluate(problem.terms, theta, alive)
        deviance = problem.objective.deviance(problem.objective.residual(f, problem.ln_y), problem.w)
        if problem.pull:
            h, _, _ = problem.pull.quantities.evaluate(theta, alive, problem.pull.which)
            deviance = deviance + problem.pull.weight * (h - problem.pull.target) ** 2
        return cls(f, share, deviance)

    def take(self, index: Index) -> "_Point":
        return _Point(self.f[index], self.share[index], self.deviance[index])

    def put(self, index: Index, other: "_Point", which: Flags) -> None:
        self.f[index], self.share[index] = other.f[which], other.share[which]
        self.deviance[index] = other.deviance[which]


def system(
    problem: Problem, theta: Array, alive: Flags, f: Array, share: Array, near: Flags
) -> tuple[Array, Array, Array]:
    """Half the gradient of the deviance, (R, p), a positive scale, (R, p), and half its Hessian, (R, p, p).

    near: which problems get the exact Hessian, Σ w [(ψ's² + ψs') ∇f∇fᵀ + ψs ∇²f] with s = dr/df. The others get the
    Gauss–Newton approximation with the weights ψ/r, which is always positive semidefinite.
    """
    objective = problem.objective
    r, s = objective.residual(f, problem.ln_y), objective.rate(f)
    psi = objective.slope(r)
    J = problem.terms.slopes(theta, share)
    pull = problem.w * psi * s
    g = np.matmul(J, pull[..., None])[..., 0]
    gauss = problem.w * (objective.reweighted(r) * s**2)
    weight = np.broadcast_to(gauss, f.shape)
    scale = np.matmul(J**2, weight[..., None])[..., 0]
    if near.any():
        # ∇²f = Σ_j share_j (∂z_j ∂z_jᵀ + ∂²z_j) − ∇f ∇fᵀ
        bent = pull if objective.name == "linear" else 0.0
        exact = problem.w * (objective.inside(r) * s**2) + bent - pull
        weight = np.where(near[:, None], exact, weight)
    H = np.matmul(J * weight[:, None], J.transpose(0, 2, 1))
    if near.any():
        H += problem.terms.curvature(theta, share * (pull * near[:, None])[:, None])
    if problem.pull:
        h, slope, curved = problem.pull.quantities.evaluate(theta, alive, problem.pull.which)
        W, gap = problem.pull.weight, h - problem.pull.target
        g += (W * gap)[:, None] * slope
        scale += W[:, None] * slope**2
        H += W[:, None, None] * (slope[:, :, None] * slope[:, None] + (near * gap)[:, None, None] * curved)
    return g, scale, H


def _damped_step(g: Array, scale: Array, H: Array, damping: Array) -> tuple[Array, Array]:
    """The step (H + λ diag(scale))⁻¹ g, and the decrease of the deviance that the quadratic model predicts for it."""
    diagonal = np.einsum("rpp->rp", H)
    diagonal += damping[:, None] * scale + 1e-14 * scale.max(axis=1, keepdims=True) + 1e-300
    step = np.linalg.solve(H, g[..., None])[..., 0]
    return np.clip(step, -LONGEST_STEP, LONGEST_STEP), (step * g).sum(axis=1)


def minimise(
    problem: Problem,
    theta: Array,
    alive: Flags,
    may_vanish: Flags,
    tolerance: float = 1e-13,
    iterations: int = 200,
) -> Solution:
    """Minimise the deviance by Levenberg–Marquardt, from one starting point for each of R problems.

    The steps are Gauss–Newton's until one lowers the deviance by less than a tenth; from then on the exact Hessian is
    used, without which the narrow valleys between E, A and α take hundreds of steps.

    Parameters
    ----------
    problem : the R problems.
    theta : (R, p), the starting points.
    alive : (R, J), the terms that are present at the start.
    may_vanish : (J,), the terms that may be removed when they become negligible.
    tolerance : a problem has converged when its predicted decrease is below this share of its deviance.
    iterations : the largest number of steps.
    """
    batch = max(1, AT_ONCE // (problem.terms.rows * (theta.shape[1] + alive.shape[1])))
    parts = []
    for start in range(0, max(len(theta), 1), batch):
        index = np.arange(start, min(start + batch, len(theta)))
        parts.append(
            _minimise(problem.take(index), theta[index], alive[index], may_vanish, tolerance, iterations)
        )
    return (
        parts[0]
        if len(parts) == 1
        else Solution(
            *(
                np.concatenate([getattr(part, name) for part in parts])
                for name in ("theta", "alive", "deviance", "settled")
            )
        )
    )


def _minimise(
    problem: Problem, theta: Array, alive: Flags, may_vanish: Flags, tolerance: float, iterations: int
) -> Solution:
    theta, alive = theta.copy(), alive.copy()
    here = _Point.evaluated(problem, theta, alive)
    rounding = np.broadcast_to(ROUNDING * problem.w.sum(axis=1), here.deviance.shape)
    damping = np.full(len(theta), 1e-3)
    near = np.zeros(len(theta), dtype=bool)
    active = np.arange(len(theta))
    for _ in range(iterations):
        part, at = problem.take(active), here.take(active)
        g, scale, H = system(part, theta[active], alive[active], at.f, at.share, near[active])
        step, promised = _damped_step(g, scale, H, damping[active])
        trial = theta[active] - step
        there = _Point.evaluated(part, trial, alive[active])
        better = there.deviance < at.deviance
        won = active[better]
        near[won] |= there.deviance[better] > 0.9 * at.deviance[better]
        theta[won] = trial[better]
        here.put(won, there, better)
        alive[won] &= ~_taken_out(part, trial, alive[active], there.share, may_vanish)[better]
        damping[active] = np.where(better, 0.2 * damping[active] + 1e-15, 8.0 * damping[active])
        enough = tolerance * at.deviance + rounding[active]
        # The prediction is negative if the Hessian is not positive definite; more damping makes it so.
        active = active[(np.abs(promised) > enough) & (damping[active] < 1e10)]
        if not len(active):
            break
    settled = np.ones(len(theta), dtype=bool)
    settled[active] = False
    return Solution(theta, alive, here.deviance, settled)


def _taken_out(problem: Problem, theta: Array, alive: Flags, share: Array, may_vanish: Flags) -> Flags:
    """(R, J): which terms are negligible in every row of positive weight and are not needed by the pull."""
    gone = np.zeros_like(alive)
    for j in np.flatnonzero(may_vanish):
        gone[:, j] = np.where(problem.w > 0, share[:, j], 0.0).max(axis=1) < VANISHED
    if problem.pull and gone.any():
        h, _, _ = problem.pull.quantities.evaluate(theta, alive & ~gone, problem.pull.which)
        gone &= np.isfinite(h)[:, None]
    return gone
