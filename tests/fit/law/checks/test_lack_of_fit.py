"""Lack of fit: the noise that seeds and curves show, and the laws that rows refute against it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import f as fisher

from fit.law.caution import Kind
from fit.law.checks.lack_of_fit import LackOfFit, lack_of_fit
from fit.law.checks.noise import KnownFrom, Noise, differences, from_curves, from_seeds, noise_of_rows
from fit.law.estimate import estimate
from fit.law.fit import fit_law
from fit.law.laws import named
from fit.law.rows import make_rows

SIZES = np.geomspace(2**8, 2**16, 9)
BUDGETS = np.geomspace(2**16, 2**24, 33)


def seeded(bend=0.0, noise=0.004, seeds=3, seed=0):
    """L(N) with `seeds` runs of each n, times 1 + bend in the middle of the range."""
    n = np.repeat(SIZES, seeds)
    x = np.log(n / SIZES.mean())
    loss = (0.1 + 2 * n**-0.4) * np.exp(bend * np.exp(-(x**2)))
    return {"n_latents": n}, loss * np.exp(noise * np.random.default_rng(seed).standard_normal(len(n)))


def curves(rho=0.0, run_noise=0.003, noise=0.001, seed=0):
    """A curve of each of seven n; rho ≠ 0 is an interaction that L_ND does not have."""
    rng = np.random.default_rng(seed)
    n, d = (grid.ravel() for grid in np.meshgrid(SIZES[:7], BUDGETS, indexing="ij"))
    run = np.repeat(np.arange(7), len(BUDGETS))
    loss = 0.1 + 3 * n**-0.4 + 300 * (n / 2**12) ** rho * d**-0.6
    off = run_noise * rng.standard_normal(7)[run] + noise * rng.standard_normal(len(n))
    return {"n_latents": n, "tokens": d}, loss * np.exp(off), run


def test_differences_leave_a_parabola_and_keep_the_noise():
    rng = np.random.default_rng(1)
    u = np.sort(rng.uniform(10, 14, 60))
    parabola = 1 - 0.3 * u + 0.02 * u**2
    assert np.abs(differences(np.exp(u), np.exp(parabola))).max() < 1e-12
    even = np.linspace(10, 30, 400)
    d = differences(np.exp(even), np.exp(0.01 * rng.standard_normal(400)))
    assert d.std() == pytest.approx(0.01, rel=0.15)


def test_curves_show_their_noise_in_spite_of_spikes_and_not_where_they_are_sparse():
    rng = np.random.default_rng(2)
    loss = (0.1 + 100 * BUDGETS**-0.5) * np.exp(0.002 * rng.standard_normal((6, len(BUDGETS))))
    loss[:, 12] *= 1.5
    known = from_curves((BUDGETS, curve) for curve in loss)
    assert known is not None and known.known_from is KnownFrom.CURVES
    assert known.rms == pytest.approx(0.002, rel=0.25)
    assert from_curves((BUDGETS[::4], curve[::4]) for curve in loss) is None


def test_noise_of_seeds_is_the_pure_error():
    x, loss = seeded()
    law = named("L_N")
    known = from_seeds(law, make_rows(law, x, loss))
    by_hand = np.log(loss).reshape(9, 3).var(axis=1, ddof=1).mean()
    assert known == Noise(pytest.approx(np.sqrt(by_hand)), 18.0, KnownFrom.SEEDS)


def test_several_rows_of_a_run_at_equal_inputs_are_one_measurement():
    """Ten rows of each of 18 runs, which differ by 2 %, about the law that made them: seldom refuted."""
    n = np.repeat(2.0 ** np.arange(9, 18), 2)
    run, rng = np.repeat(np.arange(18), 10), np.random.default_rng(0)
    refuted = 0
    for _ in range(20):
        e = 0.02 * rng.standard_normal(18)[run] + 0.001 * rng.standard_normal(180)
        y = (0.1 + 2 * n[run] ** -0.3) * np.exp(e)
        rows = make_rows(named("L_N"), n[run], y, cluster=run)
        refuted += lack_of_fit(estimate(named("L_N"), rows), rows, noise_of_rows(named("L_N"), rows)).refuted
    assert refuted <= 1


def test_copies_of_a_row_and_rows_of_one_run_are_no_seeds():
    x, loss = seeded(noise=0, seeds=2)
    law = named("L_N")
    assert from_seeds(law, make_rows(law, x, loss)) is None
    x, loss = seeded(seeds=2)
    assert from_seeds(law, make_rows(law, x, loss, cluster=np.repeat(np.arange(9), 2))) is None


def test_seeds_give_the_f_test_of_the_textbook():
    x, loss = seeded(bend=0.02)
    test = fit_law("L_N", x, loss, hold_out=False, compare=False).lack_of_fit
    fit = estimate(named("L_N"), make_rows(named("L_N"), x, loss))
    pure = ((np.log(loss).reshape(9, 3) - np.log(loss).reshape(9, 3).mean(axis=1)[:, None]) ** 2).sum()
    F = ((fit.deviance - pure) / (9 - 3)) / (pure / 18)
    assert test.p_value == pytest.approx(fisher.sf(F, 6, 18), rel=1e-6)
    assert test.refuted


def test_curves_of_few_seeds_count_runs_and_not_rows():
    """Runs differ by 2 %, so that rows of a run deviate together: 231 rows are 7 configurations."""
    x, loss, run = curves(run_noise=0.02)
    again = curves(run_noise=0.02, seed=1)
    both = {name: np.concatenate([x[name], again[0][name]]) for name in x}
    test = fit_law(
        "L_ND", both, np.concatenate([loss, again[1]]), cluster=np.concatenate([run, again[2] + 7]), draws=20
    ).lack_of_fit
    assert test.known_from is KnownFrom.SEEDS and test.noise == pytest.approx(0.02, rel=0.4)
    assert not test.refuted


@pytest.mark.parametrize("objective", ["log", "linear", "huber"])
def test_the_law_that_made_the_rows_is_not_refuted(objective):
    refuted = 0
    for seed in range(10):
        x, loss = seeded(seed=seed)
        fitted = fit_law("L_N", x, loss, objective=objective, hold_out=False, compare=False, method="delta")
        refuted += fitted.lack_of_fit.refuted
        x, loss, run = curves(seed=seed)
        rows = make_rows(named("L_ND"), x, loss, cluster=run)
        refuted += lack_of_fit(
            estimate(named("L_ND"), rows), rows, Noise(0.001, 20, KnownFrom.CURVES)
        ).refuted
    assert refuted <= 1


def test_a_law_without_the_interaction_is_refuted_by_curves_and_says_so_first():
    x, loss, run = curves(rho=0.4)
    result = fit_law("L_ND", x, loss, cluster=run, draws=20)
    test = result.lack_of_fit
    assert test.known_from is KnownFrom.CURVES and test.noise == pytest.approx(0.001, rel=0.3)
    assert test.refuted and test.ratio == pytest.approx(test.rms_log / test.noise)
    first = result.cautions[0]
    assert first.kind is Kind.REFUTED
    assert first.text.startswith(f"Residuals {100 * test.rms_log:.0f} % where the curves scatter by 0.")


def test_runs_that_differ_by_less_than_seeds_may_do_not_refute():
    """Curves do not show the scatter between runs: 2 % of it is no misfit, however smooth they are."""
    for seed in range(5):
        x, loss, run = curves(run_noise=0.02, noise=0.0001, seed=seed)
        rows = make_rows(named("L_ND"), x, loss, cluster=run)
        fit = estimate(named("L_ND"), rows)
        assert not lack_of_fit(fit, rows, noise_of_rows(named("L_ND"), rows)).refuted
    alone = make_rows(
        named("L_N"), {"n_latents": SIZES}, (0.1 + 2 * SIZES**-0.4) * (1 + 0.02 * (-1) ** np.arange(9))
    )
    noise = Noise(0.001, 20, KnownFrom.CURVES)
    assert not lack_of_fit(estimate(named("L_N"), alone), alone, noise).refuted


def test_single_runs_that_miss_a_law_by_far_more_than_runs_differ_refute_it():
    loss = (0.1 + 2 * SIZES**-0.4) * (1 + 0.08 * (-1) ** np.arange(9))
    rows = make_rows(named("L_N"), {"n_latents": SIZES}, loss)
    assert lack_of_fit(estimate(named("L_N"), rows), rows, Noise(0.001, 20, KnownFrom.CURVES)).refuted


def test_without_seeds_and_curves_nothing_is_known():
    x, loss = seeded(seeds=1)
    test = fit_law("L_N", x, loss).lack_of_fit
    assert test == LackOfFit(test.rms_log, measurements=9.0) and not test.refuted


def test_one_outlier_under_huber_does_not_refute():
    x, loss = seeded()
    loss[4] *= 1.3
    assert not fit_law("L_N", x, loss, objective="huber", method="delta", compare=False).lack_of_fit.refuted


def test_runs_that_differ_by_two_percent_do_not_refute_the_law_of_their_curves():
    """Twelve curves of L(N, D) with an error of 2 % for each run."""
    table = pd.read_csv(Path(__file__).parents[2] / "cases" / "curves_no_cluster.csv")
    law = named("L_ND")
    rows = make_rows(law, table, table["nmse"], cluster=table["name"])
    test = lack_of_fit(estimate(law, rows), rows, noise_of_rows(law, rows))
    assert test.ratio > 10 and test.known_from is KnownFrom.CURVES and not test.refuted
