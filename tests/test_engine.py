"""The engine: published fits to their digits, recovery, invariances, and the boundary where the floor vanishes."""

import numpy as np
import pytest

from fit import datasets
from fit.basis import Basis
from fit.engine import _curvature, evaluate, jacobian, minimise
from fit.errors import FitError
from fit.estimate import estimate, make_batch, may_vanish
from fit.fitting import fit_law
from fit.laws import L_N, named
from fit.seeds import seeds

GAO = datasets.load("gao2024_gpt4_lnk")
N = 2.0 ** np.arange(9, 19)
TRUTH = {
    "L_N": {"E": 0.15, "A": 2.0, "alpha": 0.2},
    "L_C": {"E": 0.09, "A": 40.0, "alpha": 0.12},
    "L_NK": {"alpha": -0.42, "beta_k": 0.24, "beta_n": -0.027, "gamma": -0.038, "zeta": -1.32, "eta": -0.096},
}
INPUTS = {
    "L_N": {"n_latents": N},
    "L_C": {"flops": np.geomspace(1e15, 1e20, 12)},
    "L_NK": {"n_latents": np.repeat(N, 3), "k": np.tile([16.0, 64.0, 256.0], 10)},
}


def gao(upto=2**19):
    rows = GAO[GAO["n"] <= upto]
    return {"n_latents": rows["n"], "k": rows["k"]}, rows["loss"]


def values(result):
    return {name: param.value for name, param in result.params.items()}


def noisy(law, scale=0.01, seed=0):
    y = named(law).loss(TRUTH[law], INPUTS[law])
    return y * np.exp(scale * np.random.default_rng(seed).standard_normal(len(y)))


def solve(x, loss, law=L_N, weights=None):
    return estimate(law, x, loss, np.ones(len(loss)) if weights is None else weights)


def test_joint_law_of_gao_2024():
    result = fit_law("L_NK", *gao(), hold_out=False)
    golden = [-0.42272, 0.23977, -0.02708, -0.03829, -1.31862, -0.09648]
    np.testing.assert_allclose(list(values(result).values()), golden, atol=1e-3)
    assert result.rms_log == pytest.approx(0.00958, abs=5e-6)
    assert np.abs(result.estimate.residuals()).max() == pytest.approx(0.0184, abs=5e-5)
    assert result.objective == pytest.approx(2.06479e-3, rel=2e-5)
    assert result.starts == {"tried": 16, "agree": 16}


def test_joint_law_reproduces_the_drawn_curve():
    result = fit_law("L_NK", *gao(), hold_out=False)
    drawn = GAO["paper_fit"].to_numpy()
    np.testing.assert_allclose(result.predict(n_latents=GAO["n"], k=GAO["k"]), drawn, rtol=2e-4)


@pytest.mark.parametrize(
    ("k", "floor", "exponent"),
    [(32, 0.200, 0.162), (64, 0.149, 0.169), (128, 0.142, 0.193), (256, 0.130, 0.214), (512, 0.171, 0.306)],
)
def test_each_k_of_gao_2024(k, floor, exponent):
    rows = GAO[GAO["k"] == k]
    result = fit_law("L_N", rows["n"], rows["loss"], hold_out=False)
    assert result.params["E"].value == pytest.approx(floor, abs=1e-3)
    assert result.params["alpha"].value == pytest.approx(exponent, abs=1e-3)


@pytest.mark.parametrize(("upto", "percent"), [(2**16, 2.61), (2**17, 1.92), (2**18, 1.80)])
def test_largest_scales_of_gao_2024_from_the_smaller_ones(upto, percent):
    result = fit_law("L_NK", *gao(upto), hold_out=False)
    unseen = GAO[GAO["n"] > upto]
    error = np.log(result.predict(n_latents=unseen["n"], k=unseen["k"])) - np.log(unseen["loss"])
    assert 100 * np.sqrt(np.mean(error**2)) == pytest.approx(percent, abs=0.01)


@pytest.mark.parametrize("law", TRUTH)
def test_recovers_a_law_from_exact_losses(law):
    result = fit_law(law, INPUTS[law], named(law).loss(TRUTH[law], INPUTS[law]), hold_out=False)
    assert values(result) == pytest.approx(TRUTH[law], rel=1e-9)
    assert result.rms_log < 1e-12


@pytest.mark.parametrize(("law", "unit"), [("L_N", 1e-3), ("L_N", 1e6), ("L_C", 1e-25), ("L_C", 1e9)])
def test_unit_of_the_input_changes_only_the_coefficient(law, unit):
    (name,) = named(law).inputs
    x, y = INPUTS[law][name], noisy(law)
    one, other = fit_law(law, x, y), fit_law(law, unit * x, y)
    assert other.objective == pytest.approx(one.objective, rel=1e-10)
    for param in ("E", "alpha"):
        for part in ("value", "low", "high"):
            assert getattr(other.params[param], part) == pytest.approx(
                getattr(one.params[param], part), rel=1e-5
            )
    assert other.params["A"].value == pytest.approx(
        one.params["A"].value * unit ** one.params["alpha"].value, rel=1e-6
    )
    assert other.held_out["rms_log"] == pytest.approx(one.held_out["rms_log"], rel=1e-6)


def test_order_of_the_rows_does_not_matter():
    x, y = INPUTS["L_NK"], noisy("L_NK")
    order = np.random.default_rng(3).permutation(len(y))
    one = fit_law("L_NK", x, y, hold_out=False)
    other = fit_law("L_NK", {name: v[order] for name, v in x.items()}, y[order], hold_out=False)
    assert values(other) == pytest.approx(values(one), rel=1e-7)
    for name, param in one.params.items():
        assert other.params[name].high == pytest.approx(param.high, abs=1e-6)


