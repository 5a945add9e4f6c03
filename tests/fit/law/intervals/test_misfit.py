"""Intervals of a refuted law carry its misfit, live and read back from fits.json."""

import json

import numpy as np
import pandas as pd
import pytest

from fit.law.fit import fit_law
from fit.law.function.smooth import function_law
from fit.law.intervals.misfit import WIDENED
from fit.law.options import FitOptions
from fit.law.result import FitResult
from fit.study.fitting import fit_table
from tests.fit.law.checks.test_lack_of_fit import curves, seeded


def ends(result, name):
    """The interval of a parameter; an end that the rows do not determine is infinite."""
    param = result.params[name]
    return (-np.inf if param.low is None else param.low), (np.inf if param.high is None else param.high)


@pytest.fixture(scope="module")
def refuted():
    x, loss, run = curves(rho=0.4)
    return fit_law("L_ND", x, loss, cluster=run, method="bootstrap", draws=40)


def test_the_interval_of_a_refuted_law_holds_what_made_the_rows(refuted):
    """Rows with an interaction, E = 0.1 and α = 0.4. Resampled runs all miss it in the same way."""
    base = refuted.intervals.base.parameters()
    assert base["E"][0] > 0.1
    low, high = ends(refuted, "E")
    assert low < 0.1 < high
    low, high = ends(refuted, "alpha")
    assert low < 0.4 < high
    assert refuted.params["E"].method == f"bootstrap over runs{WIDENED}"


def test_every_side_is_at_least_as_wide_as_without_the_misfit(refuted):
    usual, wide = refuted.intervals.base, refuted.intervals
    for name, (low, high) in usual.parameters().items():
        assert wide.parameters()[name][0] <= low and high <= wide.parameters()[name][1]
    x = {"n_latents": np.array([2.0**12, 2.0**18]), "tokens": np.array([2.0**20, 2.0**26])}
    for kind in ("law", "measurement"):
        (low, high), (lower, higher) = getattr(usual, kind)(x), getattr(wide, kind)(x)
        assert (lower <= low).all() and (high <= higher).all() and (higher - lower > 2 * (high - low)).any()


def test_it_is_read_back_with_the_misfit(refuted):
    back = FitResult.from_dict(json.loads(json.dumps(refuted.to_dict(), allow_nan=False)))
    assert back == refuted and back.lack_of_fit.refuted
    at = {"n_latents": 2.0**14, "tokens": 2.0**25}
    np.testing.assert_allclose(
        back.predict(at, interval="law"), refuted.predict(at, interval="law"), rtol=1e-6
    )


def test_a_law_that_holds_and_one_of_single_runs_keep_their_intervals():
    x, loss, run = curves()
    assert fit_law("L_ND", x, loss, cluster=run).params["E"].method == "sandwich over runs"
    x, loss = seeded()
    assert fit_law("L_N", x, loss, compare=False).params["E"].method == "profile"


def test_seeds_that_refute_a_law_count_once():
    """27 runs at nine n are nine measurements of the misfit."""
    x, loss = seeded(bend=0.03, noise=0.001)
    result = fit_law("L_N", x, loss, compare=False, hold_out=False)
    assert result.lack_of_fit.refuted and result.lack_of_fit.measurements == pytest.approx(9, abs=0.5)
    usual, wide = result.intervals.base.parameters()["alpha"], ends(result, "alpha")
    assert np.ptp(wide) > 1.5 * np.ptp(usual)


def test_smollm2_refutes_l_nd_and_its_intervals_hold_those_of_l_n():
    runs, tables = (pd.read_parquet(f"docs/smollm2/{name}.parquet") for name in ("runs", "curves"))
    l_n, l_nd = fit_table(runs, tables, ["L_N", "L_ND"], where="k == 16", options=FitOptions(draws=40))
    assert l_nd.rms_log == pytest.approx(0.0497, abs=0.0005) and l_nd.lack_of_fit.noise < 0.002
    assert l_nd.cautions[0].text.startswith("Residuals 5.0 % where the curves scatter by 0.064 %")
    for name in ("E", "alpha"):
        (low, high), (lower, higher) = ends(l_n, name), ends(l_nd, name)
        assert lower < low and high < higher


def test_many_rows_are_linearised_to_about_the_same_intervals(monkeypatch):
    x, loss = seeded(bend=0.01, noise=0.0005)
    one = fit_law("L_N", x, loss, compare=False, hold_out=False)
    monkeypatch.setattr("fit.law.intervals.misfit.MANY", 10)
    other = fit_law("L_N", x, loss, compare=False, hold_out=False)
    assert one.lack_of_fit.refuted
    np.testing.assert_allclose(ends(one, "alpha"), ends(other, "alpha"), rtol=0.02)


@pytest.mark.slow
def test_a_function_of_the_user_carries_its_misfit_too():
    x, loss, run = curves(rho=0.4)
    law = function_law(
        "L_ND_written_out",
        "E + A·N^−α + B·D^−β",
        lambda x, p: p.E + p.A * x.n_latents**-p.alpha + p.B * x.tokens**-p.beta,
        inputs=("n_latents", "tokens"),
        ranges={"E": (0.01, 0.3), "A": (0.5, 20), "alpha": (0.1, 1), "B": (20, 2000), "beta": (0.2, 1.2)},
    )
    result = fit_law(law, x, loss, cluster=run, draws=20, compare=False, hold_out=False)
    assert result.lack_of_fit.refuted and result.params["E"].method.endswith(WIDENED)
    low, high = ends(result, "E")
    assert low < 0.1 < high
