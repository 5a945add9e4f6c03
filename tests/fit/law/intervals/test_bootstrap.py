"""The bootstrap: what is resampled, refits at their optimum, and intervals of predictions and derived numbers."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm
from scipy.stats import t as student

from fit.law.errors import FitError
from fit.law.estimate import estimate, internal
from fit.law.fit import fit_law
from fit.law.intervals.bootstrap import level_of_few, redrawn, refits, resample
from fit.law.intervals.choose import intervals
from fit.law.intervals.spread import sandwich
from fit.law.laws import named
from fit.law.losses import LOG, objective
from fit.law.rows import make_rows
from tests.fit.laws_under_test import INPUTS, TRUTH, N, noisy, rows_of


def test_rows_of_a_run_are_drawn_together_or_not_at_all():
    runs = np.repeat(["a", "b", "c", "d"], [3, 1, 4, 2])
    drawn = resample(rows_of("L_N", cluster=runs), 200, seed=1).weights
    for run in "abcd":
        assert (drawn[:, runs == run] == drawn[:, runs == run][:, :1]).all()
    assert (drawn[:, [0, 3, 4, 8]].sum(axis=1) == 4).all()


def test_a_row_of_weight_three_is_drawn_with_its_weight_and_an_absent_one_never():
    rows = rows_of("L_N", 0.01)
    rows = replace(rows, weights=np.array([3.0, 0, 1, 1, 1, 1, 1, 1, 1, 1]))
    drawn = resample(rows, 500, seed=0).weights
    assert not drawn[:, 1].any()
    assert set(np.unique(drawn[:, 0] / 3)) <= set(range(10))
    assert drawn[:, 0].mean() == pytest.approx(3.0, rel=0.1)


@pytest.mark.parametrize("of", ["log", "linear", "huber:0.005"])
@pytest.mark.parametrize("law", ["L_N", "L_NK", "L_ND"])
def test_refits_reach_the_optimum_that_a_fit_of_many_starts_finds(law, of):
    rows = rows_of(law, 0.01)
    at = estimate(named(law), rows, objective(of))
    drawn = resample(rows, 20, seed=2)
    found = refits(at, drawn)
    for i in range(0, 20, 3):
        alone = estimate(named(law), replace(rows, weights=drawn.weights[i]), objective(of))
        assert found.deviance[i] <= alone.deviance * (1 + 1e-6)


@pytest.mark.parametrize("of", ["log", "linear", "huber:0.005"])
def test_refits_to_redrawn_errors_reach_the_optimum_too(of):
    rows = rows_of("L_ND", 0.01)
    at = estimate(named("L_ND"), rows, objective(of))
    drawn = redrawn(at, rows, 20, seed=2)
    found = refits(at, drawn)
    for i in range(0, 20, 7):
        alone = estimate(named("L_ND"), replace(rows, loss=drawn.loss[i]), objective(of))
        assert found.deviance[i] <= alone.deviance * (1 + 1e-6)


@pytest.mark.parametrize("of", ["log", "huber:0.02"])
def test_redrawn_errors_scatter_a_linear_law_by_the_errors_of_the_delta_method(of):
    """A power law is linear in its logarithm: the draws' standard deviation is that of HC3, whatever the leverage."""
    x = {"n_latents": np.geomspace(2**8, 2**18, 16)}
    rows = make_rows(named("L_N_pure"), x, noisy("L_N_pure", 0.01, x=x))
    at = estimate(named("L_N_pure"), rows, objective(of))
    drawn = redrawn(at, rows, 2000, seed=0)
    theta = internal(at.basis, refits(at, drawn))
    covariance = at.basis.inverse @ sandwich(at) @ at.basis.inverse.T
    np.testing.assert_allclose(theta.std(axis=0), np.sqrt(np.diag(covariance)), rtol=0.08)
    size = np.abs(np.log(drawn.loss) - at.log_fitted())
    np.testing.assert_allclose(size, np.broadcast_to(size[0], size.shape), rtol=1e-6)


