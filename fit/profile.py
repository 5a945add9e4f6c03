"""Profile-likelihood intervals: how far a quantity can be moved until the best refit is significantly worse."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import f as fisher

from fit.engine import Batch, Flags, Index, Solution, evaluate, jacobian, minimise
from fit.estimate import Estimate, may_vanish
from fit.laws import Array

LEVEL = 0.95
# The bracket is refined until the distance, 1 at the end of the interval, is known this well.
PRECISION = 1e-3
# Refits stop at this relative gain, worth 1e-4 of the distance at the end of an interval of 10 rows or fewer.
TOLERANCE = 1e-9
# A side is unbounded when this many doublings of the linear half width still do not reach the threshold.
DOUBLINGS = 7
# Loss tables have 6 digits or so: a smaller scatter than this is rounding, and intervals are not narrower.
SMALLEST_SCATTER = 1e-9
# Every side of a quantity holds a copy of φ; this many numbers, 64 MiB, are held at once. 20,000 rows took 3.6 GB.
AT_ONCE = 2**23
# Stiffness of the pull towards a value, against the stiffness of the fit itself. Any would do, see `_refit`.
PULL = 4.0


@dataclass(frozen=True)
class Quantities:
    """Quantities h = logsumexp_j(φ'_j·θ' + off_j): phi (m, J, p), off (m, J). A parameter is a row with one term."""

    phi: Array
    off: Array


def threshold(at: Estimate) -> float:
    """Δ = SSR_min F(1, ν; .95)/ν: SSR ≤ SSR_min + Δ is a quantity's 95 % region (Bates & Watts 1988, §6.1)."""
    scatter = max(at.ssr / at.dof, SMALLEST_SCATTER**2)
    return scatter * float(fisher.ppf(LEVEL, 1, at.dof))


def predictions(rows: Array) -> Quantities:
    """The law's ln L at rows φ' of shape (J, m, p)."""
    phi = rows.transpose(1, 0, 2)
    return Quantities(phi, np.zeros(phi.shape[:2]))


def parameters(at: Estimate, names: tuple[str, ...]) -> Quantities:
    """Internal parameters as quantities."""
    J, p = len(at.law.terms), len(at.law.internal)
    phi, off = np.zeros((len(names), J, p)), np.full((len(names), J), -np.inf)
    for i, name in enumerate(names):
        j, row = at.basis.form(name)
        phi[i, j], off[i, j] = row, 0.0
    return Quantities(phi, off)


