"""When a run has converged: the fitted tail of its curve, and the criterion of L(N)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_TAIL = 4  # the tail is the last two doublings of D
_POINTS = 5  # evaluations needed in the tail: three parameters, and two more to judge the fit
_EXPONENTS = np.geomspace(0.05, 4.0, 64)


@dataclass(frozen=True)
class Convergence:
    """Convergence at the last evaluation of a curve. Fields are None if there are too few evaluations to tell."""

    converged: bool | None
    nmse_inf: float | None  # L∞ of the tail L(D) = L∞ + A·D^−g
    nmse_inf_se: float | None
    tail_gap: float | None  # (L(D) − L∞)/L∞, from the fitted tail
    last_doubling: float | None  # (L(D/2) − L(D))/L(D), from the curve


def judge(tokens: Sequence[float], nmse: Sequence[float], epsilon: float) -> Convergence:
    """Converged at D when (L(D) − L∞)/L∞ < ε and the last doubling of D changed L by less than 2ε.

    tokens, nmse: the curve so far, tokens increasing. The paper trains "to convergence within ε" and gives no value;
    this criterion is ours, and is written to every run's row with its ε. L(D) is the higher of the curve's end and
    the fitted tail's, and the tail must describe the curve (rms < ε): a loss that rises or jumps has not converged.
    """
    D, L = np.asarray(tokens, dtype=float), np.asarray(nmse, dtype=float)
    finite = np.isfinite(L)
    D, L = D[finite], L[finite]
    tail = D >= D[-1] / _TAIL * (1 - 1e-9) if len(D) else finite[:0]
    if tail.sum() < _POINTS or D[0] > D[-1] / 2:
        return Convergence(None, None, None, None, None)
    halfway = float(np.interp(np.log(D[-1] / 2), np.log(D), L))
    last_doubling = (halfway - L[-1]) / L[-1]
    inf, se, end, rms = fit_tail(D[tail], L[tail])
    gap = float((max(end, L[-1]) - inf) / inf) if inf > 0 else float("inf")
    converged = bool(gap < epsilon and abs(last_doubling) < 2 * epsilon and rms < epsilon)
    return Convergence(converged, inf, se, gap, float(last_doubling))


def fit_tail(D: np.ndarray, L: np.ndarray) -> tuple[float, float | None, float, float]:
    """Least squares of L∞ + A·(D/D_last)^−g on relative error, A ≥ 0, L∞ ≥ 0.

    Returns L∞, its standard error, the fitted L(D_last), and the rms of the relative residuals.

    For a given g the law is linear in (L∞, A), so only g is searched. The standard error is that of the linearised
    three-parameter fit; it is None where the curve does not determine the three.
    """
    u = D / D[-1]
    best = min((_solve(u, L, g) for g in _EXPONENTS), key=lambda s: s[0])
    fine = best[3] * np.geomspace(0.94, 1.06, 25)  # neighbours on the grid are 7 % apart
    ssr, inf, A, g = min((_solve(u, L, g) for g in fine), key=lambda s: s[0])
    jacobian = np.stack([np.ones_like(u), u**-g, -A * np.log(u) * u**-g], axis=1) / L[:, None]
    se = None
    if A > 0 and np.linalg.cond(jacobian / np.linalg.norm(jacobian, axis=0)) < 1e8:
        covariance = np.linalg.inv(jacobian.T @ jacobian) * ssr / (len(L) - 3)
        se = float(np.sqrt(covariance[0, 0]))
    elif A == 0:
        se = float(L.std(ddof=1) / np.sqrt(len(L)))
    return float(inf), se, float(inf + A), float(np.sqrt(ssr / len(L)))


def _solve(u: np.ndarray, L: np.ndarray, g: float) -> tuple[float, float, float, float]:
    """Best (L∞, A) at this g under their signs: (sum of squared relative errors, L∞, A, g)."""
    basis = np.stack([np.ones_like(u), u**-g], axis=1) / L[:, None]
    (inf, A), *_ = np.linalg.lstsq(basis, np.ones_like(L), rcond=None)
    if A < 0:  # the curve no longer falls: fit a constant
        inf, A = basis[:, 0].sum() / (basis[:, 0] @ basis[:, 0]), 0.0
    elif inf < 0:  # it falls as a pure power
        inf, A = 0.0, basis[:, 1].sum() / (basis[:, 1] @ basis[:, 1])
    residual = basis @ np.array([inf, A]) - 1
    return float(residual @ residual), float(inf), float(A), float(g)