def test_few_rows_keep_their_grid_and_rows_of_runs_or_of_asymmetric_errors_are_resampled():
    rows = rows_of("L_N", 0.01)
    law = named("L_N")

    def method(of, cluster=None):
        some = replace(rows, cluster=cluster)
        return intervals(estimate(law, some, objective(of)), some, method="bootstrap", draws=20).method

    assert method("log") == method("huber") == "bootstrap over residuals"
    assert method("asymmetric:0.3") == "bootstrap over rows"
    assert method("log", np.arange(10) // 2) == "bootstrap over runs"


def test_percentiles_of_few_rows_are_as_wide_as_t_is_wider_than_the_normal():
    at = estimate(named("L_N"), rows_of("L_N", 0.01))
    assert 2 * norm.sf(norm.isf((1 - level_of_few(at)) / 2)) == pytest.approx(
        2 * norm.sf(student.isf(0.025, 7))
    )


def test_many_rows_are_bootstrapped_few_profiled_and_very_many_linear():
    def method(count, cluster=None, **how):
        x = {"n_latents": np.geomspace(2**8, 2**18, count)}
        label = None if cluster is None else np.arange(count) // cluster
        return (
            fit_law(
                "L_N_pure",
                x,
                noisy("L_N_pure", x=x),
                cluster=label,
                hold_out=False,
                compare=False,
                **how,
            )
            .params["alpha"]
            .method
        )

    assert method(49) == "profile"
    assert method(50) == "bootstrap over rows"
    assert method(40, cluster=4) == "sandwich over runs"
    assert method(120, cluster=4) == method(40, cluster=4, method="bootstrap") == "bootstrap over runs"
    assert method(40, cluster=1) == "profile"
    assert method(20_001) == "delta"
    assert method(49, method="delta") == "delta" and method(60, method="profile") == "profile"
    with pytest.raises(FitError, match="choose auto, profile, bootstrap, delta"):
        method(49, method="jackknife")


def test_rows_of_a_run_that_move_together_widen_the_interval():
    """Ten runs of ten rows with a common error: as if independent, the interval of α would be a third as wide."""
    rng = np.random.default_rng(0)
    x = {"n_latents": np.repeat(np.geomspace(2**8, 2**18, 20), 10)}
    runs = np.repeat(np.arange(20), 10)
    y = named("L_N_pure").loss(TRUTH["L_N_pure"], x) * np.exp(0.02 * rng.standard_normal(20)[runs])
    width = {}
    for name, cluster in (("runs", runs), ("rows", None)):
        rows = make_rows(named("L_N_pure"), x, y, cluster=cluster)
        at = estimate(named("L_N_pure"), rows)
        low, high = intervals(at, rows, method="bootstrap").parameters()["alpha"]
        width[name] = high - low
    assert width["runs"] == pytest.approx(np.sqrt(10) * width["rows"], rel=0.25)


@pytest.mark.parametrize("method", ["profile", "bootstrap", "delta"])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_term_that_may_be_absent_has_no_ends_by_any_method(method, seed):
    """Flat losses: percentiles of refits are always finite, and said that α is known."""
    x = np.geomspace(2**8, 2**18, 60)
    y = 0.3 * np.exp(0.01 * np.random.default_rng(seed).standard_normal(60))
    result = fit_law("L_N", x, y, method=method, draws=200, hold_out=False, compare=False)
    assert (result.params["alpha"].low, result.params["alpha"].high) == (None, None)
    assert result.params["A"].high is None and result.params["E"].high < 0.32
    assert any(warning.startswith("alpha is not identified") for warning in result.warnings)


@pytest.mark.parametrize("runs", [1, 3, 6, 7])
def test_fewer_runs_than_parameters_and_two_have_no_intervals(runs):
    """L(N, D) of 3 runs of 30 evaluations covered 5 %, of 4 runs 65 to 78 %."""
    n, tokens = np.repeat(np.geomspace(2**8, 2**14, 7), 30), np.tile(np.geomspace(1e6, 1e9, 30), 7)
    law, label = named("L_ND"), np.minimum(np.arange(210) // 30, runs - 1)
    y = law.loss(TRUTH["L_ND"], {"n_latents": n, "tokens": tokens})
    y = y * np.exp(0.01 * np.random.default_rng(0).standard_normal(7))[np.arange(210) // 30]
    x = {"n_latents": n, "tokens": tokens}
    bare = {"method": "bootstrap", "draws": 50, "hold_out": False, "compare": False}
    result = fit_law(law, x, y, cluster=label, **bare)
    known = [param.low is not None for param in result.params.values()]
    assert any(known) == (runs == 7) and result.params["alpha"].value == pytest.approx(0.2, abs=0.1)
    assert any(w.startswith("No intervals: the 210 rows are of") for w in result.warnings) == (runs < 7)
    low, high = result.predict(n_latents=2**15, tokens=1e9, interval="law")[1:]
    assert np.isfinite(low).all() == (runs == 7) and np.isfinite(high).all() == (runs == 7)


def test_draws_that_make_no_percentile_and_seeds_that_are_none_are_refused():
    rows = rows_of("L_N", 0.01)
    for how, words in (
        ({"draws": 0}, "0 draws are too few"),
        ({"draws": 19}, "give 20 or more"),
        ({"seed": -1}, "seed is -1"),
    ):
        with pytest.raises(FitError, match=words):
            fit_law("L_N", rows.x, rows.loss, method="bootstrap", **how)


@pytest.mark.parametrize("method", ["profile", "bootstrap", "delta"])
def test_methods_agree_where_the_law_is_a_plane(method):
    """100 runs with 0.1 % noise: the interval of each parameter and prediction is ± 1.98 standard errors."""
    x = {"n_latents": np.geomspace(2**8, 2**18, 100)}
    rows = rows_of("L_N", 0.001, x=x)
    at = estimate(named("L_N"), rows, LOG)
    how = intervals(at, rows, method=method, draws=4000)
    for name, (low, high) in how.parameters().items():
        ends = np.log([low, high]) if name in ("E", "A") else np.array([low, high])
        se = at.errors()[list(named("L_N").internal).index(name)]
        assert np.ptp(ends) == pytest.approx(2 * 1.98 * se, rel=0.15)
    target = {"n_latents": np.array([2.0**20])}
    low, high = how.law(target)
    wide = how.measurement(target)
    s = np.sqrt(at.deviance / at.dof)
    inner, outer = np.log(high / low)[0] / 2, np.log(wide[1] / wide[0])[0] / 2
    assert outer == pytest.approx(np.hypot(inner, 1.98 * s), rel=0.12)


def test_functions_of_the_parameters_come_from_the_same_refits():
    x = {"n_latents": np.geomspace(2**8, 2**18, 60)}
    result = fit_law("L_N", x, noisy("L_N", x=x), draws=300, hold_out=False, compare=False)
    ratio = result.resampled(lambda p: p["alpha"] / 0.2)
    assert ratio.shape == (300,)
    assert np.percentile(ratio, 2.5, method="closest_observation") == pytest.approx(
        result.params["alpha"].low / 0.2
    )
    few = fit_law("L_N", N, noisy("L_N"), hold_out=False, compare=False)
    assert few.resampled(lambda p: p["alpha"]) is None


def test_derived_numbers_have_intervals_by_every_method():
    x = INPUTS["L_ND"]
    ends = {}
    for method in ("profile", "bootstrap", "delta"):
        a = fit_law("L_ND", x, noisy("L_ND", 0.002), method=method, hold_out=False).derived["a"]
        assert a.low < a.value < a.high and abs(a.value - 0.6) < 0.01 and a.method.startswith(method)
        ends[method] = a.high - a.low
    assert ends["bootstrap"] == pytest.approx(ends["profile"], rel=0.3)
    assert ends["delta"] == pytest.approx(ends["profile"], rel=0.3)


def test_same_seed_same_intervals():
    x = {"n_latents": np.geomspace(2**8, 2**18, 60)}
    y = noisy("L_N", x=x)
    one, same, other = (
        fit_law("L_N", x, y, draws=100, seed=seed, hold_out=False, compare=False).params for seed in (1, 1, 2)
    )
    assert one == same and one != other
