"""Tokens to convergence, and losses over budgets of tokens."""

import numpy as np
import pandas as pd
import pytest

from fit.converged.tokens import by_budget, to_convergence
from fit.law.errors import FitError
from fit.law.laws import LAWS
from fit.study import fit_table
from tests.fit.laws_under_test import TRUTH
from tests.fit.sweep_tables import LRS, N, Sweep

SWEEP = Sweep()


def test_tokens_are_those_of_the_first_evaluation_within_epsilon_whatever_came_after():
    for beyond in (1.2, 8.0):
        runs, curves = SWEEP.tables(lrs=LRS[4:5], beyond=beyond)
        found, rule = to_convergence(runs, curves)
        assert "first D" in rule
        truth = [SWEEP.tokens(n, LRS[4]) for n in found["n_latents"]]
        np.testing.assert_allclose(found["tokens"], truth, rtol=1e-2)


def test_without_curves_only_runs_that_stopped_at_convergence_tell():
    runs, _ = SWEEP.tables(lrs=LRS[4:5])
    with pytest.raises(FitError, match="or runs with stop=converged"):
        to_convergence(runs, None)
    found, rule = to_convergence(runs.assign(stop=["converged", "budget"] * 3), None)
    assert list(found["n_latents"]) == list(N[::2]) and "stopped at convergence" in rule


def test_a_curve_that_begins_within_epsilon_does_not_tell_when():
    runs, curves = SWEEP.tables(lrs=LRS[4:5])
    late = curves["tokens"] > 0.99 * curves["run_id"].map(runs.set_index("run_id")["tokens"]) / 1.5 * 1.2
    found, _ = to_convergence(
        runs, pd.concat([curves[curves["n_latents"] > 300], curves[late & (curves["n_latents"] < 300)]])
    )
    assert list(found["n_latents"]) == list(N[1:])


def test_law_of_tokens_has_the_exponent_of_the_sweep():
    """At lr ∝ n^−1/2 the tokens are n^0.6·L∞^(−1/g): a little steeper than 0.6, by the falling L∞."""
    tables = [SWEEP.tables(ns=(n,), lrs=(SWEEP.lr_N(n),)) for n in N]
    runs, curves = (pd.concat(parts, ignore_index=True) for parts in zip(*tables, strict=True))
    (fit,) = fit_table(runs, curves, laws=["T_N"])
    truth = np.polyfit(np.log(N), np.log([SWEEP.tokens(n, SWEEP.lr_N(n)) for n in N]), 1)[0]
    assert fit.params["g"].value == pytest.approx(truth, abs=0.003) and 0.6 < truth < 1.2
    assert fit.extra.paper.g == (0.60, 0.65) and fit.regime == "converged"
    assert fit.response == "tokens" and fit.points[0].response > 1e4


def test_budgets_take_the_lowest_curve_of_each_n():
    runs, curves = SWEEP.tables(ns=N[:2])
    rows = by_budget(curves)
    assert not rows.duplicated(["n_latents", "tokens"]).any()
    for n, part in rows.groupby("n_latents"):
        D = part["tokens"].to_numpy()
        best = SWEEP.loss(n, D[:, None], np.array(LRS)).min(axis=1)
        np.testing.assert_allclose(part["nmse"], best, rtol=0.02)
        # The fast lr end before the slow ones: what only slow ones reach is no lowest loss.
        assert (np.diff(part["nmse"]) < 0).all() and D.max() < curves["tokens"].max() / 4


def test_law_over_tokens_resamples_runs_and_uses_ends_where_lr_decays():
    runs, curves = SWEEP.tables(lrs=LRS[4:6])
    (fit,) = fit_table(runs, curves, laws=["L_ND"])
    assert "over runs" in fit.params["beta"].method and fit.rows > 100
    decayed = curves.assign(lr_schedule="cosine")
    assert len(by_budget(decayed)) <= len(runs)


def test_law_over_tokens_of_a_foreign_table_takes_every_row():
    rng = np.random.default_rng(0)
    n, D = np.repeat(2.0 ** np.arange(8, 14), 6), np.tile(np.geomspace(1e6, 1e9, 6), 6)
    loss = (0.2 + 3 * n**-0.4 + 40 * D**-0.3) * np.exp(0.002 * rng.standard_normal(36))
    table = pd.DataFrame({"N": n, "D": D, "loss": loss})
    (fit,) = fit_table(table, laws=["L_ND"], mapping={"n_latents": "N", "tokens": "D", "nmse": "loss"})
    assert fit.rows == 36 and fit.params["alpha"].method == "profile"
    assert fit.params["alpha"].low < 0.4 < fit.params["alpha"].high


def test_law_over_tokens_and_k_has_every_k():
    """Curves of the law itself: three k, each with a run an n; every k is in one fit, and comes out as it went in."""
    law, truth = LAWS["L_NDK"], TRUTH["L_NDK"]
    n, k, D = (v.ravel() for v in np.meshgrid(N, (16, 32, 64), np.geomspace(1e6, 1e9, 12), indexing="ij"))
    curves = pd.DataFrame({"n_latents": n, "k": k, "tokens": D}).astype(float)
    curves["nmse"] = law.loss(truth, {name: curves[name].to_numpy() for name in law.inputs})
    curves["run_id"] = [f"{a}-{b}" for a, b in zip(n, k, strict=True)]
    runs = curves.groupby("run_id", as_index=False).last()
    (fit,) = fit_table(runs, curves, laws=["L_NDK"])
    assert {point.inputs["k"] for point in fit.points} == {16, 32, 64} and fit.group == {}
    assert {name: p.value for name, p in fit.params.items()} == pytest.approx(truth, rel=0.05)