class Profile:
    """Intervals of an estimate by profiling. `better` is a lower optimum met on the way, None as it should be."""

    def __init__(self, at: Estimate) -> None:
        self.at = at
        self.delta = threshold(at)
        self.better: Solution | None = None

    def ends(self, of: Quantities, measurement: bool = False) -> tuple[Array, Array]:
        """Lower and upper end, (m,) each, ±inf where unbounded.

        measurement: the interval for a new measurement of the quantity, noise included, not for the law's value.
        """
        some = max(1, AT_ONCE // (2 * self.at.batch.phi.size))
        parts = [
            self._ends(Quantities(of.phi[i : i + some], of.off[i : i + some]), measurement)
            for i in range(0, max(len(of.phi), 1), some)
        ]
        low, high = (np.concatenate(side) for side in zip(*parts, strict=True))
        return low, high

    def _ends(self, of: Quantities, measurement: bool) -> tuple[Array, Array]:
        m = len(of.phi)
        value, variance, known = self._linear(of, measurement)
        side = np.repeat([-1.0, 1.0], m)
        both = Quantities(np.concatenate([of.phi] * 2), np.concatenate([of.off] * 2))
        search = _Search(self, both, np.tile(value, 2), np.tile(variance, 2), side, measurement)
        # A quantity of a vanished floor has no lower end, and above it starts from a floor too small to matter.
        search.open &= np.tile(known, 2) | (side > 0)
        search.run()
        low, high = np.split(search.end, 2)
        return low, high

    def _linear(self, of: Quantities, measurement: bool) -> tuple[Array, Array, Flags]:
        """Value, linear variance over s², and whether the value is finite, (m,) each."""
        solution = self.at.solution
        batch = Batch(of.phi[:, :, None], of.off[:, :, None], np.zeros((1, 1)), np.ones((1, 1)))
        alive = np.repeat(solution.alive, len(of.phi), axis=0)
        known = np.any(alive & np.isfinite(of.off), axis=1)
        small = revived(self.at, solution, share=1e-3)
        theta = np.where(known[:, None], solution.theta, small.theta)
        value, share = evaluate(batch, theta, alive | ~known[:, None])
        g = jacobian(batch, share)[:, 0]
        variance = np.einsum("mp,pq,mq->m", g, self.at.covariance(), g) + measurement
        # Without a linear guess a step of 1 in the logarithm is as good as any.
        return value[:, 0], np.where(known & (variance > 0), variance, 1 / self.delta), known


class _Search:
    """For each quantity and side: where the profiled distance t = √((SSR − SSR_min)/Δ) is 1."""

    def __init__(
        self, profile: Profile, of: Quantities, value: Array, variance: Array, side: Array, measurement: bool
    ) -> None:
        at = profile.at
        R = len(value)
        self.profile, self.of, self.value, self.side, self.measurement = profile, of, value, side, measurement
        self.weight = np.ones(R) if measurement else PULL / variance
        self.offset = np.sqrt(profile.delta * variance) * (1 if measurement else 1 + 1 / PULL)
        self.longest = self.offset * 2.0**DOUBLINGS
        # Last offset, position and distance below the threshold, and first above it.
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

    A refit with an extra observation (h = c, weight W) minimises SSR + W (h − c)², so it is the best fit among all that
    share its own h, whatever W: (h, SSR) lies on the profile. With W = 1 and the observation counted, it is instead the
    profile of a new measurement c.
    """
    profile = search.profile
    at = profile.at
    c = search.value[active] + search.side[active] * search.offset[active]
    batch = _with_row(at.batch, search.of.phi[active], search.of.off[active], c, search.weight[active])
    solution = _best(at, batch, search.theta[active], search.alive[active])
    search.theta[active], search.alive[active] = solution.theta, solution.alive
    f, _ = evaluate(batch, solution.theta, solution.alive)
    pull = search.weight[active] * (f[:, -1] - c) ** 2
    profile.better = _lower(at, solution, solution.ssr - pull, profile.better)
    excess = solution.ssr - at.ssr - (0 if search.measurement else pull)
    moved = np.abs((c if search.measurement else f[:, -1]) - search.value[active])
    distance = np.sqrt(np.maximum(excess, 0) / profile.delta)
    # A refit that did not arrive says nothing: NaN, the search goes on beyond. Within a bracket it is near enough.
    lost = ~solution.settled & np.isinf(search.above[0, active])
    return moved, np.where(lost, np.nan, distance)


def _with_row(batch: Batch, phi: Array, off: Array, y: Array, w: Array) -> Batch:
    """A copy of one problem per row, the row appended: phi (R, J, p), off (R, J), y, w (R,)."""
    R = len(y)

    def repeated(part: Array) -> Array:
        return np.broadcast_to(part, (R, *part.shape[1:]))

    return Batch(
        np.concatenate([repeated(batch.phi), phi[:, :, None]], axis=2),
        np.concatenate([repeated(batch.off), off[:, :, None]], axis=2),
        np.concatenate([repeated(batch.y), y[:, None]], axis=1),
        np.concatenate([repeated(batch.w), w[:, None]], axis=1),
    )


def revived(at: Estimate, solution: Solution, share: float) -> Solution:
    """Solutions whose vanished floor is back as this share of the mean loss, the same at every row."""
    floor = at.law.floor
    theta, alive = solution.theta.copy(), solution.alive.copy()
    if floor is not None:
        z = np.zeros(at.basis.columns.shape[:2])
        z[floor] = at.batch.y.mean() + np.log(share)
        block = at.law.block(floor)
        theta[~alive[:, floor], block] = at.basis.project(z)[block]
        alive[:, floor] = True
    return Solution(theta, alive, solution.ssr, solution.settled)


def _best(at: Estimate, batch: Batch, theta: Array, alive: Flags) -> Solution:
    """The refits from their last solutions and, where a floor had vanished, with it back: the better of the two."""
    gone = np.any(~alive, axis=1)
    # A pull on a floor's own parameter needs the floor to be there.
    stuck = ~np.any(alive & np.isfinite(batch.off[:, :, -1]), axis=1)
    last = Solution(theta, alive, np.full(len(theta), np.inf), gone)
    back = revived(at, last, 0.05)
    flags = may_vanish(at.law)
    theta, alive = np.where(stuck[:, None], back.theta, theta), np.where(stuck[:, None], back.alive, alive)
    first = minimise(batch, theta, alive, flags, TOLERANCE)
    if not (gone & ~stuck).any():
        return first
    return first.better_of(minimise(batch, back.theta, back.alive, flags, TOLERANCE))


def _lower(at: Estimate, solution: Solution, ssr: Array, known: Solution | None) -> Solution | None:
    """The solution that fits the rows better than the estimate by more than rounding, or what was known before."""
    best = int(np.argmin(ssr))
    bound = min(at.ssr, np.inf if known is None else float(known.ssr[0]))
    if ssr[best] >= bound * (1 - 1e-4) - 1e-20:
        return known
    return replace(solution.take(np.array([best])), ssr=ssr[[best]])
