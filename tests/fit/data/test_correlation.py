"""Residuals that follow one another along the tokens, and those that do not."""

import numpy as np
import pandas as pd
import pytest

from fit.data.correlation import correlated_rows, correlated_within, intraclass, lag_correlation

RUNS, LENGTH = 8, 20
N = np.repeat(2.0 ** np.arange(RUNS), LENGTH)
D = np.tile(np.geomspace(1e6, 1e9, LENGTH), RUNS)
SERIES = np.repeat(np.arange(RUNS), LENGTH)


def residuals(correlation, rng):
    """An autoregressive process in each run."""
    e = rng.standard_normal((RUNS, LENGTH))
    for i in range(1, LENGTH):
        e[:, i] = correlation * e[:, i - 1] + np.sqrt(1 - correlation**2) * e[:, i]
    return 0.01 * e.ravel()


@pytest.mark.parametrize("truth", [0.0, 0.5, 0.9])
def test_the_correlation_of_a_process_is_found_in_any_order_of_rows(truth):
    rng = np.random.default_rng(0)
    found = [lag_correlation(residuals(truth, rng), SERIES, D).r for _ in range(50)]
    assert np.mean(found) == pytest.approx(truth, abs=0.05)
    e, order = residuals(truth, rng), rng.permutation(len(D))
    assert lag_correlation(e[order], SERIES[order], D[order]) == pytest.approx(lag_correlation(e, SERIES, D))


def test_independent_rows_are_cautioned_once_in_thousands_and_curves_always():
    rng = np.random.default_rng(1)
    x = {"n_latents": N, "tokens": D}
    cautions = [len(correlated_rows(x, residuals(0.0, rng), "each row")) for _ in range(300)]
    assert sum(cautions) == 0
    assert all(correlated_rows(x, residuals(0.9, rng), "each row") for _ in range(30))


def test_rounding_errors_and_laws_without_tokens_are_no_matter():
    rng = np.random.default_rng(2)
    x = {"n_latents": N, "tokens": D}
    assert not correlated_rows(x, 1e-12 * residuals(0.9, rng), "")
    assert not correlated_rows({"n_latents": N}, residuals(0.9, rng), "")


@pytest.mark.parametrize("truth", [0.0, 0.3, 0.8])
def test_the_correlation_within_runs_of_unequal_lengths_is_found(truth):
    rng = np.random.default_rng(3)
    run = np.repeat(np.arange(40), rng.integers(2, 9, 40))
    found = []
    for _ in range(60):
        e = np.sqrt(truth) * rng.standard_normal(40)[run] + np.sqrt(1 - truth) * rng.standard_normal(len(run))
        found.append(intraclass(0.01 * e, run))
    assert np.mean([one.r for one in found]) == pytest.approx(truth, abs=0.04)
    assert sum(one.correlated for one in found) == {0.0: 0, 0.8: 60}.get(
        truth, sum(o.correlated for o in found)
    )


def test_the_factor_is_that_by_which_the_error_of_a_mean_is_underestimated():
    """Over 400 tables of 20 runs of 5 rows, ρ = 0.6: the mean scatters √(1 + 4·0.6) times as much as s/√100."""
    rng = np.random.default_rng(4)
    run = np.repeat(np.arange(20), 5)
    tables = [
        np.sqrt(0.6) * rng.standard_normal(20)[run] + np.sqrt(0.4) * rng.standard_normal(100)
        for _ in range(400)
    ]
    measured = np.std([e.mean() for e in tables]) / np.mean([e.std(ddof=1) / 10 for e in tables])
    factors = [intraclass(e, run).factor for e in tables]
    assert np.mean(factors) == pytest.approx(measured, rel=0.06)


def test_only_columns_that_name_runs_of_several_rows_are_looked_at():
    rng = np.random.default_rng(5)
    run = np.repeat(np.arange(10), 4)
    e = 0.01 * rng.standard_normal(10)[run] + 0.001 * rng.standard_normal(40)
    rows = pd.DataFrame({"layer": run, "run_id": np.arange(40), "Trial": run, "n_latents": run + 1.0})
    assert correlated_within(rows, ["n_latents"], e).column == "Trial"
    assert correlated_within(rows, ["Trial"], e) is None
    assert correlated_within(rows.assign(Trial=1), [], e) is None
    assert correlated_within(rows, [], 0.01 * rng.standard_normal(40)) is None
