"""95 % intervals of parameters, predictions and derived quantities, by the method that suits the rows."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from fit.law.errors import FitError
from fit.law.estimate import Estimate
from fit.law.functionals import DerivedQuantities, Parameters, Predictions
from fit.law.intervals.bootstrap import RESIDUALS, Bootstrap, level_of_few, redrawn, resample
from fit.law.intervals.few_runs import FEWEST_RUNS, FewRuns
from fit.law.intervals.profile import Profile, undefined, with_ends
from fit.law.intervals.sandwich import DeltaIntervals, with_noise
from fit.law.law import Array, Derived, Inputs, Law
from fit.law.options import AUTO, BOOTSTRAP, DELTA, METHODS, PROFILE
from fit.law.rows import Rows

# The method that a result names if it has no intervals.
NONE = "none"
# Profile intervals cover about 95 % from 16 runs on (`intervals.measured`), also where a law is far from linear over
# them, and delta then covers as little as 88 %. From about 50 runs the bootstrap over rows covers as well, and it
# assumes nothing about the residuals; from fewer, resampled rows are no grid any more, and errors are drawn instead.
FEW = 50
# From this many runs on, a bootstrap over them covers as well as the sandwich of `FewRuns`.
MANY_RUNS = 30
# With more rows than this the law is linear over its interval, so that 1,000 refits would cost memory to no benefit.
MANY = 20_000


class Intervals(Protocol):
    """The 95 % intervals of a fit. An unbounded side ends at ±inf, for E and A also at 0."""

    @property
    def method(self) -> str: ...

    def parameters(self) -> dict[str, tuple[float, float]]: ...

    def law(self, x: Inputs) -> tuple[Array, Array]: ...

    def measurement(self, x: Inputs) -> tuple[Array, Array]: ...

    def numbers(self, derived: Sequence[Derived]) -> tuple[Array, Array]: ...


class ProfileIntervals:
    """Profile likelihood with the F threshold, which is accurate for few independent rows."""

    method = "profile"

    def __init__(self, at: Estimate) -> None:
        self.at = at
        self.profile = Profile(at)

    def parameters(self) -> dict[str, tuple[float, float]]:
        """Interval of each public parameter by name; those in `undefined` get their bounds."""
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

    def numbers(self, derived: Sequence[Derived]) -> tuple[Array, Array]:
        """Interval of derived quantities, (m,) each; of the logarithm for those with `log`."""
        low, high = np.full(len(derived), -np.inf), np.full(len(derived), np.inf)
        some = with_ends(self.at, derived)
        if some:
            low[some], high[some] = self.profile.ends(
                DerivedQuantities(self.at.basis, [derived[m] for m in some])
            )
        return low, high


class NoIntervals:
    """Stands in for intervals where the rows come from too few runs: every end is unknown."""

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

    def numbers(self, derived: Sequence[Derived]) -> tuple[Array, Array]:
        return np.full(len(derived), -np.inf), np.full(len(derived), np.inf)


def intervals(
    at: Estimate,
    rows: Rows,
    replicates: Rows | None = None,
    method: str = AUTO,
    draws: int = 1000,
    seed: int = 0,
) -> Intervals:
    """The intervals of an estimate, by the given method or by the one that suits the rows.

    `auto` takes the profile likelihood for few independent rows, the sandwich of `FewRuns` for rows that share fewer
    than 30 runs, a bootstrap for more runs or rows, and the delta method for very many rows. By the other methods, rows
    that share fewer runs than `enough` get no intervals.

    Parameters
    ----------
    at, rows : the estimate and the rows that it was fitted to.
    replicates : resampled rows to use instead of drawing them; for `auto` and `bootstrap`.
    method : auto, profile, bootstrap or delta.
    draws, seed : of a bootstrap.

    Raises
    ------
    FitError
        If the method is unknown or takes too long for so many rows, or there are too few draws.
    """
    if method not in METHODS:
        raise FitError(f"There is no interval method {method!r}: choose {', '.join(METHODS)}.")
    if replicates is not None and method in (AUTO, BOOTSTRAP):
        return Bootstrap(at, replicates, replicates.unit, seed)
    if rows.shared and method == AUTO and FEWEST_RUNS <= rows.runs < MANY_RUNS:
        few = FewRuns(at, rows)
        return few if any(few.known().values()) else NoIntervals(at)
    if rows.shared and rows.runs < enough(at.law):
        return NoIntervals(at)
    if method == AUTO:
        method = suited(at, rows)
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
    # Residuals of an asymmetric objective have no random signs.
    if rows.shared or count >= FEW or at.problem.objective.name == "asymmetric":
        return Bootstrap(at, resample(rows, draws, seed), "runs" if rows.shared else "rows", seed)
    return Bootstrap(at, redrawn(at, rows, draws, seed), RESIDUALS, seed, level_of_few(at))


def enough(law: Law) -> int:
    """The number of runs that intervals need: two more than the law has parameters, as for rows that are single runs.

    95 % intervals of L(N, D) from 3 runs with 30 evaluations each covered 5 %, those from 4 runs 65 to 78 %.
    """
    return len(law.internal) + 2


def suited(at: Estimate, rows: Rows) -> str:
    """The method that `auto` takes for rows that have intervals."""
    count = int((rows.weights > 0).sum())
    if count > MANY:
        return DELTA
    return BOOTSTRAP if rows.shared or count >= FEW else PROFILE
