"""Which cells to train next: those that narrow the interval of a target most for what they cost.

Let J_i = ∂ ln L/∂θ' at the rows of cell i. The rows of a set S of cells have the information

    M(S) = M₀ + Σ_{i in S} J_i J_iᵀ,

with M₀ of the rows so far, and a target h(θ') with the gradient g has the variance s² gᵀ M(S)⁻¹ g. For one number, as
an exponent, the set with the lowest variance is c-optimal; for the mean over several cells it is V-optimal (Atkinson,
Donev & Tobias 2007, ch. 10).

J depends on θ', which few rows hardly know: a design for their best fit supposes, where it has lost the floor, that the
floor does not matter. The variance is therefore averaged over the refits of a bootstrap, each with a floor, and a
design is made for the whole budget but trained in batches, with the law fitted again after each.

A law is not exact either, and neighbouring rows share its misfit: five cells of almost one size tell little more than
one, and pull the law towards themselves. So cells are chosen by the mean squared error of the target under residuals
with the covariance s² ((1 − a) I + a K), K_ij = exp(−½ Σ (Δu/2)²) with u the inputs in octaves; at a size, the target
itself is off by such a misfit. What is reported is the variance of independent errors, which the intervals show.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import t as student

from fit.law.checks.lack_of_fit import independent
from fit.law.errors import FitError
from fit.law.estimate import SMALL, Estimate
from fit.law.functionals import Predictions, Quantities
from fit.law.intervals.bootstrap import redrawn, refits
from fit.law.intervals.profile import LEVEL, SMALLEST_SCATTER
from fit.law.intervals.spread import plane
from fit.law.law import Array
from fit.law.rows import Rows
from fit.law.solver import Index, Solution, evaluate
from fit.law.starts import revived

# Refits over which a variance is averaged, the fewest that a bootstrap makes.
DRAWS = 20
# The share of the residuals' variance that neighbours share, and how far, in octaves of each input. Of the law of 45
# published GPT-4 SAEs, residuals one, two and three octaves of n apart correlate by .67, .51 and .28.
ALIKE, OCTAVES_ALIKE = 0.9, 2.0
# What is known of a whitened parameter before any row: its standard deviation, in units of ln L. It keeps M invertible
# where a term has all but vanished, and is far wider than what rows leave open.
PRIOR = 3.0
# A design is trained in batches of about this share of its budget, the cheapest cells first.
BATCH = 1 / 3
# Of a start: the most that one cell may cost, as a share of the budget, so that the two ends of k at the largest
# affordable n leave most of it for what the law asks for.
DEAREST_START = 1 / 7
# An exchange of two cells has to lower ln of the variance by this much.
WORTH = 1e-4


@dataclass(frozen=True)
class Cell:
    """A cell that could be trained: what it costs, and the inputs of the rows that it would add.

    at : each input of the law, (m,): one row for a converged run, several along the curve of a run at its budgets.
    weight : how many measurements its rows count as together.
    """

    at: Mapping[str, Array]
    cost: float
    weight: float = 1.0


@dataclass(frozen=True)
class Design:
    """Cells to train for a target.

    half : half the width of the target's 95 % interval with the rows so far, by the averaged variance, the root mean
    square over several quantities; of the logarithm for a positive one. added : the cells, the cheapest first; none if
    not even the cheapest can be paid.
    """

    half: float
    added: tuple["Added", ...]


@dataclass(frozen=True)
class Added:
    """A cell of a design, in the order in which they are trained.

    cell : its number among the cells given. cost : of all cells up to it. width : the half width of the target's 95 %
    interval that is expected after them, over the present one. now : whether it belongs to the first batch.
    """

    cell: int
    cost: float
    width: float
    now: bool


def design(
    at: Estimate,
    rows: Rows,
    target: Quantities,
    cells: Sequence[Cell],
    budget: float,
    *,
    batch: float = BATCH,
    alike: float = ALIKE,
    draws: int = DRAWS,
    seed: int = 0,
) -> Design:
    """The cells to train within a budget.

    Parameters
    ----------
    at, rows : the law fitted to the rows so far, and these rows.
    target : the quantities of θ' whose mean variance is to become small.
    cells : those that could be trained, each once; give a cell several times for several seeds.
    budget : in the unit of the cells' costs.
    batch : the share of the budget after which the law should be fitted again.
    alike : a, the share of the residuals' variance that neighbours share; 0 for the designs of textbooks. Rows of
        curves, which count as fewer measurements than they are, are taken as independent.
    draws, seed : of the bootstrap that the variance is averaged over.

    Raises
    ------
    FitError
        For a budget or a cost that is not above 0.
    """
    costs = np.array([cell.cost for cell in cells], dtype=float)
    for name, value in [("The budget", budget), *(("The cost of a cell", cost) for cost in costs)]:
        if not (np.isfinite(value) and value > 0):
            raise FitError(f"{name} is {value:g}: it must be a finite number above 0.")
    variance = _Variance.of(at, rows, target, cells, 0.0 if rows.shared else alike, draws, seed)
    chosen = _exchanged(variance, costs, budget, _greedy(variance, costs, budget))
    chosen.sort(key=lambda cell: (costs[cell], cell))
    present = variance.at([])
    t = float(student.ppf((1 + LEVEL) / 2, at.dof))
    spent, added, room = 0.0, [], batch * budget
    for position, cell in enumerate(chosen):
        spent += float(costs[cell])
        freedom = at.dof + sum(cells[one].weight for one in chosen[: position + 1])
        fewer = float(student.ppf((1 + LEVEL) / 2, freedom)) / t
        width = fewer * float(np.sqrt(variance.at(chosen[: position + 1]) / present))
        added.append(Added(cell, spent, width, spent <= room * (1 + 1e-9) or position == 0))
    return Design(t * float(np.sqrt(at.scatter() * present)), tuple(added))


def start(cells: Sequence[Cell], names: Sequence[str], budget: float, least: int) -> tuple[int, ...]:
    """Cells for a first fit, without any row: corners and middle of the grid, then the cells furthest from them.

    No cell that costs more than a seventh of the budget is among them, unless too few are that cheap. A cell is passed
    over if the others that are still needed could not be paid after it, so that `least` cells are found wherever the
    cheapest of them can be paid. Distances are of the logarithms of the inputs, each over its range.

    Parameters
    ----------
    cells : those that could be trained. names : the inputs that the law has of them.
    budget : in the unit of their costs.
    least : how many are wanted.

    Raises
    ------
    FitError
        If the budget does not pay `least` cells.
    """
    costs = np.array([cell.cost for cell in cells], dtype=float)
    if len(costs) < least:
        raise FitError(
            f"A first fit needs {least} cells, and the grid has {len(cells)} to train: give it more sizes."
        )
    cheapest = np.sort(costs)[:least]
    if cheapest.sum() > budget * (1 + 1e-9):
        raise FitError(
            f"A first fit needs {least} cells, which cost {cheapest.sum():.3g} or more here, and the budget is "
            f"{budget:.3g}: raise it."
        )
    paid = np.flatnonzero(costs <= max(DEAREST_START * budget, cheapest[-1]))
    u = np.log([[float(cells[int(i)].at[name][-1]) for name in names] for i in paid])
    width = np.ptp(u, axis=0)
    u = (u - u.min(axis=0)) / np.where(width > 0, width, 1)
    ends = np.array(np.meshgrid(*[[0.0, 1.0]] * len(names))).reshape(len(names), -1).T
    chosen: list[int] = []
    for place in (*ends, np.full(len(names), 0.5)):
        possible = _leaving_enough(costs[paid], chosen, budget, least)
        distance = ((u - place) ** 2).sum(axis=1)
        taken = chosen[int(np.argmin(distance[chosen]))] if chosen else None
        if len(possible):
            nearest = int(possible[np.argmin(distance[possible])])
            if taken is None or distance[nearest] < distance[taken]:
                chosen.append(nearest)
    while len(chosen) < least:
        possible = _leaving_enough(costs[paid], chosen, budget, least)
        gap = ((u[possible, None] - u[chosen]) ** 2).sum(axis=2).min(axis=1)
        chosen.append(int(possible[np.argmax(gap)]))
    chosen.sort(key=lambda one: costs[paid[one]])
    return tuple(int(paid[one]) for one in chosen)


def _leaving_enough(costs: Array, chosen: Sequence[int], budget: float, least: int) -> Index:
    """The cells not chosen after which the budget still pays for the cheapest of those that are wanted beside them."""
    free = np.setdiff1d(np.arange(len(costs)), chosen)
    left = budget * (1 + 1e-9) - float(costs[list(chosen)].sum())
    more = max(0, least - len(chosen) - 1)
    order = free[np.argsort(costs[free], kind="stable")]
    first = float(costs[order[:more]].sum())
    # Of a cell that is itself among the cheapest, the next one takes the place.
    following = float(costs[order[more]]) if len(order) > more else np.inf
    rest = np.where(np.isin(free, order[:more]), first - costs[free] + following, first)
    return free[costs[free] + rest <= left]


@dataclass(frozen=True)
class _Variance:
    """The variance of a target over s², averaged over plausible laws, for any set of cells.

    slopes : J of the rows so far, and then of each cell, times the root of their weights, (R, p, m). g : gradients of
    the target, (R, p, T). prior : of M, a number times the unit matrix. alike : a. roots, places : the root of the
    weight and the inputs in octaves of the same rows, (m,) and (m, d). there : those of the target, (T, d), where it is
    a loss; else None.
    """

    slopes: tuple[Array, ...]
    g: Array
    prior: float
    alike: float
    roots: tuple[Array, ...]
    places: tuple[Array, ...]
    there: Array | None

    @classmethod
    def of(
        cls,
        at: Estimate,
        rows: Rows,
        target: Quantities,
        cells: Sequence[Cell],
        alike: float,
        draws: int,
        seed: int,
    ) -> "_Variance":
        laws = plausible(at, rows, draws, seed)
        scale = independent(at, rows) / float(rows.weights.sum()) if rows.shared else 1.0
        inputs = [rows.x, *(cell.at for cell in cells)]
        counts = [len(next(iter(x.values()))) for x in inputs]
        roots = [np.sqrt(rows.weights * scale)]
        roots += [np.full(m, np.sqrt(cell.weight / m)) for cell, m in zip(cells, counts[1:], strict=True)]
        slopes = tuple(_slopes(at, laws, x) * root for x, root in zip(inputs, roots, strict=True))
        places = tuple(np.stack(at.law.coordinates(x), axis=1) / np.log(2) for x in inputs)
        which = [np.full(len(laws.theta), m, dtype=np.intp) for m in range(len(target))]
        g = np.stack([target.evaluate(laws.theta, laws.alive, m)[1] for m in which], axis=2)
        prior = max(at.scatter(), SMALLEST_SCATTER**2) / PRIOR**2
        there = None
        if isinstance(target, Predictions):
            there = np.stack(target.terms.coordinates, axis=1) / np.log(2)
        return cls(slopes, g, prior, alike, tuple(roots), places, there)

    def at(self, cells: Sequence[int]) -> float:
        """The mean variance with these cells, of independent errors: gᵀ M⁻¹ g."""
        M = self._information(self._joined(self.slopes, cells, axis=2))
        return float((self.g * np.linalg.solve(M, self.g)).sum(axis=1).mean())

    def error(self, cells: Sequence[int]) -> float:
        """The mean squared error with these cells, over s²: of errors that neighbours share in part.

        With h = J M⁻¹ g, the weight of each row in the target, it is hᵀ V h, the prior's share |M⁻¹ g|², and for a loss
        with the misfit a at the target itself − 2 a hᵀ K + a.
        """
        if self.alike == 0:
            return self.at(cells)
        J = self._joined(self.slopes, cells, axis=2)
        root, u = self._joined(self.roots, cells), self._joined(self.places, cells)
        Pg = np.linalg.solve(self._information(J), self.g)
        h = J.transpose(0, 2, 1) @ Pg
        V = self.alike * np.outer(root, root) * _neighbours(u, u)
        V[np.diag_indices(len(u))] += 1 - self.alike
        square = (h * (V @ h)).sum(axis=1) + self.prior * (Pg**2).sum(axis=1)
        if self.there is not None:
            across = self.alike * root[:, None] * _neighbours(u, self.there)
            square = square - 2 * (h * across).sum(axis=1) + self.alike
        return float(square.mean())

    def with_each(self, cells: Sequence[int], further: Index) -> Array:
        """The mean squared error with these cells and one more, for each of `further`."""
        return np.array([self.error([*cells, int(cell)]) for cell in further])

    def _information(self, J: Array) -> Array:
        return J @ J.transpose(0, 2, 1) + self.prior * np.eye(J.shape[1])

    @staticmethod
    def _joined(parts: Sequence[Array], cells: Sequence[int], axis: int = 0) -> Array:
        """Of the rows so far and of these cells."""
        return np.concatenate([parts[0], *(parts[1 + cell] for cell in cells)], axis=axis)


def _neighbours(u: Array, other: Array) -> Array:
    """K of places (m, d) and (m', d) in octaves, (m, m')."""
    apart = ((u[:, None] - other) / OCTAVES_ALIKE) ** 2
    return np.asarray(np.exp(-apart.sum(axis=2) / 2))


def plausible(at: Estimate, rows: Rows, draws: int, seed: int) -> Solution:
    """The refits of a bootstrap, each with a floor: where the floor vanished it is restored at a negligible size."""
    every = refits(at, redrawn(at, replace(rows, cluster=None), draws, seed))
    whole = revived(at.basis, at.problem, every, SMALL)
    best = plane(at)
    fine = np.isfinite(whole.theta).all(axis=1)
    return Solution(
        np.concatenate([best.theta, whole.theta[fine]]),
        np.concatenate([best.alive, whole.alive[fine]]),
        np.concatenate([best.deviance, whole.deviance[fine]]),
        np.concatenate([best.settled, whole.settled[fine]]),
    )


def _slopes(at: Estimate, laws: Solution, x: Mapping[str, Array]) -> Array:
    """∂ ln L/∂θ' at inputs (m,), (R, p, m)."""
    terms = at.basis.at(x)
    return terms.slopes(laws.theta, evaluate(terms, laws.theta, laws.alive)[1])


