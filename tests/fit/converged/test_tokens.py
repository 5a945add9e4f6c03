"""Tokens to convergence, and losses over budgets of tokens."""

import numpy as np
import pandas as pd
import pytest

from fit.converged.tails import limits
from fit.converged.tokens import by_budget, to_convergence
from fit.law.errors import FitError
from fit.law.laws import LAWS
from fit.study import fit_table
from tests.fit.laws_under_test import TRUTH
from tests.fit.sweep_tables import LRS, N, Sweep

SWEEP = Sweep()


@pytest.mark.parametrize("beyond", [1.2, 8.0])
def test_tokens_are_those_of_the_first_evaluation_within_epsilon_whatever_came_after(beyond):
    """The limit is that of R = 0.5 where these curves have R = 1, and its error holds that."""
    runs, curves = SWEEP.tables(lrs=LRS[4:5], beyond=beyond)
    found, rule = to_convergence(runs, curves)
    assert "first D" in rule
    truth = np.log([SWEEP.tokens(n, LRS[4]) for n in found["n_latents"]])
    T = np.log(found["tokens"])
    np.testing.assert_allclose(T - truth, np.log(SWEEP.seen(beyond)), atol=0.01)
    assert (T + found["shared_high"] < truth).all() and (truth < T + found["shared_low"]).all()


def test_the_limit_is_that_of_the_tail_as_for_the_law_of_the_loss_not_the_trainers():
    """Another nmse_inf changes nothing; the loss at T is 1 + ε times the L∞ of `tails.limits`."""
    runs, curves = SWEEP.tables(lrs=LRS[4:5])
    found, _ = to_convergence(runs, curves)
    for other in (runs.drop(columns=["nmse_inf", "nmse_inf_se"]), runs.assign(nmse_inf=1e-3)):
        again, _ = to_convergence(other, curves)
        np.testing.assert_array_equal(again["tokens"], found["tokens"])
    limit = limits(runs, curves)[0]["value"]
    for (_, run), inf in zip(found.iterrows(), limit, strict=True):
        assert SWEEP.loss(run["n_latents"], run["tokens"], run["lr"]) == pytest.approx(1.01 * inf, rel=1e-3)


def test_a_run_at_its_extrapolated_limit_has_the_tokens_that_its_curve_tells():
    runs, curves = SWEEP.tables(lrs=LRS[4:5])
    limit = limits(runs, curves)[0]["value"]
    at_limit = runs.assign(nmse=limit, shared_low=-1.0, shared_high=1.0)
    pd.testing.assert_frame_equal(
        *(to_convergence(table, curves)[0].drop(columns="nmse") for table in (runs, at_limit)),
        check_like=True,
    )


def test_the_interval_of_the_law_of_tokens_holds_the_error_that_limits_share(monkeypatch):
    tables = [SWEEP.tables(ns=(n,), lrs=(SWEEP.lr_N(n),)) for n in N]
    runs, curves = (pd.concat(parts, ignore_index=True) for parts in zip(*tables, strict=True))
    (fit,) = fit_table(runs, curves, laws=["T_N"])
    with monkeypatch.context() as patched:
        patched.setattr("fit.converged.fit.shared_errors", lambda *_: None)
        (alone,) = fit_table(runs, curves, laws=["T_N"])
    truth = SWEEP.tokens(N[-1], SWEEP.lr_N(N[-1]))
    held = [f.predict(n_latents=N[-1], interval="law") for f in (fit, alone)]
    assert [bool(low <= truth <= high) for _, (low,), (high,) in held] == [True, False]


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
