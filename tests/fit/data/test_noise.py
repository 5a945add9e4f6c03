"""The noise of a study: from seeds, else from curves, else unknown."""

import numpy as np
import pandas as pd
import pytest

from fit.data.noise import noise_of_evaluations, noise_of_runs, noise_of_seeds
from fit.law.checks.noise import KnownFrom
from fit.study.fitting import fit_table

D = np.geomspace(2**14, 2**22, 33)


def tables(seeds=1, seed_noise=0.004, curve_noise=0.001, sizes=8):
    """Runs and their curves: L(N) times a tail, an error of each run and one of each evaluation."""
    rng = np.random.default_rng(3)
    runs, curves = [], []
    for i, n in enumerate(2.0 ** np.arange(8, 8 + sizes)):
        for seed in range(seeds):
            own = np.exp(seed_noise * rng.standard_normal())
            loss = (
                (0.1 + 2 * n**-0.4)
                * (1 + 200 * D**-0.6)
                * own
                * np.exp(curve_noise * rng.standard_normal(33))
            )
            run = {"run_id": f"{i}-{seed}", "n_latents": n, "k": 32, "lr": 1e-3, "seed": seed}
            flops = {"flops_sparse": n * D, "flops_dense": 2 * n * D}
            curves.append(
                pd.DataFrame({**run, "tokens": D, "nmse": loss, **flops, "lr_schedule": "constant"})
            )
            runs.append({**run, "nmse": loss[-1], "state": "done", "converged": True, "tokens": D[-1]})
    return pd.DataFrame(runs), pd.concat(curves, ignore_index=True)


def test_seeds_come_before_curves_and_the_mean_of_three_has_less_noise():
    runs, curves = tables(seeds=3)
    known = noise_of_seeds(runs)
    by_hand = np.log(runs["nmse"].to_numpy()).reshape(8, 3).var(axis=1, ddof=1).mean() ** 0.5
    assert known.rms == pytest.approx(by_hand) and known.dof == 16
    means = runs.drop_duplicates("n_latents").assign(seeds=3)
    assert noise_of_runs(means, runs, curves).rms == pytest.approx(by_hand / 3**0.5)
    assert noise_of_evaluations(curves).known_from is KnownFrom.SEEDS


def test_without_seeds_the_curves_of_the_rows_show_the_noise():
    runs, curves = tables()
    known = noise_of_runs(runs, runs, curves)
    assert known.known_from is KnownFrom.CURVES and known.rms == pytest.approx(0.001, rel=0.3)
    assert noise_of_runs(runs, runs, None) is None
    assert noise_of_runs(runs.assign(extrapolated=True), runs, curves) is None
    assert noise_of_evaluations(curves.assign(lr_schedule="cosine")) is None


def test_every_law_of_a_study_is_tested():
    runs, curves = tables()
    fits = fit_table(runs, curves, ["L_N", "L_C", "L_ND"], say=str)
    assert {
        fit.law: str(fit.lack_of_fit.known_from) for fit in fits if fit.law in ("L_N", "L_C", "L_ND")
    } == {
        "L_N": "curves",
        "L_C": "curves",
        "L_ND": "curves",
    }
    assert not fits[0].lack_of_fit.refuted
    runs, curves = tables(seeds=3)
    (l_n,) = fit_table(runs, curves, ["L_N"])
    assert l_n.lack_of_fit.known_from is KnownFrom.SEEDS and l_n.rows == 8
