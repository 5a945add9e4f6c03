"""How much an estimate would scatter over repetitions of its rows, without assuming that their errors are alike."""

import numpy as np

from fit.law.estimate import SMALL, Estimate
from fit.law.law import Array
from fit.law.solver import Index, Solution
from fit.law.starts import revived


def plane(at: Estimate) -> Solution:
    """The optimum with a vanished floor restored at a negligible size, where the law is linearised.

    The range of the other parameters depends on how large a floor the rows allow, so a floor is always part of it.
    """
    return revived(at.basis, at.problem, at.solution, SMALL)


def sandwich(at: Estimate, cluster: Index | None = None, power: float = 1.0) -> Array:
    """The covariance of θ', (p, p): H⁻¹ (Σ_c g_c g_cᵀ) H⁻¹ with the score g of each row or cluster.

    A fit follows its own rows, most of all those at the corners of a grid, so the score of a row with leverage h is
    taken at the residual r + ((1 − h)^−power − 1) ψ(r)/κ. With a power of 1 this is, to first order, the residual from
    the fit without the row, and the sandwich is HC3 of least squares (MacKinnon & White 1985); ½ gives HC2. The scores
    of a cluster are summed as they are, with the correction n/(n − p).
    """
    there = plane(at)
    psi, inside = at.influence()
    bread = at.covariance(there) / inside
    J = at.jacobian(there)
    p = len(J)
    if cluster is None:
        objective = at.problem.objective
        r = objective.residual(at.log_fitted(), at.problem.ln_y)
        own = ((1 - at.leverage) ** -power - 1) * psi / inside
        scores = J * (at.weights * objective.slope(r + own))
        return np.asarray(bread @ (scores @ scores.T) @ bread)
    scores = J * (at.weights * psi)
    summed = np.stack([np.bincount(cluster, weights=g) for g in scores])
    units = len(np.unique(cluster))
    return np.asarray(bread @ (summed @ summed.T) @ bread * units / max(units - p, 1))
