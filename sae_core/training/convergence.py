"""When a run may end: the tails of its curves, the criterion of L(N), and an interval of the loss it would reach."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_TAIL = 4  # the tail is the last two doublings of D
_POINTS = 5  # evaluations needed in the tail: three parameters, and two more to judge the fit
# The gap in units of the last doubling's fall, 1/(2^g − 1) for a tail D^−g; 0.85 is g = 1.12. Its median over real
# curves is 0.5; with that, stopping added 0.12 % to the scatter of 0.09 % between seeds, and with 0.85 it added 0.10 %.
_RATIO = 0.85
_EXPONENTS = np.geomspace(0.25, 8.0, 72)
# The gap that is expected, in the same units: L∞ is predicted with it (measured: `python -m benchmarks.laws.tails`).
_EXPECTED_RATIO = 0.5
# The ends of the interval of L∞ are this many standard deviations of an evaluation further out: luck has many chances,
# since the interval is looked at after each evaluation.
_MARGIN = 2.0
# A loss that has risen by more than this share of ε has not converged. At too high a learning rate (lr 0.032, B = 256,
# n = 64) the loss stayed within 1 to 2 % of its lowest for a doubling before it rose by 66 %.
_RISE = 1 / 3
# The g of the gap's upper end. The fall of a slower tail than this looks like noise: it counts only if it fits best.
_SLOWEST = 0.5
_Z = 1.96


@dataclass(frozen=True)
class Convergence:
    """Convergence at the last evaluation of a curve. Fields are None where the evaluations do not tell.

    nmse_predicted is the L∞ to use. At half of the tokens of 14 curves of SmolLM2 and 21 of the demo it was 0.5 and
    1.2 % (rms) from that of the whole curve, and nmse_inf, the fitted tail's, 1.9 and 3.4 %.
    """

    converged: bool | None
    nmse_inf: (
        float | None
    )  # L∞ of the tail L(D) = L∞ + A·D^−g, of the live or the averaged weights: the lower one
    nmse_inf_se: float | None
    tail_gap: float | None  # (L(D) − L∞)/L∞, from the fitted tail
    last_doubling: float | None  # (L(D/2) − L(D))/L(D), from the curve
    nmse_predicted: float | None = None  # L∞ from the last doubling, with its 95 % interval; see `predict`
    nmse_predicted_low: float | None = None
    nmse_predicted_high: float | None = None

    @property
    def half_width(self) -> float | None:
        """Half the width of the interval of L∞, relative to L∞."""
        if self.nmse_predicted is None or self.nmse_predicted_low is None or self.nmse_predicted_high is None:
            return None
        return (self.nmse_predicted_high - self.nmse_predicted_low) / (2 * self.nmse_predicted)


@dataclass(frozen=True)
class Tail:
    """L∞ + A·(D/D_last)^−g, fitted to the end of a curve.

    inf, error: L∞ and its standard error, None where the curve does not determine it. lowest: the lower 97.5 % end of
    L∞ over all g. end: the fitted L(D_last). noise: the standard deviation of the evaluations, relative to L.
    """

    inf: float
    error: float | None
    lowest: float
    end: float
    noise: float


def judge(
    tokens: Sequence[float], live: Sequence[float], ema: Sequence[float], epsilon: float
) -> Convergence:
    """Converged at D when the loss can still fall by less than ε, by each of these measures of its L∞:

        L_w(D) − 0.85·(L_w(D/2) − L_w(D))   the last doubling of D, for the live and the averaged weights w
        the lower 97.5 % end of L∞_w        the last two doublings, as a power law L∞_w + A·D^−g of any g ≥ ½

    The loss is L(D) = min over w of L_w(D), or the fitted tail's value there if that is higher, so that a lucky
    evaluation does not count. The two weights are judged apart: L changes from the live weights to the averaged ones,
    often where the former no longer fall and the latter still do, and runs that stopped at this bend fell by another
    1.4 to 3 %.

    A loss has not converged if it is more than ε/3 above its lowest so far, or if the last doubling raised that of
    either weights by more. Otherwise there is no verdict if the evaluations of either scatter about their tail by more
    than ε. L∞ and its interval are those of `predict`, None where the loss has risen.

    Parameters
    ----------
    tokens : D of the evaluations so far, increasing.
    live, ema : the NMSE of the live and of the averaged weights.
    epsilon : ε. The paper trains "to convergence within ε" and gives no value; the criterion is ours, and is written to
        every run's row with its ε.
    """
    D, weights = np.asarray(tokens, dtype=float), np.array([live, ema], dtype=float)
    weights[1] = np.where(np.isfinite(weights[1]), weights[1], weights[0])
    finite = np.isfinite(weights[0])
    D, weights = D[finite], weights[:, finite]
    tail = D >= D[-1] / _TAIL * (1 - 1e-9) if len(D) else finite[:0]
    if tail.sum() < _POINTS or D[0] > D[-1] / 2:
        return Convergence(None, None, None, None, None)
    L = weights.min(axis=0)
    last_doubling = _last_doubling(D, L)
    doublings = [_last_doubling(D, curve) for curve in weights]
    tails = [fit_tail(D[tail], curve[tail]) for curve in weights]
    last = [float(loss) for loss in weights[:, -1]]
    reported = tails[int(np.argmin(last))]
    loss = max(reported.end, float(L[-1]))
    predicted = predict(last, doublings, tails)
    converged: bool | None
    if max(L[-1] / L.min() - 1, *(-fall for fall in doublings)) > _RISE * epsilon:
        converged, predicted = False, None
    elif max(fitted.noise for fitted in tails) >= epsilon:
        converged = None
    else:
        converged = loss < (1 + epsilon) * min(_lowest(last, doublings, tails))
    gap = (loss - reported.inf) / reported.inf if reported.inf > 0 else float("inf")
    return Convergence(
        converged, reported.inf, reported.error, gap, last_doubling, *(predicted or (None,) * 3)
    )


def predict(
    last: Sequence[float], doublings: Sequence[float], tails: Sequence[Tail]
) -> tuple[float, float, float] | None:
    """L∞ with the lower and the upper end of its 95 % interval, from the live and the averaged weights w:

        L∞ = min over w of L_w(D) − 0.5·(L_w(D/2) − L_w(D))

    The lower end is the lowest that either weights may reach by the measures of `judge`; the upper end is the loss at
    D, for a run that has ended its fall. Each is moved out by 2 standard deviations of an evaluation. None while the
    loss falls so fast that L∞ would not be positive.

    Parameters
    ----------
    last : L_w(D) of the live and of the averaged weights.
    doublings : (L_w(D/2) − L_w(D))/L_w(D).
    tails : their fitted tails.
    """
    value = min(
        loss * (1 - _EXPECTED_RATIO * max(fall, 0.0)) for loss, fall in zip(last, doublings, strict=True)
    )
    if value <= 0:
        return None
    margins = [1 - _MARGIN * fitted.noise for fitted in tails]
    lows = [low * margin for low, margin in zip(_lowest(last, doublings, tails), margins, strict=True)]
    reported = int(np.argmin(last))
    high = max(tails[reported].end, last[reported]) * (1 + _MARGIN * tails[reported].noise)
    return value, max(min(*lows, value), 0.0), max(high, value)


def _lowest(last: Sequence[float], doublings: Sequence[float], tails: Sequence[Tail]) -> list[float]:
    """The lowest loss that each weights may reach: by the last doubling of D, or by the fitted tail."""
    return [
        min(loss * (1 - _RATIO * fall), fitted.lowest)
        for loss, fall, fitted in zip(last, doublings, tails, strict=True)
    ]


def _last_doubling(D: np.ndarray, L: np.ndarray) -> float:
    """(L(D/2) − L(D))/L(D) at the last evaluation; L(D/2) is interpolated in ln D."""
    return float(np.interp(np.log(D[-1] / 2), np.log(D), L) / L[-1] - 1)


def fit_tail(D: np.ndarray, L: np.ndarray) -> Tail:
    """Least squares of L∞ + A·(D/D_last)^−g on relative error, A ≥ 0, L∞ ≥ 0.

    For a given g the law is linear in (L∞, A), so only g is searched. The standard error is that of the linearised
    three-parameter fit. The lower end of L∞ is that of the profile likelihood: the lowest of all g ≥ ½ whose sum of
    squares S is at most S_min·(1 + t²/(n − 3)) with the 97.5 % quantile t of Student's distribution.
    """
    u, free = D / D[-1], len(L) - 3
    squares, inf, A, g = _solve(u, L, _EXPONENTS)
    near = _solve(u, L, g[np.argmin(squares)] * np.geomspace(0.95, 1.05, 25))
    squares, inf, A, g = np.hstack([(squares, inf, A, g), near])
    at = int(np.argmin(squares))
    compatible = (squares <= squares[at] * (1 + _student(free) ** 2 / free)) & (g >= _SLOWEST)
    lowest = float(np.min(inf[compatible], initial=inf[at]))
    jacobian = np.stack([np.ones_like(u), u ** -g[at], -A[at] * np.log(u) * u ** -g[at]], axis=1) / L[:, None]
    error = None
    if A[at] > 0 and np.linalg.cond(jacobian / np.linalg.norm(jacobian, axis=0)) < 1e8:
        covariance = np.linalg.inv(jacobian.T @ jacobian) * squares[at] / free
        error = float(np.sqrt(covariance[0, 0]))
    elif A[at] == 0:
        error = float(L.std(ddof=1) / np.sqrt(len(L)))
    return Tail(float(inf[at]), error, lowest, float(inf[at] + A[at]), float(np.sqrt(squares[at] / free)))


def _solve(u: np.ndarray, L: np.ndarray, g: np.ndarray) -> np.ndarray:
    """Best (L∞, A) of each g under their signs: the sums of squared relative errors, L∞, A and g, (4, g)."""
    ones, power = np.broadcast_to(1 / L, (len(g), len(L))), u ** -g[:, None] / L
    inf, A = np.linalg.pinv(np.stack([ones, power], axis=2)).sum(axis=2).T
    constant, pure = (basis.sum(axis=1) / (basis**2).sum(axis=1) for basis in (ones, power))
    flat, floorless = A < 0, (A >= 0) & (inf < 0)  # the curve no longer falls; it falls as a pure power
    inf, A = np.where(flat, constant, inf), np.where(flat, 0.0, A)
    inf, A = np.where(floorless, 0.0, inf), np.where(floorless, pure, A)
    residual = ones * inf[:, None] + power * A[:, None] - 1
    return np.stack([(residual**2).sum(axis=1), inf, A, g])


def _student(free: int) -> float:
    """The 97.5 % quantile of Student's t, by its expansion about the normal one: within 4 % at 2 degrees of freedom."""
    z, n = _Z, 4 * free
    first, second = (z**3 + z) / n, (5 * z**5 + 16 * z**3 + 3 * z) / (6 * n**2)
    return z + first + second + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (6 * n**3)
