"""Profile-likelihood intervals: how far a quantity can be moved until the best refit is significantly worse."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.stats import f as fisher

from fit.law.estimate import Estimate
from fit.law.functionals import Quantities
from fit.law.intervals.spread import plane, sandwich
from fit.law.law import Array, Derived
from fit.law.solver import Flags, Index, Problem, Pull, Solution, minimise
from fit.law.starts import may_vanish, revived

LEVEL = 0.95
# The bracket is refined until the distance, 1 at the end of the interval, is known this well.
PRECISION = 1e-3
# Refits stop at this relative gain. For 10 rows or fewer it changes the distance at the end of an interval by 1e-4.
TOLERANCE = 1e-9
# A side is unbounded when this many doublings of the linear half width still do not reach the threshold.
DOUBLINGS = 7
# A term is certainly present if the variance of the logarithm of its size is below this.
SURE = 0.01
# Loss tables have about 6 digits, so a scatter below this is rounding error; intervals get no narrower than this.
SMALLEST_SCATTER = 1e-9
# Stiffness of the pull towards a value, relative to that of the fit itself. Any positive value works, see `_refit`.
PULL = 4.0


def threshold(at: Estimate) -> float:
    """Δ = τ F(1, ν; .95): the 95 % region of a quantity is where the deviance is at most Δ above its minimum.

    For least squares τ = s² (Bates & Watts 1988, §6.1). For Huber's ρ it is the scale of the robust likelihood ratio
    (Heritier & Ronchetti 1994), see `Estimate.scatter`.
    """
    scatter = max(at.scatter(), SMALLEST_SCATTER**2)
    return scatter * float(fisher.ppf(LEVEL, 1, at.freedom()))


def optional(at: Estimate) -> Flags:
    """(J,): whether the rows allow each term to be absent: the deviance without it is at most Δ higher.

    A term whose size is known to within a tenth is 10 standard errors from absent, and is not refitted without it.
    """
    _, inside = at.influence()
    # In whitened parameters, the first parameter of a term is the mean of its logarithm over the rows.
    first = [at.law.block(j).start for j in range(len(at.law.terms))]
    variance = np.diag(at.covariance())[first] * at.scatter() / inside
    sure = (variance > 0) & (variance < SURE)
    allowed = at.deviance + threshold(at)
    return np.array([not known and at.without(j) <= allowed for j, known in enumerate(sure)], dtype=bool)


def undefined(at: Estimate) -> set[str]:
    """Names of the parameters whose 95 % interval has no ends with any method: those of a term that may be absent.

    A slope and its coefficient have no meaning without their term. A constant floor has no slope, so it may still have
    an upper end.
    """
    terms = zip(at.law.terms, optional(at), strict=True)
    return {name for term, absent in terms if absent and len(term.internal) > 1 for name in term.internal}


def with_ends(at: Estimate, quantities: Sequence[Derived]) -> list[int]:
    """Indices of the derived quantities whose interval has ends.

    A quantity that is undefined without its term has none if that term may be absent.
    """
    absent = optional(at)
    return [m for m, d in enumerate(quantities) if d.term is None or d.log or not absent[d.term]]


class Profile:
    """Intervals of an estimate by profiling.

    better: a lower optimum that a refit reached, which should not happen; None if there was none.
    """

    def __init__(self, at: Estimate) -> None:
        self.at = at
        self.better: Solution | None = None

    def _thresholds(self, quantities: Quantities) -> Array:
        """Δ of each quantity, (m,).

        Residuals of L itself are not alike, since noise is a share of the loss: under the objective linear, the rows of
        the largest losses scatter most. There τ is the ratio of two variances of the quantity, by the sandwich and by
        the deviance alone (Godambe's information; Kent 1982).
        """
        at, m = self.at, len(quantities)
        if at.problem.objective.name != "linear":
            return np.full(m, threshold(at))
        there = plane(at)
        theta, alive = np.repeat(there.theta, m, axis=0), np.repeat(there.alive, m, axis=0)
        g = quantities.evaluate(theta, alive, np.arange(m))[1]
        covariances = at.covariance(there), sandwich(at, power=0.5)
        by_deviance, by_rows = (np.einsum("mp,pq,mq->m", g, C, g) for C in covariances)
        known = (by_deviance > 0) & np.isfinite(by_rows)
        ratio = np.divide(by_rows, by_deviance, out=np.full(m, at.scatter()), where=known)
        # The sandwich does not depend on the scale of the weights: rows that count as fewer measurements than they are
        # would not widen it.
        rows = int((at.weights > 0).sum())
        fewer = max(1.0, (rows - len(at.law.internal)) / at.dof)
        return np.maximum(ratio * fewer, SMALLEST_SCATTER**2) * float(fisher.ppf(LEVEL, 1, at.freedom()))

    def ends(self, quantities: Quantities, measurement: bool = False) -> tuple[Array, Array]:
        """Lower and upper end, (m,) each, ±inf where unbounded.

        measurement: give the interval of a new measurement of the quantity, noise included, instead of the law's value.
        """
        m = len(quantities)
        delta = self._thresholds(quantities)
        value, variance, known = self._linear(quantities, measurement, delta)
        side = np.repeat([-1.0, 1.0], m)
        thresholds, values, variances = (np.tile(v, 2) for v in (delta, value, variance))
        search = _Search(self, quantities, thresholds, values, variances, side, measurement)
        # A quantity of a vanished floor has no lower end; its upper side starts from a floor too small to matter.
        search.open &= np.tile(known, 2) | (side > 0)
        search.run()
        low, high = np.split(search.end, 2)
        return low, high

    def _linear(self, quantities: Quantities, measurement: bool, delta: Array) -> tuple[Array, Array, Flags]:
        """Value, linear variance divided by s², and whether the value is finite, (m,) each."""
        m = len(quantities)
        here, small = (
            _repeated(s, m)
            for s in (self.at.solution, revived(self.at.basis, self.at.problem, self.at.solution, share=1e-3))
        )
        known = np.isfinite(quantities.evaluate(here.theta, here.alive, np.arange(m))[0])
        theta = np.where(known[:, None], here.theta, small.theta)
        value, g, _ = quantities.evaluate(theta, here.alive | ~known[:, None], np.arange(m))
        variance = np.einsum("mp,pq,mq->m", g, self.at.covariance(), g) + measurement
        # Without a linear guess, start with a step of 1 in the logarithm.
        return value, np.where(known & (variance > 0), variance, 1 / delta), known


class _Search:
    """Finds, for each quantity and side, where the profiled distance t = √((deviance − minimum)/Δ) is 1."""

    def __init__(
        self,
        profile: Profile,
        quantities: Quantities,
        delta: Array,
        value: Array,
        variance: Array,
        side: Array,
        measurement: bool,
    ) -> None:
        at = profile.at
        R = len(value)
        self.profile, self.quantities, self.measurement = profile, quantities, measurement
        self.delta, self.value, self.side = delta, value, side
        self.which = np.tile(np.arange(R // 2), 2)
        self.weight = np.ones(R) if measurement else PULL / variance
        self.offset = np.sqrt(delta * variance) * (1 if measurement else 1 + 1 / PULL)
        self.longest = self.offset * 2.0**DOUBLINGS
        # Offset, position and distance of the last refit below the threshold, and of the first above it.
        self.below, self.above = np.zeros((3, R)), np.full((3, R), np.inf)
        self.end = side * np.inf
        self.open = np.ones(R, dtype=bool)
        self.theta = np.repeat(at.solution.theta, R, axis=0)
        self.alive = np.repeat(at.solution.alive, R, axis=0)

    def run(self, rounds: int = 60) -> None:
        for _ in range(rounds):
            active = np.flatnonzero(self.open)
            if not len(active):
                return
            self._narrow(active, *_refit(self, active))

    def _narrow(self, active: Index, position: Array, distance: Array) -> None:
        now = np.stack([self.offset[active], position, distance])
        inside, beyond = distance < 1, distance >= 1
        self.below[:, active[inside]] = now[:, inside]
        self.above[:, active[beyond]] = now[:, beyond]
        lo, hi = self.below[:, active], self.above[:, active]
        bracketed = np.isfinite(hi[0])
        with np.errstate(invalid="ignore", divide="ignore"):
            part = (1 - lo[2]) / (hi[2] - lo[2])
            meeting = np.where(bracketed, lo[1] + part * (hi[1] - lo[1]), np.inf)
            inner = lo[0] + np.clip(part, 0.1, 0.9) * (hi[0] - lo[0])
        self.end[active] = self.value[active] + self.side[active] * meeting
        close = (np.abs(distance - 1) < PRECISION) | (hi[0] - lo[0] < PRECISION * hi[0])
        unbounded = ~bracketed & (now[0] >= self.longest[active])
        self.offset[active] = np.where(bracketed, inner, 2 * now[0])
        self.open[active] = ~((close & bracketed) | unbounded)


def _refit(search: _Search, active: Index) -> tuple[Array, Array]:
    """Position |h − ĥ| and distance t after refits that are pulled towards ĥ ± offset.

    A refit with an extra observation (h = c, weight W) minimises D + W (h − c)². Whatever W is, it is the best fit
    among all those with the same h, so (h, D) lies on the profile. With W = 1 and the observation counted in the
    deviance, it is instead the profile of a new measurement c.
    """
    profile = search.profile
    at = profile.at
    c = search.value[active] + search.side[active] * search.offset[active]
    pull = Pull(search.quantities, search.which[active], c, search.weight[active])
    solution = _best(at, replace(at.problem, pull=pull), search.theta[active], search.alive[active])
    search.theta[active], search.alive[active] = solution.theta, solution.alive
    h, _, _ = search.quantities.evaluate(solution.theta, solution.alive, pull.which)
    pulled = pull.weight * (h - c) ** 2
    profile.better = _lower(at, solution, solution.deviance - pulled, profile.better)
    excess = solution.deviance - at.deviance - (0 if search.measurement else pulled)
    moved = np.abs((c if search.measurement else h) - search.value[active])
    distance = np.sqrt(np.maximum(excess, 0) / search.delta[active])
    # A refit that did not converge is ignored (NaN) and the search goes on further out, unless the bracket is already
    # closed: there an almost converged refit is near enough.
    lost = ~solution.settled & np.isinf(search.above[0, active])
    return moved, np.where(lost, np.nan, distance)


def _repeated(solution: Solution, m: int) -> Solution:
    return solution.take(np.zeros(m, dtype=np.intp))


def _best(at: Estimate, problem: Problem, theta: Array, alive: Flags) -> Solution:
    """The better of two refits: from the last solutions and, where the floor had vanished, also with it restored."""
    gone = np.any(~alive, axis=1)
    last = Solution(theta, alive, np.full(len(theta), np.inf), gone)
    back = revived(at.basis, at.problem, last, 0.05)
    # A pull on a parameter of the floor is only defined while the floor is present.
    assert problem.pull is not None
    stuck = ~np.isfinite(problem.pull.quantities.evaluate(theta, alive, problem.pull.which)[0])
    flags = may_vanish(at.law)
    theta, alive = np.where(stuck[:, None], back.theta, theta), np.where(stuck[:, None], back.alive, alive)
    first = minimise(problem, theta, alive, flags, TOLERANCE)
    if not (gone & ~stuck).any():
        return first
    return first.better_of(minimise(problem, back.theta, back.alive, flags, TOLERANCE))


def _lower(at: Estimate, solution: Solution, deviance: Array, known: Solution | None) -> Solution | None:
    """A solution that fits the rows better than the estimate by more than rounding error, otherwise `known`."""
    best = int(np.argmin(deviance))
    bound = min(at.deviance, np.inf if known is None else float(known.deviance[0]))
    if deviance[best] >= bound * (1 - 1e-4) - 1e-20:
        return known
    return replace(solution.take(np.array([best])), deviance=deviance[[best]])