def test_a_weight_of_two_is_the_row_twice():
    y, twice = noisy("L_N"), np.repeat(np.arange(10), [1, 2, 1, 3, 1, 1, 1, 2, 1, 1])
    weighted = fit_law("L_N", N, y, weights=np.bincount(twice), hold_out=False)
    repeated = fit_law("L_N", N[twice], y[twice], hold_out=False)
    assert values(weighted) == pytest.approx(values(repeated), rel=1e-7)
    assert weighted.rms_log == pytest.approx(repeated.rms_log, rel=1e-9)
    for name, param in repeated.params.items():
        assert weighted.params[name].low == pytest.approx(param.low, rel=1e-5)


def test_a_weight_of_zero_is_no_row():
    y = noisy("L_N")
    y[4] *= 3
    w = np.ones(10)
    w[4] = 0
    left_out = fit_law("L_N", np.delete(N, 4), np.delete(y, 4), hold_out=False)
    assert values(fit_law("L_N", N, y, weights=w, hold_out=False)) == pytest.approx(
        values(left_out), rel=1e-7
    )


def test_gradient_vanishes_at_the_optimum():
    at = solve({"n_latents": N}, noisy("L_N"))
    theta, h = at.solution.theta[0], 1e-5
    for p in range(3):
        shift = h * (np.arange(3) == p)
        up, down = (float(ssr_at(at, theta + s)) for s in (shift, -shift))
        assert abs(up - down) / (2 * h) < 1e-6 * at.ssr / h
        assert min(up, down) > at.ssr


def ssr_at(at, theta):
    f = np.log(np.exp(np.einsum("jnp,p->jn", at.batch.phi[0], theta)).sum(axis=0))
    return ((f - at.batch.y[0]) ** 2).sum()


def test_hessian_is_the_derivative_of_the_gradient():
    at = solve({"n_latents": N}, noisy("L_N", 0.1))
    here, alive = at.solution.theta + [[0.3, -0.2, 0.4]], np.ones((1, 2), dtype=bool)

    def parts(theta):
        f, share = evaluate(at.batch, theta, alive)
        r, J = f - at.batch.y, jacobian(at.batch, share)
        return np.einsum("rnp,rn->p", J, r), J, r, share

    _, J, r, share = parts(here)
    H = np.einsum("rnp,rnq->pq", J, J) + _curvature(at.batch, share, r, J)[0]
    for p in range(3):
        step = 1e-6 * (np.arange(3) == p)
        np.testing.assert_allclose(
            H[p], (parts(here + step)[0] - parts(here - step)[0]) / 2e-6, rtol=1e-6, atol=1e-8
        )


@pytest.mark.parametrize("law", TRUTH)
def test_best_seed_is_already_a_fair_fit_and_the_last_is_not_better(law):
    x, y = INPUTS[law], noisy(law)
    basis = Basis.of(named(law), x)
    batch = make_batch(basis, {name: v[None] for name, v in x.items()}, y[None], np.ones((1, len(y))))
    starts = seeds(basis, x, y, np.ones(len(y)))
    f, _ = evaluate(batch, starts, np.ones((16, 2), dtype=bool))
    rms = np.sqrt(np.mean((f - np.log(y)) ** 2, axis=1))
    assert rms[0] < 0.03 and rms[0] <= rms[-1]


def test_engine_itself_takes_a_useless_floor_out():
    y = 2 * N**-0.2 - 0.03
    basis = Basis.of(L_N, {"n_latents": N})
    batch = make_batch(basis, {"n_latents": N[None]}, y[None], np.ones((1, 10)))
    starts = seeds(basis, {"n_latents": N}, y, np.ones(10))
    found = minimise(batch, starts, np.ones((16, 2), dtype=bool), may_vanish(L_N))
    assert found.settled.all() and not found.alive[:, 1].any()
    assert np.ptp(found.ssr) < 1e-9 * found.ssr.min()


@pytest.mark.parametrize("below", [0.0, 0.03])
def test_floor_goes_to_zero_and_stays_there(below):
    y = 2 * N**-0.2 - below
    with np.errstate(over="raise", invalid="raise"):
        result = fit_law("L_N", N, y * np.exp(0.01 * np.random.default_rng(0).standard_normal(10)))
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
    result = fit_law(
        "L_NK", x, y * np.exp(0.01 * np.random.default_rng(2).standard_normal(30)), hold_out=False
    )
    assert result.params["eta"].low is None and result.params["eta"].high is None
    assert result.params["zeta"].low is None


def test_many_seeds_agree_or_the_result_says_so():
    result = fit_law("L_N", N, noisy("L_N"))
    assert result.starts == {"tried": 16, "agree": 16}
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
        (N, np.append(noisy("L_N")[:9], 0.0), r"row 9: 0"),
        (N, np.append(noisy("L_N")[:9], np.nan), r"1 of 10 values of the loss"),
        (-N, noisy("L_N"), "10 of 10 values of n_latents"),
        (N, noisy("L_N")[:9], "shape"),
        ({"k": N}, noisy("L_N"), "n_latents was not given"),
    ],
)
def test_impossible_rows_are_told_in_a_sentence(x, y, words):
    with pytest.raises(FitError, match=words):
        fit_law("L_N", x, y)
