"""The search for a law's optimum: many starts refined on a sample of the rows, floors that vanish and come back."""

from dataclasses import replace

import numpy as np

from fit.law.basis import Basis
from fit.law.law import Array, Law
from fit.law.solver import Flags, Problem, Solution, minimise

# Huber's δ is lowered tenfold at a time: at 1e-3 most residuals pull with the same force, a far start sees no valley.
SOFTEST = 0.1
# The law without one of its terms has fewer valleys than the law, so few starts are enough.
FEW = 4
# More rows than this are refined from one start only, the best of 16 on a sample of this size. 16 starts on 10⁶ rows
# would take minutes and 5 GB.
MOST_ROWS = 5_000
# Such a table's refit stops where the deviance would fall by less than this share of a row's, 1e-2 standard errors.
NEAR = 1e-4


def may_vanish(law: Law) -> Flags:
    """(J,): which terms may go to their boundary."""
    return np.arange(len(law.terms)) == law.floor


def sampled(problem: Problem) -> Problem:
    rows = problem.terms.rows
    if rows <= MOST_ROWS:
        return problem
    some = np.sort(np.random.default_rng(0).choice(rows, MOST_ROWS, replace=False))
    return replace(problem, terms=problem.terms.take(some), ln_y=problem.ln_y[some], w=problem.w[:, some])


def of_all_rows(basis: Basis, problem: Problem, found: Solution) -> Solution:
    """The optimum from that of a sample of the rows; a floor that the sample lacks may show in all of them."""
    best = _to_the_end(problem, found, may_vanish(basis.law))
    if found.alive.all():
        return best
    back = revived(basis, problem, best, 0.05)
    return best.better_of(_to_the_end(problem, back, may_vanish(basis.law)))


def _to_the_end(problem: Problem, found: Solution, flags: Flags) -> Solution:
    return minimise(problem, found.theta, found.alive, flags, NEAR / problem.terms.rows)


def deviance_of_all(problem: Problem, found: Solution) -> float:
    """The least deviance of a sample's optimum over all rows, its terms as they are."""
    if problem.terms.rows > MOST_ROWS:
        found = _to_the_end(problem, found, np.zeros(found.alive.shape[1], dtype=bool))
    return float(found.deviance[0])


def refined(problem: Problem, theta: Array, alive: Flags, flags: Flags) -> Solution:
    """The optimum from every start; Huber's after softer ones with a larger δ."""
    delta = SOFTEST
    while delta > 1.5 * problem.objective.delta:
        softer = replace(problem, objective=replace(problem.objective, delta=delta))
        near = minimise(softer, theta, alive, flags, tolerance=1e-6)
        theta, alive, delta = near.theta, near.alive, delta / 10
    return minimise(problem, theta, alive, flags)


def with_floors(basis: Basis, problem: Problem, found: Solution) -> Solution:
    """Starts whose floor vanished, with it back once: a long step may have thrown it out."""
    gone = np.flatnonzero(~found.alive.all(axis=1))
    if not len(gone):
        return found
    back = revived(basis, problem, found.take(gone), 0.05)
    again = minimise(problem, back.theta, back.alive, may_vanish(basis.law))
    whole = found.take(np.arange(len(found.deviance)))
    for part, new in zip(vars(whole).values(), vars(again).values(), strict=True):
        part[gone] = new
    return found.better_of(whole)


def revived(basis: Basis, problem: Problem, solution: Solution, share: float) -> Solution:
    """Solutions whose vanished floor is back as this share of the mean loss, the same at every row."""
    floor = basis.law.floor
    theta, alive = solution.theta.copy(), solution.alive.copy()
    if floor is not None:
        level = np.full(basis.terms.rows, problem.ln_y.mean() + np.log(share))
        theta[~alive[:, floor], basis.law.block(floor)] = basis.project(floor, level)
        alive[:, floor] = True
    return replace(solution, theta=theta, alive=alive)


def best_of(found: Solution) -> Solution:
    return found.take(np.array([np.nanargmin(found.deviance)]))


def without(term: int, problem: Problem, starts: Array) -> Solution | None:
    """The optimum of the law without one of its terms; None where no other term is left."""
    terms = len(problem.terms.phi)
    if terms == 1:
        return None
    alive = np.tile(np.arange(terms) != term, (len(starts[:FEW]), 1))
    return best_of(refined(problem, starts[:FEW], alive, np.zeros(terms, dtype=bool)))
