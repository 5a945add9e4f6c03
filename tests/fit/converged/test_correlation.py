"""Residuals that follow one another along the tokens, and those that do not."""

import numpy as np
import pytest

from fit.converged.correlation import correlated_rows, lag_correlation

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
