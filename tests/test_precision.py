"""Rows with an error of their own count by it."""

import numpy as np
import pytest

from fit.choices import Choices
from fit.laws import named
from fit.losses import LOG
from fit.precision import precision
from fit.study import fit_table
from tests.laws_under_test import TRUTH
from tests.sweep_tables import LRS, N, Sweep

L_N, X = named("L_N"), {"n_latents": np.geomspace(2**8, 2**18, 24)}


def noisy(own, seed=0, scatter=0.005):
    rng = np.random.default_rng(seed)
    total = np.hypot(scatter, own)
    return L_N.loss(TRUTH["L_N"], X) * np.exp(total * rng.standard_normal(24))


def test_a_row_whose_error_is_the_scatter_counts_half():
    own = np.where(np.arange(24) % 3 == 0, 0.005, 0.0)
    weights = np.mean([precision(L_N, X, noisy(own, seed), own, LOG) for seed in range(20)], axis=0)
    assert (weights[own == 0] == 1).all()
    assert weights[own > 0].mean() == pytest.approx(0.5, abs=0.1)


def test_precise_rows_all_count_alike_and_hopeless_ones_hardly():
    own = np.zeros(24)
    np.testing.assert_array_equal(precision(L_N, X, noisy(own), own, LOG), 1.0)
    own[5] = 0.5
    assert precision(L_N, X, noisy(own), own, LOG)[5] < 0.01


def test_an_uncertain_limit_does_not_move_the_law_much():
    """The largest n stopped far from converged, its L∞ 10 % too low with an error of 10 %: counted fully it would."""
    runs, _ = Sweep().tables(lrs=LRS[4:5])
    last = runs["n_latents"] == N[-1]
    runs.loc[last, "converged"] = False
    runs.loc[last, "nmse_inf"] *= 0.9
    alphas = {}
    for error in (1e-9, 0.1):
        runs.loc[last, "nmse_inf_se"] = error * runs.loc[last, "nmse_inf"]
        (fit,) = fit_table(runs, laws=["L_N"], choices=Choices(unconverged="extrapolate"))
        alphas[error] = fit.params["alpha"].value
    (without,) = fit_table(runs, laws=["L_N"])
    truth = without.params["alpha"].value
    assert abs(alphas[0.1] - truth) < 0.2 * abs(alphas[1e-9] - truth)


def test_weights_are_in_the_result():
    runs, _ = Sweep(noise=0.002).tables(lrs=LRS[4:5])
    runs.loc[runs["n_latents"] == N[2], "converged"] = False
    (fit,) = fit_table(runs, laws=["L_N"], choices=Choices(unconverged="extrapolate"))
    weights = [point["weight"] for point in fit.points]
    assert weights[2] < 1 and weights[:2] == [1, 1]
    assert "1 run is not converged: 1 at the L∞ of their tails, by its error." in fit.warnings
