"""The search for a law's optimum from many starting points, in which floors may vanish and be restored.

Starting points are found by variable projection: a grid over the slopes, with the coefficients of each cell solved by
non-negative least squares (NNLS). All of them are refined on a sample of the rows, and the best one on all rows.
"""

import itertools
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fit.law.basis import Basis
from fit.law.function.smooth import Smooth
from fit.law.law import Array, Bend, Inputs, Law, Term
from fit.law.solver import Flags, Problem, Solution, minimise

# Huber's δ is lowered from here tenfold at a time. At 1e-3 most residuals are linear, so that a distant start has
# almost no gradient to follow.
SOFTEST = 0.1
# The law without one of its terms has fewer local minima than the whole law, so few starts are enough.
FEW = 4
# With more rows than this, 16 starts are refined on a sample of this size and only the best one on all rows. 16 starts
# on 10⁶ rows would take minutes and 5 GB.
MOST_ROWS = 5_000
# The refit on all rows stops when the deviance would fall by less than this share of the average row's deviance, which
# is 1e-2 standard errors.
NEAR = 1e-4
# A coefficient that NNLS sets to 0 starts at this share of the lowest loss, since the solver works with its logarithm.
SMALLEST = 1e-3
STARTS = 16
# The grid of slopes has some hundred cells for each term; with more rows than this it is evaluated on a sample.
GRID_ROWS = 2_000


def starting_points(basis: Basis, x: Inputs, loss: Array, weights: Array, count: int = STARTS) -> Array:
    """The `count` best cells of the grid that are not neighbours, as whitened parameters, (count, p).

    For fixed slopes a law is linear in the coefficients c_j ≥ 0 of its terms. Each cell minimises the relative error
    Σ w_i (Σ_j c_j exp(slopes_j·φ_ji)/L_i − 1)² with centred log inputs. Neighbouring cells are avoided because they
    converge to the same optimum, so that their agreement is no evidence that it is the global one. A function of the
    user has no grid: see `Smooth.starts`.
    """
    law = basis.law
    some = _sample(len(loss))
    smooth = law.terms[0].bend
    if isinstance(smooth, Smooth):
        of_some = basis.terms.take(some).coordinates
        return smooth.starts(smooth.at(of_some), np.log(loss[some]), weights[some], count)
    inputs = {name: x[name][some] for name in law.inputs}
    grids = [_shapes(law, term, inputs) for term in law.terms]
    root = np.sqrt(weights[some])
    columns = [np.exp(shape) * root / loss[some] for _, _, shape in grids]
    cells, coefficients = _solved(columns, root)
    chosen = _apart(cells, [index for index, _, _ in grids], count)
    smallest = SMALLEST * loss.min()
    theta = np.empty((len(chosen), len(law.internal)))
    for j, (_, bends, shape) in enumerate(grids):
        at = np.unravel_index(chosen, cells.shape)[j]
        c = np.maximum(coefficients[j].ravel()[chosen], smallest)
        z = np.log(c)[:, None] + shape[at]
        theta[:, law.bend_block(j)] = bends[at]
        bend = law.terms[j].bend
        if bend:
            z = z - bend.value(bend.at(law.coordinates(inputs)), bends[at])
        theta[:, law.block(j)] = _projected(basis, j, z, some)
    return theta


def _sample(rows: int) -> NDArray[np.intp]:
    if rows <= GRID_ROWS:
        return np.arange(rows)
    return np.sort(np.random.default_rng(0).choice(rows, GRID_ROWS, replace=False))


def _projected(basis: Basis, j: int, z: Array, some: NDArray[np.intp]) -> Array:
    if len(some) == basis.terms.rows:
        return basis.project(j, z)
    return np.asarray(np.linalg.lstsq(basis.terms.phi[j][:, some].T, z.T, rcond=None)[0].T, dtype=float)


