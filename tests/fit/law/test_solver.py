"""The engine: published fits to their digits, recovery, invariances, and the boundary where the floor vanishes."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fit import datasets
from fit.law.basis import Basis
from fit.law.errors import FitError
from fit.law.estimate import estimate
from fit.law.fit import fit_law
from fit.law.laws import LAWS, named
from fit.law.losses import LOG, objective
from fit.law.result import Starts
from fit.law.rows import make_rows
from fit.law.solver import Problem, evaluate, minimise
from fit.law.starts import _solved, may_vanish, starting_points
from tests.fit.laws_under_test import INPUTS, TRUTH, N, noisy

GAO = datasets.load("gao2024_gpt4_lnk")
L_N = named("L_N")


def gao(upto=2**19):
    rows = GAO[GAO["n"] <= upto]
    return {"n_latents": rows["n"], "k": rows["k"]}, rows["loss"]


def values(result):
    return {name: param.value for name, param in result.params.items()}


def quick(law, x, loss, **options):
    """A fit without the checks that these tests are not about."""
    return fit_law(law, x, loss, **{"hold_out": False, "compare": False, **options})


def solve(x, loss, law=L_N, of=LOG):
    return estimate(law, make_rows(law, x, loss), of)


@pytest.fixture
def chinchilla():
    """240 of the 245 runs of Hoffmann et al. 2022 as read by Besiroglu et al. 2024; not ours to ship."""
    folder = os.environ.get("SAESCALE_REFERENCE_DATA")
    if not folder:
        pytest.skip("SAESCALE_REFERENCE_DATA names no folder with chinchilla_besiroglu.csv")
    table = pd.read_csv(Path(folder) / "chinchilla_besiroglu.csv").sort_values("loss").iloc[:240]
    return {"n_latents": table["N"], "tokens": table["D"]}, table["loss"]


@pytest.mark.parametrize(
    ("delta", "golden", "close"),
    [
        (1e-3, {"E": 1.817218, "A": 477.826, "B": 2143.417, "alpha": 0.347310, "beta": 0.367172}, 2e-6),
        (1e-6, {"E": 1.81686, "A": 482.01, "B": 2085.43, "alpha": 0.34781, "beta": 0.36585}, 3e-4),
    ],
)
def test_chinchilla_by_huber(chinchilla, delta, golden, close):
    result = quick("L_ND", *chinchilla, objective=("huber", delta), method="delta")
    assert values(result) == pytest.approx(golden, rel=close)
    assert result.starts == Starts(16, 16)
    if delta == 1e-3:
        assert result.objective == pytest.approx(0.0010182740, abs=5e-11)


def test_chinchilla_by_least_squares_on_the_loss_is_pulled_by_its_outliers(chinchilla):
    assert quick("L_ND", *chinchilla, objective="linear", method="delta").params[
        "beta"
    ].value == pytest.approx(0.428, abs=5e-4)


def test_chinchilla_intervals_are_the_published_ones(chinchilla):
    """Besiroglu et al. 2024, table 1: α [.317, .373], β [.331, .415], from 4,000 draws."""
    params = quick("L_ND", *chinchilla, objective="huber").params
    assert params["alpha"].method == "bootstrap over rows"
    assert [params["alpha"].low, params["alpha"].high] == pytest.approx([0.317, 0.373], abs=0.003)
    assert [params["beta"].low, params["beta"].high] == pytest.approx([0.331, 0.415], abs=0.003)


def test_joint_law_of_gao_2024():
    result = quick("L_NK", *gao(), method="delta")
    golden = [-0.42272, 0.23977, -0.02708, -0.03829, -1.31862, -0.09648]
    np.testing.assert_allclose(list(values(result).values()), golden, atol=1e-3)
    assert result.rms_log == pytest.approx(0.00958, abs=5e-6)
    assert np.abs(result.estimate.residuals()).max() == pytest.approx(0.0184, abs=5e-5)
    assert result.objective == pytest.approx(2.06479e-3, rel=2e-5)
    assert result.starts == Starts(16, 16)


def test_joint_law_reproduces_the_drawn_curve():
    result = quick("L_NK", *gao(), method="delta")
    drawn = GAO["paper_fit"].to_numpy()
    np.testing.assert_allclose(result.predict(n_latents=GAO["n"], k=GAO["k"]), drawn, rtol=2e-4)


@pytest.mark.parametrize(
    ("k", "floor", "exponent"),
    [(32, 0.200, 0.162), (64, 0.149, 0.169), (128, 0.142, 0.193), (256, 0.130, 0.214), (512, 0.171, 0.306)],
)
def test_each_k_of_gao_2024(k, floor, exponent):
    rows = GAO[GAO["k"] == k]
    result = quick("L_N", rows["n"], rows["loss"], method="delta")
    assert result.params["E"].value == pytest.approx(floor, abs=1e-3)
    assert result.params["alpha"].value == pytest.approx(exponent, abs=1e-3)


@pytest.mark.parametrize(("upto", "percent"), [(2**16, 2.61), (2**17, 1.92), (2**18, 1.80)])
def test_largest_scales_of_gao_2024_from_the_smaller_ones(upto, percent):
    result = quick("L_NK", *gao(upto), method="delta")
    unseen = GAO[GAO["n"] > upto]
    error = np.log(result.predict(n_latents=unseen["n"], k=unseen["k"])) - np.log(unseen["loss"])
    assert 100 * np.sqrt(np.mean(error**2)) == pytest.approx(percent, abs=0.01)


@pytest.mark.parametrize("of", ["log", "linear", "huber"])
@pytest.mark.parametrize("law", TRUTH)
def test_recovers_a_law_from_exact_losses(law, of):
    result = quick(law, INPUTS[law], named(law).loss(TRUTH[law], INPUTS[law]), objective=of, method="delta")
    assert values(result) == pytest.approx(TRUTH[law], rel=1e-6)
    assert result.rms_log < 1e-9


@pytest.mark.parametrize("law", TRUTH)
def test_units_of_the_inputs_change_no_prediction(law):
    """N in thousands, D in billions, C in units of 10²⁵ FLOPs: the objective and every loss stay."""
    units = {
        "n_latents": 1e-3,
        "tokens": 1e-9,
        "flops": 1e-25,
        "k": 7.0,
        "batch_tokens": 2.0**-10,
        "compute": 1.0,
    }
    x, y = INPUTS[law], noisy(law)
    scaled = {name: units[name] * v for name, v in x.items()}
    one, other = quick(law, x, y), quick(law, scaled, y)
    assert other.objective == pytest.approx(one.objective, rel=1e-9)
    for mine, its in zip(one.predict(x, "law"), other.predict(scaled, "law"), strict=True):
        np.testing.assert_allclose(its, mine, rtol=1e-4)
    if "k" not in x:  # in L(N, K) the slopes are those at ln k = 0 and ln n = 0, so units move them
        for name in {"E", "alpha", "beta", "g", "a", "delta", "w", "rho"} & set(one.params):
            assert other.params[name].value == pytest.approx(one.params[name].value, rel=1e-5)


@pytest.mark.parametrize("law", TRUTH)
def test_order_of_the_rows_does_not_matter(law):
    x, y = INPUTS[law], noisy(law)
    order = np.random.default_rng(3).permutation(len(y))
    one, other = quick(law, x, y), quick(law, {name: v[order] for name, v in x.items()}, y[order])
    assert other.objective == pytest.approx(one.objective, rel=1e-10)
    np.testing.assert_allclose(other.predict(x), one.predict(x), rtol=1e-6)
    if law == "L_NK":
        for name, param in one.params.items():
            assert other.params[name].high == pytest.approx(param.high, abs=1e-6)


@pytest.mark.parametrize("of", ["log", "linear", "huber"])
@pytest.mark.parametrize("law", TRUTH)
def test_weights_are_copies_of_the_rows(law, of):
    x, y = INPUTS[law], noisy(law)
    copies = 1 + np.arange(len(y)) % 3
    twice = np.repeat(np.arange(len(y)), copies)
    weighted = quick(law, x, y, weights=copies, objective=of, method="delta")
    repeated = quick(law, {name: v[twice] for name, v in x.items()}, y[twice], objective=of, method="delta")
    assert weighted.objective == pytest.approx(repeated.objective, rel=1e-9)
    np.testing.assert_allclose(weighted.predict(x), repeated.predict(x), rtol=1e-6)


def test_a_weight_of_two_is_the_row_twice():
    y, twice = noisy("L_N"), np.repeat(np.arange(10), [1, 2, 1, 3, 1, 1, 1, 2, 1, 1])
    weighted = quick("L_N", N, y, weights=np.bincount(twice))
    repeated = quick("L_N", N[twice], y[twice])
    assert values(weighted) == pytest.approx(values(repeated), rel=1e-7)
    assert weighted.rms_log == pytest.approx(repeated.rms_log, rel=1e-9)
    for name, param in repeated.params.items():
        assert weighted.params[name].low == pytest.approx(param.low, rel=1e-5)
        assert weighted.params[name].se == pytest.approx(param.se, rel=1e-6)


def test_a_weight_of_zero_is_no_row():
    y = noisy("L_N")
    y[4] *= 3
    w = np.ones(10)
    w[4] = 0
    left_out = quick("L_N", np.delete(N, 4), np.delete(y, 4))
    assert values(quick("L_N", N, y, weights=w)) == pytest.approx(values(left_out), rel=1e-7)


def test_gradient_vanishes_at_the_optimum():
    at = solve({"n_latents": N}, noisy("L_N"))
    theta, h = at.solution.theta[0], 1e-5
    for p in range(3):
        shift = h * (np.arange(3) == p)
        up, down = (float(deviance_at(at, theta + s)) for s in (shift, -shift))
        assert abs(up - down) / (2 * h) < 1e-6 * at.deviance / h
        assert min(up, down) > at.deviance


def deviance_at(at, theta):
    f, _ = evaluate(at.problem.terms, theta[None], np.ones((1, 2), dtype=bool))
    return ((f[0] - at.problem.ln_y) ** 2).sum()


@pytest.mark.parametrize("of", ["log", "linear", "huber:0.02"])
def test_optimum_is_that_of_scipy(of):
    """scipy.optimize.least_squares from the truth; its loss for Huber is δ² ρ((r/δ)²)."""
    from scipy.optimize import least_squares

    y = noisy("L_ND", 0.05)
    at = solve(INPUTS["L_ND"], y, named("L_ND"), objective(of))
    law, x = named("L_ND"), INPUTS["L_ND"]

    def residuals(theta):
        predicted = law.loss(law.values(theta), x)
        return predicted - y if of == "linear" else np.log(predicted) - np.log(y)

    rho = {"loss": "huber", "f_scale": 0.02} if of.startswith("huber") else {}
    best = least_squares(
        residuals, at.theta() + 0.01, xtol=1e-15, ftol=1e-15, gtol=1e-15, x_scale="jac", **rho
    )
    assert at.deviance <= 2 * best.cost * (1 + 1e-9)
    np.testing.assert_allclose(law.loss(law.values(best.x), x), np.exp(at.log_loss(x)), rtol=1e-4)


def test_problems_taken_a_few_at_a_time_have_the_same_optima(monkeypatch):
    at = solve({"n_latents": N}, noisy("L_N"))
    w = np.random.default_rng(0).multinomial(10, np.full(10, 0.1), size=7) + 0.1
    problem = Problem(at.basis.terms, at.problem.ln_y, w, LOG)
    theta, alive = np.repeat(at.solution.theta, 7, axis=0), np.ones((7, 2), dtype=bool)
    # To rounding: where a step promises 1e-13 of the deviance, θ is placed to √1e-13 of its standard error only.
    together = minimise(problem, theta, alive, may_vanish(L_N), tolerance=0.0)
    monkeypatch.setattr("fit.law.solver.AT_ONCE", 2 * 10 * 5)
    apart = minimise(problem, theta, alive, may_vanish(L_N), tolerance=0.0)
    np.testing.assert_allclose(apart.theta, together.theta, rtol=1e-9)


def test_coefficients_of_every_cell_are_those_of_nnls():
    from scipy.optimize import nnls

    rng = np.random.default_rng(4)
    columns = [rng.uniform(0, 1, (3, 8)), rng.uniform(0, 1, (2, 8)), rng.uniform(0, 1, (1, 8))]
    target = rng.uniform(-0.5, 1, 8)
    residual, coefficients = _solved(columns, target)
    for i in range(3):
        for j in range(2):
            c, r = nnls(np.stack([columns[0][i], columns[1][j], columns[2][0]], axis=1), target)
            np.testing.assert_allclose([part[i, j, 0] for part in coefficients], c, rtol=1e-6, atol=1e-9)
            assert residual[i, j, 0] == pytest.approx(r**2, rel=1e-8)


@pytest.mark.parametrize("law", TRUTH)
def test_best_seed_is_already_a_fair_fit_and_starts_are_apart(law):
    x, y = INPUTS[law], noisy(law)
    basis = Basis.from_inputs(named(law), x)
    starts = starting_points(basis, x, y, np.ones(len(y)))
    f, _ = evaluate(basis.terms, starts, np.ones((len(starts), len(basis.law.terms)), dtype=bool))
    rms = np.sqrt(np.mean((f - np.log(y)) ** 2, axis=1))
    assert rms[0] < 0.5 and rms[0] == rms.min()
    assert len(np.unique(starts.round(6), axis=0)) == len(starts) == 16


@pytest.mark.parametrize("law", [law for law in LAWS if "broken" not in law])
def test_all_starts_reach_the_optimum_of_clean_rows(law):
    at = solve(INPUTS[law], noisy(law, 0.003), named(law))
    assert at.agree >= 14 and at.tried == 16 and at.solution.settled.all()


def test_engine_itself_takes_a_useless_floor_out():
    y = 2 * N**-0.2 - 0.03
    basis = Basis.from_inputs(L_N, {"n_latents": N})
    starts = starting_points(basis, {"n_latents": N}, y, np.ones(10))
    problem = Problem(basis.terms, np.log(y), np.ones((1, 10)), LOG)
    found = minimise(problem, starts, np.ones((16, 2), dtype=bool), may_vanish(L_N))
    assert found.settled.all() and not found.alive[:, 1].any()
    assert np.ptp(found.deviance) < 1e-9 * found.deviance.min()


@pytest.mark.parametrize("below", [0.0, 0.03])
def test_floor_goes_to_zero_and_stays_there(below):
    y = 2 * N**-0.2 - below
    with np.errstate(over="raise", invalid="raise"):
        result = quick("L_N", N, y * np.exp(0.01 * np.random.default_rng(0).standard_normal(10)))
    E = result.params["E"]
    assert (E.value, E.low) == (0.0, 0.0)
    assert 0 < E.high < 0.05
    assert any("E went to 0" in warning for warning in result.warnings)


def test_vanished_floor_is_the_optimum():
    """At E = 0 the sum of squares rises with E, and the power law is the straight line through the logarithms."""
    y = 2 * N**-0.2 - 0.03
    at = solve({"n_latents": N}, y)
    slope, intercept = np.polyfit(np.log(N), np.log(y), 1)
    assert at.floor_vanished
    np.testing.assert_allclose(at.theta()[:2], [intercept, -slope], rtol=1e-9)
    assert (at.residuals() / np.exp(at.log_loss({"n_latents": N}))).sum() > 0


def test_joint_law_without_a_floor_has_undefined_floor_parameters():
    x = INPUTS["L_NK"]
    y = named("L_NK").loss(TRUTH["L_NK"], x) - np.exp(-1.32 - 0.096 * np.log(x["k"]))
    result = quick("L_NK", x, y * np.exp(0.01 * np.random.default_rng(2).standard_normal(30)))
    assert result.params["eta"].low is None and result.params["eta"].high is None
    assert result.params["zeta"].low is None


def test_a_table_of_very_many_rows_is_fitted_like_a_sample_of_it():
    """Starts are refined on a sample, the best on all rows; the delta method gives the intervals."""
    rng = np.random.default_rng(0)
    n = 2.0 ** rng.uniform(8, 18, 10**5)
    y = L_N.loss(TRUTH["L_N"], {"n_latents": n}) * np.exp(0.05 * rng.standard_normal(10**5))
    result = quick("L_N", n, y)
    alpha = result.params["alpha"]
    assert alpha.method == "delta"
    assert alpha.low < 0.2 < alpha.high and alpha.high - alpha.low < 0.01


def test_many_seeds_agree_or_the_result_says_so():
    result = fit_law("L_N", N, noisy("L_N"))
    assert result.starts == Starts(16, 16)
    assert not any("starts" in warning for warning in result.warnings)


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (N[:4], noisy("L_N")[:4], "3 parameters and needs at least 5 rows; there are 4"),
        (
            np.full(8, 512.0),
            np.linspace(0.3, 0.4, 8),
            r"3 different values of n_latents; these rows have 1 \(512\)",
        ),
        (N, np.append(noisy("L_N")[:9], 0.0), r"at position 9: 0, counted from 0\)"),
        (N, np.append(noisy("L_N")[:9], np.nan), r"1 of 10 values of the loss"),
        (-N, noisy("L_N"), "10 of 10 values of n_latents"),
        (pd.DataFrame({"n_latents": -N}, index=N), noisy("L_N"), r"\(at index 512.0: -512, 1024.0: -1024, "),
        (N, noisy("L_N")[:9], "shape"),
        ({"k": N}, noisy("L_N"), "n_latents was not given"),
    ],
)
def test_impossible_rows_are_told_in_a_sentence(x, y, words):
    with pytest.raises(FitError, match=words):
        fit_law("L_N", x, y)


@pytest.mark.parametrize("seed", range(6))
def test_a_floor_that_a_sample_of_the_rows_lacks_is_found_in_all(monkeypatch, seed):
    """E = 0.005 is 7 standard errors from 0 in 20,000 rows of 2 % noise, and 0.7 in 200, the sample here."""
    random = np.random.default_rng(seed)
    n = 2.0 ** random.integers(8, 18, 20_000)
    rows = make_rows(named("L_N"), n, (0.005 + 2 * n**-0.2) * np.exp(0.02 * random.standard_normal(20_000)))
    whole = estimate(named("L_N"), rows)
    monkeypatch.setattr("fit.law.starts.MOST_ROWS", 200)
    at = estimate(named("L_N"), rows)
    assert not at.floor_vanished and at.deviance == pytest.approx(whole.deviance, rel=1e-6)