def _affordable(costs: Array, chosen: Sequence[int], left: float) -> Index:
    free = np.ones(len(costs), dtype=bool)
    free[list(chosen)] = False
    return np.flatnonzero(free & (costs <= left * (1 + 1e-9)))


def _greedy(variance: _Variance, costs: Array, budget: float) -> list[int]:
    """Cells added one by one: by the gain for the cost, or by the gain alone, whichever ends lower.

    By the gain for the cost alone, cheap cells use up what the one dear cell that holds the floor would have cost.
    """
    ends: list[tuple[float, list[int]]] = []
    for power in (1.0, 0.0):
        chosen: list[int] = []
        left, now = budget, variance.error([])
        while len(further := _affordable(costs, chosen, left)):
            after = variance.with_each(chosen, further)
            best = int(np.argmax((now - after) / costs[further] ** power))
            if after[best] >= now and chosen:
                break
            chosen.append(int(further[best]))
            left, now = left - float(costs[further[best]]), float(after[best])
        ends.append((now, chosen))
    return min(ends, key=lambda end: end[0])[1]


def _exchanged(variance: _Variance, costs: Array, budget: float, chosen: list[int]) -> list[int]:
    """The cells after the best exchange, addition or removal of a cell, until none is worth it (Fedorov 1972)."""
    now = variance.error(chosen)
    for _ in range(10 * max(1, len(chosen))):
        best, into = now * (1 - WORTH), None
        for cell in (None, *chosen):
            rest = [one for one in chosen if one != cell]
            further = _affordable(costs, chosen, budget - float(costs[rest].sum()))
            after = variance.with_each(rest, further)
            if len(further) and after.min() < best:
                best, into = float(after.min()), [*rest, int(further[np.argmin(after)])]
            if rest and cell is not None and (alone := variance.error(rest)) < best:
                best, into = alone, rest
        if into is None:
            break
        now, chosen = best, into
    return chosen
