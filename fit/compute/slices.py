"""The loss over n at one budget of compute after the other: along curves, or from the rows of an isoFLOP table."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from fit.data.budgets import Budgets
from fit.data.curves import PER_OCTAVE, STEP, Candidates, falling
from fit.law.law import Array

# Budgets whose rows differ by less than this share in C are exact.
EXACT = 1e-6


@dataclass(frozen=True)
class Curve:
    """The lowest loss of one n, or of one n and lr, as a curve of C: log_c, log_l, log_d (tokens), (points,) each."""

    log_c: Array
    log_l: Array
    log_d: Array

    def reaches(self, log_c: float) -> bool:
        return bool(self.log_c[0] - 1e-9 <= log_c <= self.log_c[-1] + 1e-9)

    def loss(self, log_c: float) -> float:
        """ln L there, between points by a straight line."""
        return float(np.interp(log_c, self.log_c, self.log_l))

    def tokens(self, log_c: float) -> float:
        """ln D there."""
        return float(np.interp(log_c, self.log_c, self.log_d))


class Slices(Protocol):
    """The loss over n at one C after the other. n is known by its value, C by its logarithm."""

    def budgets(self, min_flops: float | None, per_octave: int) -> Iterable[float]:
        """ln C of every budget."""
        ...

    def losses(self, log_c: float) -> dict[float, float]:
        """ln L of every n there, the lowest over lr, batch and seed."""
        ...

    def tokens(self, log_c: float, n: float) -> float:
        """ln D of that n there, NaN where unknown."""
        ...

    def rates(self, log_c: float, n: float) -> dict[float, float] | None:
        """ln L of that n there, for every lr; None if the lr is unknown."""
        ...


def slices(pool: Candidates, present: np.ndarray | None = None) -> Slices:
    """The loss over n at every budget, from the points of the runs that are present, (runs,) flags; by default all."""
    there = np.ones(len(pool.run), dtype=bool) if present is None else present[pool.run]
    return AlongCurves(pool, there) if pool.budgets is None else AtBudgets(pool, there, pool.budgets)


@dataclass(frozen=True)
class AlongCurves:
    """The loss over n on the common grid of C, between the evaluations of the curves of each n."""

    pool: Candidates
    there: np.ndarray

    @cached_property
    def sizes(self) -> dict[float, Curve]:
        n = self.pool.column("n_latents")
        return {} if n is None else best_of(self.pool, n, self.there)

    @cached_property
    def by_lr(self) -> dict[float, dict[float, Curve]]:
        """The curve of the lowest loss for each n and each lr of that n."""
        n, lr = self.pool.column("n_latents"), self.pool.column("lr")
        if n is None or lr is None:
            return {}
        return {size: best_of(self.pool, lr, self.there & (n == size)) for size in self.sizes}

    def budgets(self, min_flops: float | None, per_octave: int) -> Iterable[float]:
        return _budgets(self.sizes, min_flops, per_octave)

    def losses(self, log_c: float) -> dict[float, float]:
        return {size: curve.loss(log_c) for size, curve in self.sizes.items() if curve.reaches(log_c)}

    def tokens(self, log_c: float, n: float) -> float:
        return self.sizes[n].tokens(log_c)

    def rates(self, log_c: float, n: float) -> dict[float, float] | None:
        if not self.by_lr:
            return None
        return {lr: curve.loss(log_c) for lr, curve in self.by_lr[n].items() if curve.reaches(log_c)}


@dataclass(frozen=True)
class AtBudgets:
    """The rows of an isoFLOP table: the loss over n among the rows of one budget.

    The C of a budget's rows may differ by some percent. Their losses are moved to the budget's C with the slope at
    their n between the parabolas of the next lower and the next higher budget.
    """

    pool: Candidates
    there: np.ndarray
    shared: Budgets

    @cached_property
    def n(self) -> Array | None:
        return self.pool.column("n_latents")

    @cached_property
    def lr(self) -> Array | None:
        return self.pool.column("lr")

    @cached_property
    def log_l(self) -> Array:
        """ln L of every point, (m,), at the C of its budget."""
        pool, index, log_c = self.pool, self.shared.index, np.log(self.shared.flops)
        if self.n is None or self.shared.width < EXACT:
            return pool.log_l
        off = np.where(index >= 0, pool.log_c - log_c[index], 0.0)
        return pool.log_l - off * self._slopes(self.n)

    def _slopes(self, n: Array) -> Array:
        """d ln L/d ln C at fixed n of every point, (m,), between the parabolas on either side of its budget."""
        index, log_c, slopes = self.shared.index, np.log(self.shared.flops), np.zeros(len(n))
        curves = {}
        for b in range(len(log_c)):
            x, y = _lowest_of_each(n, self.pool.log_l, np.flatnonzero(self.there & (index == b)))
            if len(x) >= 3:
                curves[b] = np.polyfit(np.log(x), y, 2)
        for b in curves:
            low = max((other for other in curves if other < b), default=b)
            high = min((other for other in curves if other > b), default=b)
            if low < high:
                at = np.log(n[index == b])
                rise = np.polyval(curves[high], at) - np.polyval(curves[low], at)
                slopes[index == b] = np.clip(rise / (log_c[high] - log_c[low]), -1, 0)
        return slopes

    def budgets(self, min_flops: float | None, per_octave: int) -> Iterable[float]:
        if self.n is None:
            return []
        floor = 0.0 if min_flops is None else min_flops * (1 - 1e-9)
        return [float(np.log(C)) for C in self.shared.flops if C >= floor]

    def _rows(self, log_c: float) -> np.ndarray:
        """Indices of the points of the budget."""
        budget = int(np.argmin(np.abs(np.log(self.shared.flops) - log_c)))
        return np.flatnonzero(self.there & (self.shared.index == budget))

    def losses(self, log_c: float) -> dict[float, float]:
        assert self.n is not None
        lowest = _lowest_of_each(self.n, self.log_l, self._rows(log_c))
        return dict(zip(*(values.tolist() for values in lowest), strict=True))

    def tokens(self, log_c: float, n: float) -> float:
        if self.pool.log_tokens is None or self.n is None:
            return float("nan")
        rows = self._rows(log_c)
        rows = rows[self.n[rows] == n]
        return float(self.pool.log_tokens[rows[np.argmin(self.log_l[rows])]])

    def rates(self, log_c: float, n: float) -> dict[float, float] | None:
        if self.lr is None or self.n is None:
            return None
        rows = self._rows(log_c)
        rows = rows[self.n[rows] == n]
        return {
            float(lr): float(self.log_l[rows[self.lr[rows] == lr]].min()) for lr in np.unique(self.lr[rows])
        }


def _lowest_of_each(n: Array, log_l: Array, rows: np.ndarray) -> tuple[Array, Array]:
    """The different n among the rows, rising, and the lowest ln L of each."""
    rows = rows[np.lexsort((log_l[rows], n[rows]))]
    sizes, first = np.unique(n[rows], return_index=True)
    return sizes, log_l[rows[first]]


def best_of(pool: Candidates, values: Array, there: np.ndarray) -> dict[float, Curve]:
    """For each of the values (m,), the curve of its lowest loss so far, over the points flagged in `there` (m,)."""
    log_d = np.full(len(pool.run), np.nan) if pool.log_tokens is None else pool.log_tokens
    best = {}
    for value in np.unique(values[there]):
        index = falling(pool, there & (values == value))
        best[float(value)] = Curve(pool.log_c[index], pool.log_l[index], log_d[index])
    return best


def _budgets(sizes: Mapping[float, Curve], min_flops: float | None, per_octave: int) -> list[float]:
    """ln C of the points of the common grid that at least three sizes reach."""
    if len(sizes) < 3:
        return []
    every = PER_OCTAVE // per_octave
    first, last = (min(c.log_c[0] for c in sizes.values()), max(c.log_c[-1] for c in sizes.values()))
    bins = np.arange(np.ceil(first / STEP / every), np.floor(last / STEP / every) + 1) * every
    floor = -np.inf if min_flops is None else np.log(min_flops) - 1e-9
    grid = [float(b * STEP) for b in bins if b * STEP >= floor]
    return [log_c for log_c in grid if sum(curve.reaches(log_c) for curve in sizes.values()) >= 3]
