"""Which cells a design chooses: on a straight line the ones of the textbook, by hand; and what a target may be."""

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import t as student

from fit.law.basis import Basis
from fit.law.errors import FitError
from fit.law.estimate import estimate
from fit.law.functionals import Parameters, Predictions
from fit.law.laws import named
from fit.law.rows import make_rows
from fit.study.answers.design import PRIOR, Cell, design, start
from fit.study.answers.target import quantities, read_target

# ln L of L_N_pure is a straight line in u = ln n.
LINE, U = named("L_N_pure"), np.array([-2.0, -1.0, 0.0, 1.0, 2.0])


def line(seed=0, u=U):
    n = np.exp(u + 8)
    rows = make_rows(
        LINE, {"n_latents": n}, n**-0.3 * np.exp(0.01 * np.random.default_rng(seed).standard_normal(len(n)))
    )
    return estimate(LINE, rows), rows


def cells(u, cost=None):
    return [
        Cell({"n_latents": np.exp([one + 8])}, 1.0 if cost is None else c)
        for one, c in zip(u, cost or u, strict=True)
    ]


def test_the_slope_of_a_line_is_measured_at_its_ends():
    at, rows = line()
    u = np.repeat(U, 2)
    made = design(at, rows, Parameters(at.basis, ["alpha"]), cells(u), 2, alike=0)
    assert sorted(u[one.cell] for one in made.added) == [-2, 2]
    # Var α = σ²/Σ(u − ū)²: 10 so far, 13.2 with −2 or 2 (6 points of mean 1/3 away), 18 with both.
    t = {dof: student.ppf(0.975, dof) for dof in (3, 4, 5)}
    one_end = 10 + 4 * 5 / 6
    expected = [t[4] / t[3] * np.sqrt(10 / one_end), t[5] / t[3] * np.sqrt(10 / 18)]
    assert [one.width for one in made.added] == pytest.approx(expected, rel=1e-4)
    assert made.half == pytest.approx(t[3] * np.sqrt(at.scatter() / 10), rel=1e-4)


def test_a_prediction_beyond_a_line_takes_the_best_of_all_sets():
    """The variance of ln L at u₀ is σ² (1, u₀) (XᵀX)⁻¹ (1, u₀)ᵀ: every set of four cells is compared."""
    at, rows = line()
    u, beyond = np.repeat(U, 3), 5.0
    made = design(
        at, rows, Predictions(at.basis.at({"n_latents": np.exp([beyond + 8])})), cells(u), 4, alike=0
    )

    def variance(chosen):
        X = np.stack([np.ones(5 + len(chosen)), np.concatenate([U, u[list(chosen)]])], axis=1)
        return np.array([1, beyond]) @ np.linalg.solve(X.T @ X, [1, beyond])

    best = min(combinations(range(len(u)), 4), key=variance)
    assert sorted(u[one.cell] for one in made.added) == sorted(u[list(best)]) and set(u[list(best)]) == {
        -2.0,
        2.0,
    }
    assert (u[list(best)] > 0).sum() == 3


def test_a_dear_cell_is_left_for_cheaper_ones_that_tell_more():
    at, rows = line()
    u = [-2.0, -2.0, -1.9, -1.9, 2.0]
    target = Parameters(at.basis, ["alpha"])
    dear = design(at, rows, target, cells(u, [1.0, 1.0, 1.0, 1.0, 4.0]), 4, alike=0)
    assert sorted(u[one.cell] for one in dear.added) == [-2, -2, -1.9, -1.9]
    assert [one.cost for one in dear.added] == [1, 2, 3, 4] and [one.now for one in dear.added] == [
        1,
        0,
        0,
        0,
    ]
    cheap = design(at, rows, target, cells(u, [1.0, 1.0, 1.0, 1.0, 1.5]), 4, alike=0)
    assert 2.0 in [u[one.cell] for one in cheap.added]


def test_cells_that_cost_nothing_or_cannot_be_paid():
    at, rows = line()
    target = Parameters(at.basis, ["alpha"])
    assert design(at, rows, target, cells([0.0]), 0.5).added == ()
    with pytest.raises(FitError, match="The budget is 0: it must be a finite number above 0"):
        design(at, rows, target, cells([0.0]), 0)
    with pytest.raises(FitError, match="The cost of a cell is 0"):
        design(at, rows, target, cells([0.0], [0.0]), 1)


def test_a_law_that_has_lost_its_floor_is_still_asked_about_it():
    """Rows without a floor, whose fit has E = 0: the prediction far beyond is as uncertain as a floor would make it."""
    law, n = named("L_N"), 2.0 ** np.arange(6, 12)
    noise = np.array([-1, 2, 0, -2, -1, 2]) * 1e-3
    rows = make_rows(law, {"n_latents": n}, n**-0.3 * np.exp(-noise))
    at = estimate(law, rows)
    far = Predictions(at.basis.at({"n_latents": np.array([2.0**20])}))
    sizes = [2.0**5, 2.0**8, 2.0**13]
    made = design(at, rows, far, [Cell({"n_latents": np.array([m])}, 1.0) for m in sizes], 1)
    assert [sizes[one.cell] for one in made.added] == [2.0**13]
    assert made.added[0].width < 0.5 and made.half < 3 * PRIOR


