"""Batched least squares on log residuals: many problems at once by Levenberg–Marquardt with the exact Hessian."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fit.laws import Array

Flags = NDArray[np.bool_]
Index = NDArray[np.intp]

# A floor that gives less than this share of every prediction moves the sum of squares in its 10th digit or less: it has
# gone to its boundary, E = 0, and is taken out.
VANISHED = 1e-10
# Sums of squares below this times the weight are rounding of the logarithms, not residuals.
ROUNDING = 1e-26
LONGEST_STEP = 3.0


@dataclass(frozen=True)
class Batch:
    """R weighted problems: minimise Σ_i w_i (logsumexp_j(φ_ji·θ + off_ji) − y_i)² over θ.

    phi: (R, J, rows, p), off: (R, J, rows), −inf where a term has no part in a row, y, w: (R, rows). A leading axis
    of 1 is shared by all problems.
    """

    phi: Array
    off: Array
    y: Array
    w: Array

    def take(self, index: Index) -> "Batch":
        """The problems of that index; what is shared stays shared."""
        parts = (self.phi, self.off, self.y, self.w)
        return Batch(*(part if len(part) == 1 else part[index] for part in parts))


@dataclass(frozen=True)
class Solution:
    """theta: (R, p); alive: (R, J), False for a term that vanished; ssr: (R,), the weighted sum of squares.

    settled: (R,), False where the iterations ran out before the optimum.
    """

    theta: Array
    alive: Flags
    ssr: Array
    settled: Flags

    def take(self, index: Index) -> "Solution":
        return Solution(self.theta[index], self.alive[index], self.ssr[index], self.settled[index])

    def better_of(self, other: "Solution") -> "Solution":
        """For each problem the solution with the lower sum of squares."""
        wins = other.ssr < self.ssr
        return Solution(
            np.where(wins[:, None], other.theta, self.theta),
            np.where(wins[:, None], other.alive, self.alive),
            np.where(wins, other.ssr, self.ssr),
            np.where(wins, other.settled, self.settled),
        )


def evaluate(batch: Batch, theta: Array, alive: Flags) -> tuple[Array, Array]:
    """ln L, (R, rows), and the share of each term in L, (R, J, rows)."""
    z = np.matmul(batch.phi, theta[:, None, :, None])[..., 0] + batch.off
    z = np.where(alive[:, :, None], z, -np.inf)
    top = z.max(axis=1)
    share = np.exp(z - top[:, None])
    total = share.sum(axis=1)
    return top + np.log(total), share / total[:, None]


def jacobian(batch: Batch, share: Array) -> Array:
    """∂ ln L/∂θ = Σ_j share_j φ_j, (R, rows, p)."""
    return (share[..., None] * batch.phi).sum(axis=1)


def _curvature(batch: Batch, share: Array, r: Array, J: Array) -> Array:
    """What Gauss–Newton leaves out of the Hessian, Σ_i w_i r_i ∇² ln L_i, (R, p, p)."""
    wr = batch.w * r
    H = -np.matmul((J * wr[..., None]).transpose(0, 2, 1), J)
    for j in range(share.shape[1]):
        phi = batch.phi[:, j]
        H += np.matmul((phi * (wr * share[:, j])[..., None]).transpose(0, 2, 1), phi)
    return H


def _damped_step(
    J: Array, r: Array, w: Array, damping: Array, curvature: Array | float
) -> tuple[Array, Array]:
    """(H + λ diag JᵀWJ)⁻¹ JᵀWr, H = JᵀWJ + curvature, and the decrease of the sum of squares that it promises."""
    weighted = J * w[..., None]
    g = np.matmul(r[:, None], weighted)[:, 0]
    H = np.matmul(weighted.transpose(0, 2, 1), J)
    scale = np.einsum("rpp->rp", H).copy()
    H += curvature
    diagonal = np.einsum("rpp->rp", H)
    diagonal += damping[:, None] * scale + 1e-14 * scale.max(axis=1, keepdims=True) + 1e-300
    step = np.linalg.solve(H, g[..., None])[..., 0]
    return np.clip(step, -LONGEST_STEP, LONGEST_STEP), (step * g).sum(axis=1)


def _vanished(batch: Batch, share: Array) -> Flags:
    """(R, J): which terms are negligible in every row that counts."""
    return np.where(batch.w[:, None] > 0, share, 0.0).max(axis=2) < VANISHED


def minimise(
    batch: Batch,
    theta: Array,
    alive: Flags,
    may_vanish: Flags,
    tolerance: float = 1e-13,
    iterations: int = 200,
) -> Solution:
    """Levenberg–Marquardt from each θ, (R, p). alive: (R, J), the terms to begin with; may_vanish: (J,).

    Gauss–Newton far from the optimum; from the first step that gains less than a tenth the exact Hessian, without which
    the narrow valleys between E, A and α take hundreds of steps.
    """
    theta, alive = theta.copy(), alive.copy()
    f, share = evaluate(batch, theta, alive)
    r, J = f - batch.y, jacobian(batch, share)
    ssr = (batch.w * r**2).sum(axis=1)
    rounding = np.broadcast_to(ROUNDING * batch.w.sum(axis=1), ssr.shape)
    damping = np.full(len(theta), 1e-3)
    near = np.zeros(len(theta), dtype=bool)
    active = np.arange(len(theta))
    for _ in range(iterations):
        here = batch.take(active)
        curvature = _curvature(here, share[active], r[active], J[active]) * near[active, None, None]
        step, promised = _damped_step(J[active], r[active], here.w, damping[active], curvature)
        trial = theta[active] - step
        f, trial_share = evaluate(here, trial, alive[active])
        trial_r = f - here.y
        trial_ssr = (here.w * trial_r**2).sum(axis=1)
        better = trial_ssr < ssr[active]
        won = active[better]
        near[won] |= trial_ssr[better] > 0.9 * ssr[won]
        theta[won], r[won], ssr[won] = trial[better], trial_r[better], trial_ssr[better]
        share[won], J[won] = trial_share[better], jacobian(here, trial_share)[better]
        alive[won] &= ~(may_vanish & _vanished(here, trial_share)[better])
        damping[active] = np.where(better, 0.2 * damping[active] + 1e-15, 8.0 * damping[active])
        enough = tolerance * ssr[active] + rounding[active]
        # A negative promise is a Hessian that is not positive: more damping mends it.
        active = active[(np.abs(promised) > enough) & (damping[active] < 1e10)]
        if not len(active):
            break
    settled = np.ones(len(theta), dtype=bool)
    settled[active] = False
    return Solution(theta, alive, ssr, settled)
