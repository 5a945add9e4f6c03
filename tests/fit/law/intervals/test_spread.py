"""The scatter behind intervals: against refits without each row, the true noise, and under the objective huber."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from benchmarks.laws.coverage import DESIGNS
from fit.law.estimate import estimate
from fit.law.intervals.choose import intervals
from fit.law.intervals.spread import sandwich
from fit.law.laws import L_N, named
from fit.law.losses import objective
from fit.law.rows import make_rows
from fit.law.solver import minimise
from fit.law.starts import may_vanish

N = 2.0 ** np.linspace(9, 16.5, 16)
TRUTH = {"E": 0.15, "A": 2.0, "alpha": 0.2}


def sweeps(name, loss, seeds):
    """Estimates of simulated sweeps of a design of `benchmarks.laws.coverage`, whose noise is 1 %, and their rows."""
    design = DESIGNS[name]
    law = named(design.law)
    every = [design.sweep(seed).rows for seed in seeds]
    return [(estimate(law, rows, objective(loss)), rows) for rows in every]


@pytest.mark.parametrize("loss", ["log", "linear"])
def test_the_sandwich_is_the_scatter_of_refits_without_each_row(loss):
    noise = np.exp(1e-3 * np.random.default_rng(3).standard_normal(16))
    at = estimate(
        L_N, make_rows(L_N, {"n_latents": N}, L_N.loss(TRUTH, {"n_latents": N}) * noise), objective(loss)
    )
    start = at.solution.take(np.zeros(16, dtype=np.intp))
    left_out = minimise(
        replace(at.problem, w=1 - np.eye(16)), start.theta, start.alive, may_vanish(L_N)
    ).theta
    moved = left_out - at.solution.theta
    np.testing.assert_allclose(
        sandwich(at), moved.T @ moved, rtol=0.15, atol=0.02 * np.abs(sandwich(at)).max()
    )


def test_leverages_sum_to_the_parameters_and_are_what_a_row_moves_its_own_value():
    ((at, rows),) = sweeps("16 runs of L(N, D)", "log", [0])
    h = at.leverage
    assert h.sum() == pytest.approx(5, rel=1e-6)
    ln_y = at.problem.ln_y.copy()
    ln_y[3] += 1e-4
    moved = minimise(replace(at.problem, ln_y=ln_y), at.solution.theta, at.solution.alive, may_vanish(at.law))
    change = replace(at, solution=moved).log_fitted()[3] - at.log_fitted()[3]
    assert change / 1e-4 == pytest.approx(h[3], rel=0.1)


@pytest.mark.parametrize("delta", [1e-3, 1e-4])
def test_the_share_of_errors_within_delta_is_not_that_of_residuals(delta):
    """A fit of five parameters passes through five of 16 rows, where 0.8 % of the errors are below 1e-4."""
    expected = 2 * norm.cdf(delta / 0.01) - 1
    at_rows = [at for at, _ in sweeps("16 runs of L(N, D)", f"huber:{delta}", range(9))]
    assert np.median([at.influence()[1] for at in at_rows]) == pytest.approx(expected, rel=0.4)
    share = [np.mean(np.abs(at.residuals()) <= delta) for at in at_rows]
    assert np.median(share) > 3 * expected


def test_a_delta_beyond_every_error_is_least_squares():
    ((at, rows),) = sweeps("16 runs of L(N, D)", "huber:0.5", [1])
    ((squares, _),) = sweeps("16 runs of L(N, D)", "log", [1])
    assert at.influence()[1] == pytest.approx(1, abs=1e-6)
    assert at.freedom() == pytest.approx(11, abs=1e-4) and squares.freedom() == 11
    for method in ("profile", "delta"):
        by_huber, by_squares = (
            intervals(each, rows, method=method).parameters()["alpha"] for each in (at, squares)
        )
        assert by_huber == pytest.approx(by_squares, rel=2e-3)


@pytest.mark.parametrize(
    ("method", "tables"), [("delta", 16), pytest.param("profile", 60, marks=pytest.mark.slow)]
)
def test_intervals_of_a_small_delta_cover(method, tables):
    """Of 40 tables they covered E, α and β in 30 to 43 %, as if every row within δ had no error."""
    truth, hits = DESIGNS["28 runs of L(N, D)"].truth, {"E": 0, "alpha": 0, "beta": 0}
    for at, rows in sweeps("28 runs of L(N, D)", "huber:0.0001", range(tables)):
        ends = intervals(at, rows, method=method).parameters()
        for name in hits:
            hits[name] += ends[name][0] <= truth[name] <= ends[name][1]
    assert min(hits.values()) >= tables * (0.95 - 3 * np.sqrt(0.05 * 0.95 / tables)), hits