def _shapes(law: Law, term: Term, x: Inputs) -> tuple[NDArray[np.intp], Array, Array]:
    """The cells of a term's grid: their indices, (cells, axes), the bend's parameters, and z − θ_0, (cells, rows)."""
    coordinates = law.coordinates(x)
    centred = [
        u if name in law.as_is else u - u.mean() for name, u in zip(law.inputs, coordinates, strict=True)
    ]
    phi = np.stack([np.broadcast_to(c, centred[0].shape) for c in term.columns(*centred)])
    bend = term.bend
    assert bend is None or isinstance(bend, Bend)
    bends = bend.cells(bend.at(coordinates)) if bend else np.empty((1, 0))
    sizes = [len(s) for s in term.slopes] + [len(bends)]
    index = np.array(list(itertools.product(*map(range, sizes))), dtype=np.intp)
    slopes = [values[index[:, a]] for a, values in enumerate(term.slopes)]
    z = np.stack(slopes, axis=1) @ phi[1:] if slopes else np.zeros((len(index), phi.shape[1]))
    nu = bends[index[:, -1]]
    if bend:
        z = z + bend.value(bend.at(coordinates), nu)
    return index, nu, z


def _solved(columns: list[Array], target: Array) -> tuple[Array, list[Array]]:
    """Minimise ‖Σ_j c_j columns_j − target‖² over c_j ≥ 0 for every combination of one column from each term.

    Returns the squared residual and each c_j, (cells of term 0, cells of term 1, …). A law has few terms, so every
    subset of positive coefficients is solved by its normal equations, for all cells at once.
    """
    J = len(columns)
    shape = tuple(len(c) for c in columns)

    def spread(values: Array, *axes: int) -> Array:
        return np.broadcast_to(values.reshape([shape[a] if a in axes else 1 for a in range(J)]), shape)

    gram = np.empty((*shape, J, J))
    right = np.empty((*shape, J))
    for i in range(J):
        right[..., i] = spread(columns[i] @ target, i)
        gram[..., i, i] = spread((columns[i] ** 2).sum(axis=1), i)
        for j in range(i):
            gram[..., i, j] = gram[..., j, i] = spread(columns[j] @ columns[i].T, j, i)
    best, coefficients = np.zeros(shape), np.zeros((*shape, J))
    for size in range(1, J + 1):
        for present in itertools.combinations(range(J), size):
            c, gain, feasible = _normal(gram, right, list(present))
            better = feasible & (gain > best)
            best = np.where(better, gain, best)
            full = np.zeros((*shape, J))
            full[..., list(present)] = c
            coefficients = np.where(better[..., None], full, coefficients)
    return target @ target - best, [coefficients[..., j] for j in range(J)]


def _normal(gram: Array, right: Array, present: list[int]) -> tuple[Array, Array, NDArray[np.bool_]]:
    """The coefficients of a subset of terms, the decrease of the residual, and whether all of them are positive."""
    G = gram[..., present, :][..., present].copy()
    b = right[..., present]
    diagonal = np.einsum("...ii->...i", G)
    diagonal *= 1 + 1e-12
    c = np.asarray(np.linalg.solve(G, b[..., None])[..., 0], dtype=float)
    return c, (c * b).sum(axis=-1), np.all(c > 0, axis=-1, keepdims=True)[..., 0]


def _apart(cells: Array, places: list[NDArray[np.intp]], count: int) -> NDArray[np.intp]:
    """Indices of the best cells that are at least two grid steps from one another, then of the best of the rest."""
    order = np.argsort(cells, axis=None, kind="stable")[: 64 * count]
    at = np.unravel_index(order, cells.shape)
    where = np.concatenate([place[i] for place, i in zip(places, at, strict=True)], axis=1)
    free = np.ones(len(order), dtype=bool)
    chosen: list[int] = []
    while free.any() and len(chosen) < count:
        chosen.append(int(np.argmax(free)))
        free &= np.abs(where - where[chosen[-1]]).max(axis=1) >= 2
    rest = [i for i in range(len(order)) if i not in chosen]
    return order[np.array(chosen + rest[: count - len(chosen)], dtype=np.intp)]


