"""What the rows identify, in words: condition, trade-offs, open intervals, the delta method's errors, outliers."""

from dataclasses import replace

import numpy as np
import pytest

from fit import datasets
from fit.law import diagnostics
from fit.law.caution import Kind
from fit.law.estimate import estimate
from fit.law.fit import fit_law
from fit.law.laws import named
from fit.law.losses import objective
from fit.law.result import Param
from fit.law.rows import make_rows
from tests.fit.laws_under_test import INPUTS, N, noisy

GAO = datasets.load("gao2024_gpt4_lnk")


def fitted(law, x, y, of="log"):
    return estimate(named(law), make_rows(named(law), x, y), objective(of))


def test_correlations_are_those_of_the_inverse_information():
    """From JᵀJ of the law's own parameters, by central differences."""
    law = named("L_N")
    x, y = INPUTS["L_N"], noisy("L_N")
    at = fitted("L_N", x, y)
    steps = 1e-6 * np.eye(3)
    J = np.stack(
        [
            np.log(law.loss(law.values(at.theta() + s), x) / law.loss(law.values(at.theta() - s), x)) / 2e-6
            for s in steps
        ]
    )
    covariance = np.linalg.inv(J @ J.T)
    scale = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(diagnostics.correlations(at), covariance / np.outer(scale, scale), rtol=1e-4)
    s = np.sqrt(at.deviance / at.dof)
    np.testing.assert_allclose(at.errors(), s * scale, rtol=1e-4)


def test_gao_2024_is_poorly_determined_and_says_so():
    result = fit_law("L_NK", {"n_latents": GAO["n"], "k": GAO["k"]}, GAO["loss"], hold_out=False)
    assert result.condition > 30
    assert any(
        "poorly determined (condition 36)" in caution.text and caution.kind is Kind.NOT_IDENTIFIED
        for caution in result.cautions
    )
    pairs = [abs(result.correlations[a][b]) for a in result.params for b in result.params if a < b]
    assert min(pairs) > 0.5 and max(pairs) == pytest.approx(0.97, abs=0.01)


def test_condition_does_not_depend_on_units():
    x, y = INPUTS["L_ND"], noisy("L_ND")
    one = diagnostics.condition(fitted("L_ND", x, y))
    other = diagnostics.condition(
        fitted("L_ND", {"n_latents": x["n_latents"] / 1e6, "tokens": x["tokens"] * 8}, y)
    )
    assert other == pytest.approx(one, rel=1e-6)


def test_a_power_law_alone_is_ideally_conditioned():
    assert diagnostics.condition(fitted("L_N_pure", INPUTS["L_N_pure"], noisy("L_N_pure"))) == pytest.approx(
        1.0
    )
    assert diagnostics.ill_conditioned(fitted("L_N_pure", INPUTS["L_N_pure"], noisy("L_N_pure"))) == []


def test_condition_of_a_long_table_is_that_of_its_short_form():
    J = np.random.default_rng(0).standard_normal((3, 50))
    np.testing.assert_allclose(diagnostics._by_gram(J), np.linalg.svd(J, compute_uv=False), rtol=1e-10)


def test_an_intercept_and_its_slope_are_no_trade_off():
    """A and α of C in FLOPs correlate 1.00: a matter of the unit of C, not of the rows."""
    at = fitted("L_C_pure", INPUTS["L_C_pure"], noisy("L_C_pure"))
    assert abs(diagnostics.correlations(at)[0, 1]) > 0.99
    assert diagnostics.trade_offs(at) == []


def test_an_open_interval_is_told_with_its_side():
    law = named("L_N")
    whole = Param(0.1, 0.05, 0.2, "profile")
    params = {"E": whole, "A": Param(1.0, 0.5, None, "profile"), "alpha": Param(0.2, None, None, "profile")}
    first, second = diagnostics.unidentified(law, params)
    assert first.text.startswith("A is not identified: its 95 % interval has no upper end")
    assert "no lower and no upper end" in second.text and second.of == ("alpha",)


def test_the_delta_method_is_a_cross_check():
    """Far from a plane the profile is wider on one side; for tiny noise both agree and nothing is said."""
    assert diagnostics.curved(*profiled(0.00001)) == []
    (caution,) = diagnostics.curved(*profiled(0.02))
    assert "times as wide as the delta method's" in caution.text and caution.kind is Kind.INTERVALS


def profiled(scale):
    x = {"n_latents": N[:7]}
    y = noisy("L_N", scale, x=x)
    result = fit_law("L_N", x, y, hold_out=False, compare=False)
    return result.estimate, result.params


@pytest.mark.parametrize("of", ["log", "huber:0.02"])
def test_an_outlier_is_named_and_kept(of):
    x, y = INPUTS["L_N"], noisy("L_N", 0.003)
    y[4] *= 1.15
    result = fit_law("L_N", x, y, objective=of, hold_out=False, compare=False)
    assert [point.row for point in result.outliers] == [4]
    assert result.outliers[0].score < -4 and result.rows == 10
    (warning,) = [w for w in result.warnings if "outlier" in w]
    assert "1 row is an outlier, fitted all the same: n_latents=8,192" in warning


def test_a_parameter_that_moves_no_row_has_no_error_and_overflows_nothing():
    """A break that is a step between two rows: ∂r/∂w is 1e-155."""
    x = {"flops": np.geomspace(1e10, 1e15, 12)}
    at = fitted("L_C_broken", x, noisy("L_C_broken", x=x))
    middle = np.log(x["flops"][5:7]).mean()
    inner = np.array([[*at.theta()[:3], middle, np.log(0.523 / 357)]])
    still = replace(at, solution=replace(at.solution, theta=np.linalg.solve(at.basis.inverse, inner.T).T))
    lengths = np.linalg.norm(still.jacobian(), axis=1)
    assert 0 < lengths.min() < 1e-150
    with np.errstate(over="raise", invalid="raise"):
        assert np.isfinite(still.covariance()).all()
    assert np.isnan(still.errors()[-1])


def test_clean_rows_have_no_outlier_but_once_in_a_hundred():
    named_ = [
        len(diagnostics.outliers(fitted("L_N", INPUTS["L_N"], noisy("L_N", seed=seed))))
        for seed in range(100)
    ]
    assert np.mean(np.array(named_) > 0) < 0.03


def test_a_loss_that_rises_is_told():
    x = {"n_latents": N}
    result = fit_law("L_N", x, 0.1 + 1e-3 * N**0.3, hold_out=False, compare=False)
    assert any(
        w.startswith("The loss rises with n_latents, as no law of scaling does") for w in result.warnings
    )
    assert not any("rises" in w for w in fit_law("L_N", INPUTS["L_N"], noisy("L_N"), compare=False).warnings)


def test_exact_rows_have_no_outliers():
    assert diagnostics.outliers(fitted("L_N", INPUTS["L_N"], noisy("L_N", 0.0))) == {}


def test_a_profile_over_rows_of_shared_runs_says_that_it_counts_each():
    runs = np.arange(len(N)) // 2
    said = {
        method: [
            c.text
            for c in fit_law("L_N", INPUTS["L_N"], noisy("L_N"), cluster=cluster, method=method).cautions
        ]
        for method, cluster in (("profile", runs), ("delta", runs), ("auto", None))
    }
    counting = {method: any("as independent" in text for text in texts) for method, texts in said.items()}
    assert counting == {"profile": True, "delta": False, "auto": False}
