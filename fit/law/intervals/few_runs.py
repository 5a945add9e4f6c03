"""Intervals from curves of few runs: the bias-reduced sandwich over runs, with Student's t of as many runs as count."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from fit.law.estimate import Estimate
from fit.law.functionals import Parameters, Quantities
from fit.law.intervals.profile import LEVEL
from fit.law.intervals.sandwich import DeltaIntervals
from fit.law.law import Array
from fit.law.rows import Rows
from fit.law.starts import revived

METHOD = "sandwich over runs"
# Three runs leave no residual between runs of a law of N: E was covered in 62 % of simulated tables.
FEWEST_RUNS = 4
# A quantity of fewer degrees of freedom has no interval. With four runs, E, A and α of a law of N have 1.0, and their
# intervals covered 88 to 93 % with ends a factor 3.6 from A; B, ρ and β have 1.8 to 2.3 and covered 93 to 97 %.
LEAST = 1.25
# Variances of the error that the rows of a run share and of that of each row, where the residuals tell them badly.
MOSTLY_SHARED = (0.96, 0.04)
# A floor that vanished is linearised at this share of the loss; any small share gives the same column.
SMALL = 1e-3
# A direction of the parameters that a single run determines has no residual in it, see `_Run`.
ALONE = 1e-9


@dataclass(frozen=True)
class _Run:
    """The part of one run in the variance of a quantity with gradient c, (p,), in orthonormal parameters.

    With U the rows of the run and H = UUᵀ, the run adds (c·score)² for score = Uᵀ(I − H)^−½ r, whose expectation is
    unbiased for independent rows (Bell & McCaffrey 2002). mean, square, total: what the degrees of freedom need,
    Uᵀ(I − H)^−½U, Uᵀ(I − H)^−1U and the sum of (I − H)^−½U over the rows. rows: the sum of U.
    """

    score: Array
    mean: Array
    square: Array
    total: Array
    rows: Array

    @classmethod
    def made(cls, U: Array, r: Array, root: Array) -> "_Run":
        """U: (rows, p). r: (rows,), weighted residuals. root: (rows,), √w."""
        P, s, Q = np.linalg.svd(U, full_matrices=False)
        rest = 1 - s**2
        half = np.where(rest > ALONE, s / np.sqrt(np.maximum(rest, ALONE)), 0.0)
        adjusted = (P * half) @ Q
        return cls(adjusted.T @ r, (Q.T * (half * s)) @ Q, (Q.T * half**2) @ Q, adjusted.T @ root, U.T @ root)


class FewRuns(DeltaIntervals):
    """± t_ν standard errors as in `DeltaIntervals`, for rows of 4 to 30 runs.

    The sandwich over runs is too narrow for few runs, since residuals are smaller than errors and a sum of 7 squares is
    no variance; and 7 resampled runs are not 7 runs: a bootstrap covered 84 to 86 % for B and β from 7 to 16 runs.
    Here each run's residuals are enlarged by (I − H)^−½, and ν is that of Bell & McCaffrey 2002 under a working model
    in which a run has one error that its rows share and one of each row (Imbens & Kolesár 2016, eq. 12). ν differs by
    quantity: what is seen within a run, as β, counts all runs; what is seen between runs, as E and α, counts runs less
    the parameters that they determine. Where ν is below `LEAST` there is no interval.
    """

    method = METHOD

    def __init__(self, at: Estimate, rows: Rows) -> None:
        self.at = at
        self.plane = revived(at.basis, at.problem, at.solution, SMALL)
        psi, inside = at.influence()
        root = np.sqrt(at.weights)
        X = (at.jacobian(self.plane) * root).T
        length = np.linalg.norm(X, axis=0)
        length[length == 0] = 1.0
        U, s, Q = np.linalg.svd(X / length, full_matrices=False)
        kept = s > 1e-7 * s[0]
        # Maps a gradient by θ' to one by the orthonormal parameters of U.
        self.to_orthonormal = (Q.T / np.where(kept, s, np.inf)) / length[:, None]
        r = psi / inside
        labels = np.arange(len(r)) if rows.cluster is None else rows.cluster
        runs = [np.flatnonzero((labels == run) & (root > 0)) for run in np.unique(labels[root > 0])]
        self.runs = [_Run.made(U[run], (root * r)[run], root[run]) for run in runs]
        self.shared, self.single = _variances(r, runs)

    def known(self) -> dict[str, bool]:
        """Whether each parameter has an interval."""
        names = self.at.law.params
        return dict(zip(names, np.isfinite(self._half_width(Parameters(self.at.basis, names))), strict=True))

    def parameters(self) -> dict[str, tuple[float, float]]:
        """Interval of each public parameter; without any end where too few runs determine it."""
        ends = super().parameters()
        return {name: ends[name] if known else (-np.inf, np.inf) for name, known in self.known().items()}

    def _half_width(self, quantities: Quantities) -> Array:
        many = self.plane.take(np.zeros(len(quantities), dtype=np.intp))
        c = quantities.evaluate(many.theta, many.alive, np.arange(len(quantities)))[1] @ self.to_orthonormal
        variance = sum(((c @ run.score) ** 2 for run in self.runs), np.zeros(len(c)))
        nu = self._degrees(c)
        with np.errstate(invalid="ignore"):
            half = student.ppf((1 + LEVEL) / 2, np.maximum(nu, LEAST)) * np.sqrt(variance)
        return np.where(nu >= LEAST, half, np.inf)

    def _degrees(self, c: Array) -> Array:
        """ν, (m,), the lower of that of two models: with the variances of the residuals, and with `MOSTLY_SHARED`.

        Of four runs, the residuals show hardly any shared error in one table of ten, by chance. ν of E was then above
        1.25 and its interval covered 55 %.
        """
        return np.minimum(
            self._degrees_under(c, self.shared, self.single), self._degrees_under(c, *MOSTLY_SHARED)
        )

    def _degrees_under(self, c: Array, shared: float, single: float) -> Array:
        """(tr M)²/tr M², where M, (runs, runs), is the covariance of the runs' parts under the model."""
        G = len(self.runs)
        k = np.stack([c @ run.mean for run in self.runs], axis=1)
        M = -single * np.einsum("map,mbp->mab", k, k)
        own = np.stack([((c @ run.square) * c).sum(axis=1) for run in self.runs], axis=1)
        S = -np.einsum("cp,map->mca", np.stack([run.rows for run in self.runs]), k)
        a = np.arange(G)
        M[:, a, a] += single * own
        S[:, a, a] += np.stack([c @ run.total for run in self.runs], axis=1)
        M += shared * np.einsum("mca,mcb->mab", S, S)
        trace, square = np.einsum("maa->m", M), (M**2).sum(axis=(1, 2))
        return np.divide(trace**2, square, out=np.zeros(len(c)), where=square > 0)


def _variances(r: Array, runs: list[np.ndarray]) -> tuple[float, float]:
    """The variance of the error that the rows of a run share, and of that of each row, from products within runs."""
    pairs = sum(len(run) * (len(run) - 1) for run in runs)
    products = sum(r[run].sum() ** 2 - (r[run] ** 2).sum() for run in runs)
    whole = float(np.mean(np.concatenate([r[run] for run in runs]) ** 2))
    shared = max(float(products) / pairs, 0.0) if pairs else 0.0
    return shared, max(whole - shared, 1e-12 * whole + 1e-300)
