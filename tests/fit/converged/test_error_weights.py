"""Rows with an error of their own count by it."""

import numpy as np
import pytest

from fit.converged.error_weights import error_weights
from fit.law.fit import fit_law
from fit.law.laws import named
from fit.law.losses import LOG
from fit.law.options import FitOptions
from fit.study import fit_table
from tests.fit.laws_under_test import TRUTH
from tests.fit.sweep_tables import LRS, N, Sweep

L_N, X = named("L_N"), {"n_latents": np.geomspace(2**8, 2**18, 24)}


def noisy(own, seed=0, scatter=0.005):
    rng = np.random.default_rng(seed)
    total = np.hypot(scatter, own)
    return L_N.loss(TRUTH["L_N"], X) * np.exp(total * rng.standard_normal(24))


def test_a_row_whose_error_is_the_scatter_counts_half():
    own = np.where(np.arange(24) % 3 == 0, 0.005, 0.0)
    weights = np.array([error_weights(L_N, X, noisy(own, seed), own, LOG) for seed in range(20)])
    assert np.ptp(weights[:, own == 0], axis=1) == pytest.approx(0, abs=1e-12)
    assert (weights[:, 0] / weights[:, 1]).mean() == pytest.approx(0.5, abs=0.1)


def test_weights_are_as_many_as_the_rows_however_large_their_errors():
    """Ten rows with errors of 5 % are ten measurements: as 0.4, their intervals would have no degree of freedom."""
    for own in (np.zeros(24), np.full(24, 0.001), np.full(24, 0.05)):
        np.testing.assert_allclose(error_weights(L_N, X, noisy(own), own, LOG), 1.0)
    own = np.linspace(0, 0.05, 24)
    assert error_weights(L_N, X, noisy(own), own, LOG).sum() == pytest.approx(24)


def test_a_hopeless_row_hardly_counts():
    own = np.zeros(24)
    own[5] = 0.5
    assert error_weights(L_N, X, noisy(own), own, LOG)[5] < 0.01


def test_counts_and_errors_are_taken_together():
    own = np.where(np.arange(24) % 2, 0.0, 0.005)
    counts = np.where(np.arange(24) < 12, 4.0, 1.0)
    weights = error_weights(L_N, X, noisy(own), own, LOG, counts)
    assert weights.sum() == pytest.approx(counts.sum())
    assert weights[1] / weights[13] == pytest.approx(4) and 1 < weights[0] / weights[12] < 4


@pytest.mark.parametrize(("sweeps", "least"), [(8, 7), pytest.param(40, 35, marks=pytest.mark.slow)])
@pytest.mark.parametrize("own", [np.full(16, 0.02), np.where(np.arange(16) < 8, 0.0, 0.02)])
def test_intervals_of_extrapolated_runs_cover(own, sweeps, least):
    """Sweeps with 0.3 % between runs, none or half of them converged: of 40, two standard errors of 95 % are 7 %.

    200 sweeps cover 92 to 95 %, see `error_weights`.
    """
    n, truth = 2.0 ** np.linspace(9, 16.5, 16), TRUTH["L_N"]
    y, hits = L_N.loss(truth, {"n_latents": n}), []
    for seed in range(sweeps):
        loss = y * np.exp(np.hypot(0.003, own) * np.random.default_rng(seed).standard_normal(16))
        weights = error_weights(L_N, n, loss, own, LOG)
        alpha = fit_law("L_N", n, loss, weights=weights, hold_out=False, compare=False).params["alpha"]
        hits.append((alpha.low or -np.inf) <= truth["alpha"] <= (alpha.high or np.inf))
    assert sum(hits) >= least


def test_an_uncertain_limit_does_not_move_the_law_much():
    """The largest n stopped far from converged, its L∞ 10 % too low but uncertain: counted fully it would."""
    runs, _ = Sweep().tables(lrs=LRS[4:5])
    (without,) = fit_table(runs, laws=["L_N"])
    last = runs["n_latents"] == N[-1]
    runs["last_doubling"] = 0.2 * last
    runs.loc[last, "converged"] = False
    (fit,) = fit_table(runs, laws=["L_N"], options=FitOptions(unconverged="extrapolate"))
    assert fit.points[-1].response == pytest.approx(0.9 * runs["nmse"].iloc[-1])
    counted = fit_law("L_N", runs["n_latents"], [point.response for point in fit.points])
    truth = without.params["alpha"].value
    assert abs(fit.params["alpha"].value - truth) < 0.5 * abs(counted.params["alpha"].value - truth)


def test_weights_are_in_the_result():
    runs, _ = Sweep(noise=0.002).tables(lrs=LRS[4:5])
    runs.loc[runs["n_latents"] == N[2], "converged"] = False
    (fit,) = fit_table(runs, laws=["L_N"], options=FitOptions(unconverged="extrapolate"))
    weights = [point.weight for point in fit.points]
    assert weights[2] < weights[0] == weights[1] and sum(weights) == pytest.approx(len(weights))
    assert [point.run.extrapolated for point in fit.points] == [False, False, True, False, False, False]
    assert "1 run is not converged: 1 at the L∞ of their tails, by its error." in fit.warnings


@pytest.mark.parametrize("converged", [False, True])
def test_a_law_of_unfinished_runs_alone_says_how_seldom_its_intervals_held_the_truth(converged):
    runs, _ = Sweep(noise=0.002).tables(lrs=LRS[4:5])
    runs["converged"] = [converged, *[False] * (len(runs) - 1)]
    (fit,) = fit_table(runs, laws=["L_N"], options=FitOptions(unconverged="extrapolate"))
    assert any("held the truth in 85 % of 40 tables" in text for text in fit.warnings) is not converged