def test_a_start_has_the_corners_of_the_grid_that_are_cheap_enough():
    grid = [(n, k) for n in 2.0 ** np.arange(5, 12) for k in (4.0, 8.0, 16.0)]
    every = [Cell({"n_latents": np.array([n]), "k": np.array([k])}, n) for n, k in grid]
    chosen = [grid[i] for i in start(every, ("n_latents", "k"), 7 * 2.0**9, 8)]
    assert len(set(chosen)) == 8 and {(2.0**5, 4.0), (2.0**5, 16.0), (2.0**9, 4.0), (2.0**9, 16.0)} <= set(
        chosen
    )
    assert max(n for n, _ in chosen) == 2**9
    with pytest.raises(
        FitError,
        match="A first fit needs 8 cells, which cost 544 or more here, and the budget is 100: raise it",
    ):
        start(every, ("n_latents", "k"), 100, 8)
    with pytest.raises(FitError, match="A first fit needs 30 cells, and the grid has 21 to train"):
        start(every, ("n_latents", "k"), 1e9, 30)


@pytest.mark.parametrize("seed", range(40))
def test_a_start_is_refused_only_where_its_cheapest_cells_cost_more_than_the_budget(seed):
    """Corners that each cost less than a seventh of the budget may together cost more than all of it."""
    rng = np.random.default_rng(seed)
    grid = [(n, k) for n in 2.0 ** np.arange(5, 11) for k in (4.0, 8.0, 16.0, 32.0)]
    costs = [n * rng.uniform(0.5, 2) for n, _ in grid]
    every = [
        Cell({"n_latents": np.array([n]), "k": np.array([k])}, cost)
        for (n, k), cost in zip(grid, costs, strict=True)
    ]
    least = int(rng.integers(4, 13))
    needed = sum(sorted(costs)[:least])
    for budget in (needed, needed * rng.uniform(1, 3), needed * 10):
        chosen = start(every, ("n_latents", "k"), budget, least)
        assert len(set(chosen)) == len(chosen) >= least
        assert sum(costs[i] for i in chosen) <= budget * (1 + 1e-6)
    with pytest.raises(FitError, match="raise it"):
        start(every, ("n_latents", "k"), needed * 0.999, least)


@pytest.mark.parametrize(
    ("text", "law", "shown", "first"),
    [
        ("alpha", None, "alpha", "L_NK"),
        ("alpha(k=32)", "L_N", "alpha(k=32)", "L_N"),
        ("gamma", None, "gamma", "L_NK"),
        ("a", None, "a", "L_ND"),
        ("L(n=2^17, K=32)", None, "L(n_latents=131072, k=32)", "L_NK"),
        ("L(n_latents=131072)", None, "L(n_latents=131072)", "L_N"),
        ("L(n=65536,tokens=1e9)", None, "L(n_latents=65536, tokens=1e+09)", "L_ND_cross"),
    ],
)
def test_targets_as_a_user_writes_them(text, law, shown, first):
    target = read_target(text, law)
    assert (str(target), target.laws[0]) == (shown, first)


def test_an_exponent_of_the_joint_law_is_asked_for_at_one_k_or_at_all():
    """α(k) = −(β_n + γ ln k), so its slopes by β_n and γ are −1 and −ln k."""
    law, (n, k) = named("L_NK"), np.array([(n, k) for n in (64.0, 128.0, 256.0) for k in (4.0, 8.0)]).T
    x = {"n_latents": n, "k": k}
    basis = Basis.from_inputs(law, x)
    assert len(quantities(read_target("alpha"), law, basis, x)) == 2
    one = quantities(read_target("alpha(k=32)"), law, basis, x)
    theta = np.zeros((1, 6))
    slope = one.evaluate(theta, np.ones((1, 2), bool), np.zeros(1, int))[1] @ np.linalg.inv(basis.inverse)
    by = dict(zip(law.internal, slope[0], strict=True))
    assert len(one) == 1 and by["beta_n"] == pytest.approx(-1) and by["gamma"] == pytest.approx(-np.log(32))


@pytest.mark.parametrize(
    ("text", "law", "says"),
    [
        ("alfa", None, "No law gives 'alfa'.*Did you mean alpha"),
        (
            "alpha(n_latents=3)",
            None,
            r"alpha has no n_latents: it can be asked for at one k, as alpha\(k=32\)",
        ),
        (
            "L(n_latents=lots)",
            None,
            "'n_latents=lots' in the target .* is not an input with a number above 0",
        ),
        ("L(n_latent=128)", None, "No law gives a loss at n_latent; .* Did you mean n_latents"),
        ("L(flops=1e18)", None, "on a frontier of whole curves: give tokens"),
        ("L(k=32)", None, "No law gives the loss at k alone: L_NK needs n_latents, k"),
        ("L", None, "No law gives the loss at nothing alone"),
        ("2 alpha", None, "The target '2 alpha' cannot be read"),
        ("gamma", "L_N", "No law gives 'gamma': L_N gives E, A, alpha"),
        ("alpha", "L_C", "A design cannot be made for L_C: its rows are not runs"),
        ("alpha", "L_Q", "There is no law 'L_Q'"),
    ],
)
def test_targets_that_no_law_can_give_are_a_sentence(text, law, says):
    with pytest.raises(FitError, match=says):
        read_target(text, law)
