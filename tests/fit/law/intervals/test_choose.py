"""Intervals: against the linear theory, against brute force, in simulation, and where a parameter is not identified."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import f as fisher

from fit.law.errors import FitError
from fit.law.estimate import estimate
from fit.law.fit import fit_law
from fit.law.intervals.choose import ProfileIntervals
from fit.law.intervals.recipe import Recipe
from fit.law.laws import L_N, named
from fit.law.losses import LOG
from fit.law.rows import make_rows
from fit.law.solver import evaluate
from tests.fit.laws_under_test import TRUTH as TRUTHS

N = 2.0 ** np.linspace(9, 16.5, 16)
X = {"n_latents": N}
TRUTH = {"E": 0.15, "A": 2.0, "alpha": 0.2}
BOTH = np.ones((1, 2), dtype=bool)
TARGET = {"n_latents": np.array([2.0**18])}


def fitted(seed, scale=0.01, truth=TRUTH):
    noise = scale * np.random.default_rng(seed).standard_normal(len(N))
    at = estimate(L_N, make_rows(L_N, X, L_N.loss(truth, X) * np.exp(noise)))
    return at, ProfileIntervals(at)


def test_small_noise_gives_the_linear_interval():
    """With noise of 1e-5 the law is a plane: ends at ± s √(F v), v from JᵀJ, and 1 + v for a new measurement."""
    at, profile = fitted(0, scale=1e-5)
    s = np.sqrt(at.deviance / at.dof * fisher.ppf(0.95, 1, 13))
    se = np.sqrt(np.diag(at.basis.inverse @ at.covariance() @ at.basis.inverse.T))
    low, high = profile.parameters()["alpha"]
    centre = at.theta()[1]
    assert [low - centre, high - centre] == pytest.approx([-s * se[1], s * se[1]], rel=3e-3)
    low, high = profile.measurement(X)
    half = (np.log(high) - np.log(low)) / 2
    low, high = profile.law(X)
    inner = (np.log(high) - np.log(low)) / 2
    np.testing.assert_allclose(half**2 - inner**2, s**2, rtol=1e-2)


def test_ends_are_where_the_best_refit_reaches_the_threshold():
    """For fixed α the law is linear; its optimum on a fine search in E/A gives the profile by brute force."""
    at, profile = fitted(1)
    y = at.problem.ln_y

    def profiled(alpha):
        def ssr(log_ratio):
            shape = np.log(N**-alpha + np.exp(log_ratio))
            return ((shape - y - (shape - y).mean()) ** 2).sum()

        return min(minimize_scalar(ssr, bracket=(c, c + 0.5)).fun for c in np.arange(-8, 2))

    allowed = at.deviance * (1 + fisher.ppf(0.95, 1, 13) / 13)
    for end in profile.parameters()["alpha"]:
        assert profiled(end) == pytest.approx(allowed, rel=1e-3)


def test_interval_of_a_prediction_holds_every_law_that_fits():
    """No law within the threshold predicts outside: random walks inside the region do not leave the interval."""
    at, profile = fitted(2)
    low, high = (np.log(end[0]) for end in profile.law(TARGET))
    allowed = at.deviance * (1 + fisher.ppf(0.95, 1, 13) / 13)
    rng = np.random.default_rng(0)
    root = np.linalg.cholesky(at.covariance() + 1e-18 * np.eye(3)) * np.sqrt(at.deviance / 13)
    at_rows, star = at.basis.terms, at.basis.at(TARGET)
    seen = []
    here = at.solution.theta[0]
    for _ in range(4000):
        trial = here + root @ rng.standard_normal(3)
        f, _ = evaluate(at_rows, trial[None], BOTH)
        if ((f[0] - at.problem.ln_y) ** 2).sum() <= allowed:
            here = trial
            seen.append(evaluate(star, here[None], BOTH)[0][0, 0])
    assert low - 1e-4 <= min(seen) and max(seen) <= high + 1e-4
    assert max(seen) - min(seen) > 0.8 * (high - low)


def test_quantities_taken_a_few_at_a_time_have_the_same_ends(monkeypatch):
    _, whole = fitted(3)
    together = whole.measurement(X)
    monkeypatch.setattr("fit.law.solver.AT_ONCE", 6 * 5 * len(N))
    np.testing.assert_allclose(whole.measurement(X), together, rtol=1e-6)


def test_flat_losses_identify_no_exponent():
    y = 0.3 * np.exp(0.01 * np.random.default_rng(5).standard_normal(16))
    result = fit_law("L_N", N, y, hold_out=False, compare=False)
    alpha = result.params["alpha"]
    assert alpha.low is None or alpha.high is None
    assert any("alpha is not identified" in warning for warning in result.warnings)


def test_trade_off_is_told():
    result = fit_law("L_N", N, np.exp(fitted(4)[0].problem.ln_y), hold_out=False, compare=False)
    assert any("E and alpha trade off (corr +0.9" in warning for warning in result.warnings)


def test_exact_losses_have_intervals_of_rounding_size():
    result = fit_law("L_N", N, L_N.loss(TRUTH, X), hold_out=False, compare=False)
    for name, value in TRUTH.items():
        assert result.params[name].low == pytest.approx(value, rel=1e-6)
        assert result.params[name].low <= value * (1 + 1e-12)


def test_band_widens_beyond_the_rows_and_holds_the_law():
    result = fit_law("L_N", N, np.exp(fitted(6)[0].problem.ln_y), hold_out=False, compare=False)
    assert result.curve[-1].inputs["n_latents"] == pytest.approx(2 * N.max())
    assert all(point.low < point.value < point.high for point in result.curve)
    width = [np.log(point.high / point.low) for point in result.curve]
    assert width[-1] > 2 * min(width)


def test_predict_takes_keywords_mappings_and_arrays():
    result = fit_law("L_N", N, np.exp(fitted(7)[0].problem.ln_y), hold_out=False, compare=False)
    by_name = result.predict(n_latents=[1024, 2048])
    np.testing.assert_array_equal(result.predict({"n_latents": np.array([1024, 2048])}), by_name)
    np.testing.assert_array_equal(result.predict([1024, 2048]), by_name)
    value, low, high = result.predict(n_latents=2**18, interval="law")
    _, wider, _ = result.predict(n_latents=2**18, interval="measurement")
    assert wider < low < value < high
    with pytest.raises(ValueError, match="choose law or measurement"):
        result.predict(n_latents=1, interval="prediction")


def test_columns_of_a_frame_are_taken_by_name():
    grid = pd.DataFrame(
        {"k": np.tile([16.0, 64.0, 256.0], 10), "n_latents": np.repeat(2.0 ** np.arange(9, 19), 3)}
    )
    loss = named("L_NK").loss(TRUTHS["L_NK"], grid)
    one, other = (
        fit_law("L_NK", grid[order], loss, hold_out=False, compare=False)
        for order in (["k", "n_latents"], grid.columns[::-1])
    )
    assert {n: p.value for n, p in one.params.items()} == pytest.approx(TRUTHS["L_NK"], abs=1e-6)
    assert one.params == other.params
    at = pd.DataFrame({"k": [32], "n_latents": [2**15]})
    np.testing.assert_array_equal(one.predict(at), one.predict(n_latents=2**15, k=32))
    with pytest.raises(FitError, match="L_NK takes n_latents, k; k was not given"):
        fit_law("L_NK", grid[["n_latents"]], loss)


def test_one_number_is_a_row():
    with pytest.raises(FitError, match="at least 3 different values of n_latents; these rows have 1"):
        fit_law("L_N", 3.0, 2.0)


def test_weights_that_sum_to_less_than_the_parameters_are_refused():
    with pytest.raises(FitError, match="The weights sum to 1.6, and L_N has 3 parameters"):
        fit_law("L_N", N, L_N.loss(TRUTH, X), weights=np.full(16, 0.1))


def test_a_lower_optimum_met_by_the_profile_is_taken_over():
    """An estimate that stopped beside the optimum: its profile finds the way down, to the true optimum."""
    at, _ = fitted(8)
    moved = at.solution.theta + [[0.02, -0.01, 0.05]]
    f, _ = evaluate(at.basis.terms, moved, at.solution.alive)
    beside = replace(
        at, solution=replace(at.solution, theta=moved, deviance=((f - at.problem.ln_y) ** 2).sum(axis=1))
    )
    rows = make_rows(L_N, X, np.exp(at.problem.ln_y))
    found = Recipe.made(LOG, rows, "auto", 1000, 0).with_intervals(beside, rows).at
    assert beside.deviance > 1.5 * at.deviance
    assert found.deviance == pytest.approx(at.deviance, rel=1e-9)
    assert found.agree == 0