def may_vanish(law: Law) -> Flags:
    """(J,): which terms may vanish; only the floor."""
    return np.arange(len(law.terms)) == law.floor


def sampled(problem: Problem) -> Problem:
    rows = problem.terms.rows
    if rows <= MOST_ROWS:
        return problem
    some = np.sort(np.random.default_rng(0).choice(rows, MOST_ROWS, replace=False))
    return replace(problem, terms=problem.terms.take(some), ln_y=problem.ln_y[some], w=problem.w[:, some])


def on_all_rows(basis: Basis, problem: Problem, of_sample: Solution) -> Solution:
    """Refine on all rows from the optimum of a sample; if the sample's optimum had no floor, also try one."""
    best = _refine_on_all_rows(problem, of_sample, may_vanish(basis.law))
    if of_sample.alive.all():
        return best
    back = revived(basis, problem, best, 0.05)
    return best.better_of(_refine_on_all_rows(problem, back, may_vanish(basis.law)))


def _refine_on_all_rows(problem: Problem, start: Solution, flags: Flags) -> Solution:
    return minimise(problem, start.theta, start.alive, flags, NEAR / problem.terms.rows)


def deviance_of_all(problem: Problem, of_sample: Solution) -> float:
    """The deviance over all rows, refined from the optimum of a sample with the same terms present."""
    solution = of_sample
    if problem.terms.rows > MOST_ROWS:
        solution = _refine_on_all_rows(problem, solution, np.zeros(solution.alive.shape[1], dtype=bool))
    return float(solution.deviance[0])


def refined(problem: Problem, theta: Array, alive: Flags, flags: Flags) -> Solution:
    """The optimum from every start. Huber's objective is approached through larger values of δ, see `SOFTEST`."""
    delta = SOFTEST
    while delta > 1.5 * problem.objective.delta:
        softer = replace(problem, objective=replace(problem.objective, delta=delta))
        near = minimise(softer, theta, alive, flags, tolerance=1e-6)
        theta, alive, delta = near.theta, near.alive, delta / 10
    return minimise(problem, theta, alive, flags)


def with_floors(basis: Basis, problem: Problem, optima: Solution) -> Solution:
    """Refit once, with a restored floor, the optima whose floor vanished: one long step may have removed it."""
    gone = np.flatnonzero(~optima.alive.all(axis=1))
    if not len(gone):
        return optima
    back = revived(basis, problem, optima.take(gone), 0.05)
    again = minimise(problem, back.theta, back.alive, may_vanish(basis.law))
    whole = optima.take(np.arange(len(optima.deviance)))
    for part, new in zip(vars(whole).values(), vars(again).values(), strict=True):
        part[gone] = new
    return optima.better_of(whole)


def revived(basis: Basis, problem: Problem, solution: Solution, share: float) -> Solution:
    """The solutions with any vanished floor restored as this share of the mean loss, the same at every row."""
    floor = basis.law.floor
    theta, alive = solution.theta.copy(), solution.alive.copy()
    if floor is not None:
        level = np.full(basis.terms.rows, problem.ln_y.mean() + np.log(share))
        theta[~alive[:, floor], basis.law.block(floor)] = basis.project(floor, level)
        alive[:, floor] = True
    return replace(solution, theta=theta, alive=alive)


def best_of(optima: Solution) -> Solution:
    """The one of several optima with the lowest deviance."""
    return optima.take(np.array([np.nanargmin(optima.deviance)]))


def without(term: int, problem: Problem, starts: Array) -> Solution | None:
    """The optimum of the law without one of its terms; None if it has no other term."""
    terms = len(problem.terms.phi)
    if terms == 1:
        return None
    alive = np.tile(np.arange(terms) != term, (len(starts[:FEW]), 1))
    return best_of(refined(problem, starts[:FEW], alive, np.zeros(terms, dtype=bool)))
