"""95 % intervals of parameters, predictions and what follows from them, by the method that fits the rows."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from fit.law.errors import FitError
from fit.law.estimate import Estimate
from fit.law.functionals import Numbers, Parameters, Predictions
from fit.law.intervals.bootstrap import Bootstrap, resample
from fit.law.intervals.profile import Profile, undefined, with_ends
from fit.law.intervals.sandwich import DeltaIntervals, with_noise
from fit.law.law import Array, Derived, Inputs, Law
from fit.law.options import AUTO, BOOTSTRAP, DELTA, METHODS, PROFILE
from fit.law.rows import Rows

# What a result says of intervals that it does not have.
NONE = "none"
# Of 16 runs a profile covers 95 % where case bootstrap and delta method cover 50 to 72 %; from about 50 on a bootstrap
# does as well and asks nothing of the residuals.
FEW = 50
# Above this the law is a plane over its interval: 1,000 refits would only cost memory.
MANY = 20_000


class Intervals(Protocol):
    """How sure a fit is. Ends are ±inf, of E and A also 0, where a side is unbounded."""

    @property
    def method(self) -> str: ...

    def parameters(self) -> dict[str, tuple[float, float]]: ...

    def law(self, x: Inputs) -> tuple[Array, Array]: ...

    def measurement(self, x: Inputs) -> tuple[Array, Array]: ...

    def numbers(self, of: Sequence[Derived]) -> tuple[Array, Array]: ...


class ProfileIntervals:
    """Profile likelihood with the F threshold: right for few independent rows."""

    method = "profile"

    def __init__(self, at: Estimate) -> None:
        self.at = at
        self.profile = Profile(at)

    def parameters(self) -> dict[str, tuple[float, float]]:
        """Public name to its interval, see `undefined` for those without ends."""
        law, without = self.at.law, undefined(self.at)
        names = tuple(name for name in law.params if name not in without)
        low, high = self.profile.ends(Parameters(self.at.basis, names))
        ends = dict(law.bounds)
        with np.errstate(over="ignore"):
            for name, *pair in zip(names, low, high, strict=True):
                lo, hi = np.exp(pair) if name in law.logs else pair
                ends[name] = float(lo), float(hi)
        return ends

    def law(self, x: Inputs) -> tuple[Array, Array]:
        """Interval of the law's L at inputs (m,)."""
        low, high = self.profile.ends(Predictions(self.at.basis.at(x)))
        return np.exp(low), np.exp(high)

    def measurement(self, x: Inputs) -> tuple[Array, Array]:
        """Interval of a new measurement of L at inputs (m,), its own noise included."""
        if self.at.problem.objective.name != "log":
            return with_noise(self.at, x, *self.law(x))
        low, high = self.profile.ends(Predictions(self.at.basis.at(x)), measurement=True)
        return np.exp(low), np.exp(high)

    def numbers(self, of: Sequence[Derived]) -> tuple[Array, Array]:
        """Interval of what follows from the parameters, (m,) each, as logarithms where it is one."""
        low, high = np.full(len(of), -np.inf), np.full(len(of), np.inf)
        some = with_ends(self.at, of)
        if some:
            low[some], high[some] = self.profile.ends(Numbers(self.at.basis, [of[m] for m in some]))
        return low, high


class NoIntervals:
    """None, where too few runs carry the rows: every end is unknown."""

    method = NONE

    def __init__(self, at: Estimate) -> None:
        self.at = at

    def parameters(self) -> dict[str, tuple[float, float]]:
        return dict.fromkeys(self.at.law.params, (-np.inf, np.inf))

    def law(self, x: Inputs) -> tuple[Array, Array]:
        rows = self.at.log_loss(x).shape
        return np.full(rows, -np.inf), np.full(rows, np.inf)

    def measurement(self, x: Inputs) -> tuple[Array, Array]:
        return self.law(x)

    def numbers(self, of: Sequence[Derived]) -> tuple[Array, Array]:
        return np.full(len(of), -np.inf), np.full(len(of), np.inf)


def intervals(
    at: Estimate,
    rows: Rows,
    replicates: Rows | None = None,
    method: str = AUTO,
    draws: int = 1000,
    seed: int = 0,
) -> Intervals:
    """The intervals of an estimate, by the method asked for or by one that suits the rows.

    `auto` takes the profile likelihood for few independent rows, a bootstrap for many or for rows that share runs, and
    the delta method for very many. Rows of fewer runs than `enough` get no intervals.

    Parameters
    ----------
    at, rows : the estimate and the rows that it was fitted to.
    replicates : resamplings to use instead of drawing them; for `auto` and `bootstrap`.
    method : auto, profile, bootstrap or delta.
    draws, seed : of a bootstrap.

    Raises
    ------
    FitError
        For an unknown method, too few draws, and for a method that takes too long for so many rows.
    """
    if method not in METHODS:
        raise FitError(f"There is no interval method {method!r}: choose {', '.join(METHODS)}.")
    if replicates is not None and method in (AUTO, BOOTSTRAP):
        return Bootstrap(at, replicates, seed=seed)
    if rows.shared and rows.runs < enough(at.law):
        return NoIntervals(at)
    if method == AUTO:
        method = _suited(rows)
    if method == DELTA:
        return DeltaIntervals(at, rows)
    count = int((rows.weights > 0).sum())
    if count > MANY:
        raise FitError(
            f"Intervals by {method} refit all {count:,} rows hundreds of times, which takes too long or too much "
            f"memory above {MANY:,}: choose delta, or auto."
        )
    if method == PROFILE:
        return ProfileIntervals(at)
    return Bootstrap(at, resample(rows, draws, seed), "runs" if rows.shared else "rows", seed)


def enough(law: Law) -> int:
    """Of how many runs the rows must be: two more than the law has parameters, as rows that are runs of their own.

    Drawn from 3 runs, intervals of L(N, D) with 30 evaluations each covered 5 %, from 4 runs 65 to 78 %.
    """
    return len(law.internal) + 2


def _suited(rows: Rows) -> str:
    count = int((rows.weights > 0).sum())
    if count > MANY:
        return DELTA
    return BOOTSTRAP if rows.shared or count >= FEW else PROFILE
