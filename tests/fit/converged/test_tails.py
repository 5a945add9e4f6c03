"""L∞ of unfinished runs: its interval holds the limit of real curves that were cut, and of power laws."""

from pathlib import Path
from time import process_time

import numpy as np
import pandas as pd
import pytest

from benchmarks.laws.tails import LAW_CUTS, TARGET, Study, coverage, half, held, laws, stopped
from fit.converged import tails
from fit.converged.runs import converged
from fit.converged.tails import COLUMNS, RATIO, from_curve, limits
from fit.study import fit_table
from sae_core.training import convergence

ROOT = Path(__file__).parents[3]
D = np.geomspace(1e4, 1e6, 28)  # 4 a doubling
DEMO = Path(__file__).parents[1] / "cases" / "demo"


def curve(g, noise=1e-3, seed=0, inf=0.3, A=0.02):
    scatter = noise * np.random.default_rng(seed).standard_normal(len(D))
    return (inf + A * (D / D[-1]) ** -g) * (1 + scatter)


def read(name):
    if name == "smollm2":
        return Study.read(ROOT / "docs" / "smollm2")
    return Study("demo", pd.read_csv(DEMO / "runs.csv"), pd.read_csv(DEMO / "curves.csv"))


@pytest.fixture(scope="module", params=["smollm2", "demo"])
def study(request):
    return read(request.param)


@pytest.mark.parametrize("share", LAW_CUTS)
def test_the_interval_of_a_real_curve_that_was_cut_holds_its_limit(study, share):
    """The tail that the trainer fits, ± 1.96 standard errors, holds it in 43 to 71 %."""
    c = coverage(study, share)
    assert c.before < 0.75 and c.now >= 0.9 and c.table_only >= 0.9
    assert c.width < 0.08


@pytest.mark.parametrize("share", LAW_CUTS)
@pytest.mark.slow
def test_the_law_of_cut_runs_holds_the_parameters_of_the_whole(study, share):
    outside = [(k, name) for k, name, *_, inside in held(study, share) if not inside]
    assert outside == []


def test_trainer_and_fit_expect_the_same_gap():
    assert convergence._EXPECTED_RATIO == RATIO


@pytest.mark.slow
def test_the_law_of_runs_that_stopped_early_is_inside_the_interval_of_the_whole():
    """At the default target, on the real curves whose two losses are known apart."""
    whole = read("smollm2")
    row = stopped(whole, TARGET, laws(whole, "drop"))
    assert row.inside == row.holding == row.parameters == 4
    assert row.held >= 0.95 and row.rms < 0.01 and row.tokens < 0.65 and row.stopped == 1


def test_half_of_the_tokens_predict_the_final_loss_of_real_runs_to_2_percent():
    row = half(read("smollm2"))
    assert row.rms < 0.005 < 0.01 < row.rms_last < row.rms_tail


@pytest.mark.parametrize("g", [0.3, 0.5, 1.0, 2.5])
def test_a_power_law_is_held_however_slow(g):
    hits = 0
    for seed in range(60):
        L = curve(g, seed=seed)
        _, low, high, *_ = from_curve(D, L).limit()
        hits += low <= 0.3 / L[-1] <= high
    assert hits >= 54


def test_a_curve_that_bends_away_from_its_past_is_not_continued():
    """The past of both curves goes on with a slow fall; the second one ends nearly flat."""
    straight, bent = curve(0.3, 3e-4), curve(0.3, 3e-4)
    bent[-6:] = bent[-6] * np.linspace(1, 0.999, 6)
    assert from_curve(D, straight).own > 0.04
    assert from_curve(D, bent).own is None


def test_half_of_the_last_fall_is_still_to_come():
    tail = from_curve(D, curve(1.0, noise=0, A=0.01))
    value, low, high, error, *shared = tail.limit()
    assert value == pytest.approx(1 - 0.5 * tail.fall) and high == pytest.approx(1, rel=1e-3)
    assert 1 - low == pytest.approx(1.5 * tail.fall, rel=1e-3)
    assert error == pytest.approx(np.hypot(0.35 * 0.5, 1.1 / 3.92) * tail.fall, rel=0.1)
    assert shared == pytest.approx([-0.7 * tail.fall, 0.4 * tail.fall], rel=0.1)


def test_a_noisy_flat_curve_is_at_its_limit_up_to_noise():
    L = 0.3 * (1 + 1e-3 * np.random.default_rng(3).standard_normal(28))
    value, low, high, *_ = from_curve(D, L).limit()
    assert 0.99 < low < value < 1 < high < 1.005


def test_what_says_nothing_has_no_limit():
    assert np.isnan(from_curve(D, np.linspace(0.3, 0.4, 28)).limit()).all()  # rises
    assert from_curve(D[-3:], np.array([0.3, 0.29, 0.28])) is None  # no doubling
    assert (
        from_curve(np.array([1.0, 2.0, 4.0]), np.array([0.3, 0.29, 0.28])) is None
    )  # one evaluation in the last


def test_an_early_run_has_no_lower_end_but_0():
    runs = pd.DataFrame({"nmse": [0.5], "last_doubling": [0.9]})
    (limit,) = limits(runs)[0].to_dict("records")
    assert limit["low"] == 0 and 0 < limit["value"] < 0.5 < limit["high"] < 0.502


def test_a_row_alone_also_holds_the_tail_that_the_trainer_fitted():
    row = {"nmse": 0.3, "last_doubling": 0.01, "nmse_inf": 0.28, "nmse_inf_se": 0.005}
    known, by_curve = limits(pd.DataFrame([row, {**row, "nmse_inf": np.nan}, {"nmse": 0.3}]))
    assert list(known.columns) == list(COLUMNS) and not by_curve.any()
    assert known["low"].iloc[0] == pytest.approx(0.28 - 1.96 * 0.005, abs=2e-3)
    assert known["low"].iloc[1] == pytest.approx(0.3 * (1 - 0.015), abs=1e-3)
    assert known.iloc[2].isna().all()


def test_evaluations_may_come_in_any_order_and_twice():
    L = curve(0.7)
    curves = pd.DataFrame({"run_id": "a", "tokens": D, "nmse": L})
    runs = pd.DataFrame({"run_id": ["a"], "nmse": [L[-1]]})
    mixed = pd.concat([curves.sample(frac=1, random_state=0), curves.iloc[:5], curves.assign(nmse=np.nan)])
    for table in (mixed, mixed.astype({"tokens": str, "nmse": str}).iloc[:33]):
        pd.testing.assert_frame_equal(limits(runs, table)[0], limits(runs, curves)[0])


def test_a_hundred_tails_take_two_seconds_at_most():
    runs = pd.DataFrame({"run_id": range(100), "nmse": 0.3})
    curves = [pd.DataFrame({"run_id": i, "tokens": D, "nmse": curve(0.5, seed=i)}) for i in range(100)]
    curves = pd.concat(curves)
    begin = process_time()
    limits(runs, curves)
    assert process_time() - begin < 2


def test_the_law_of_converged_runs_holds_the_longer_ones():
    """Trained on to 8 times its tokens, the run at n = 32 and k = 8 fell by another 1.76 %.

    Without what converged runs may still fall, the interval of α began at 0.462, and that of E at 0.160.
    """
    demo = read("demo")
    runs = demo.runs[demo.runs["k"] == 8]
    fell = np.where(runs["n_latents"] == 32, 0.0176, 0.0)
    longer = runs[["n_latents", "k"]].assign(nmse=runs["nmse"] * (1 - fell))
    (truth,) = fit_table(longer, laws=["L_N"], say=str)
    (fit,) = fit_table(runs, demo.curves, laws=["L_N"], say=str)
    for name, value in (("E", 0.156), ("alpha", 0.440)):
        param = fit.params[name]
        assert truth.params[name].value == pytest.approx(value, abs=5e-4)
        assert param.low < value < param.high


def test_what_a_converged_run_may_still_fall_is_its_tail_or_else_its_epsilon():
    runs = read("demo").runs.query("k == 8")
    curves = read("demo").curves
    (known,) = converged(runs, curves=curves)
    expected, _ = limits(known.rows, curves)
    lowest = np.log(expected["value"] / known.rows["nmse"]) + expected["shared_low"]
    np.testing.assert_allclose(known.rows["shared_low"], lowest)
    (alone,) = converged(runs.drop(columns="nmse_inf"))
    np.testing.assert_allclose(alone.rows["shared_low"], -np.log1p(runs["epsilon"].iloc[0]))
    (kept,) = converged(runs, unconverged="keep", curves=curves)
    assert "shared_low" not in kept.rows
    (nothing,) = converged(runs.drop(columns=["nmse_inf", "epsilon"]))
    assert "shared_low" not in nothing.rows


def test_ends_are_the_limits_and_what_a_rising_loss_has_reached_from_one_look_at_each_tail(monkeypatch):
    runs = pd.DataFrame({"run_id": ["falls", "rises", "unknown"], "nmse": [curve(1.0)[-1], 0.5, 0.4]})
    losses = {"falls": curve(1.0), "rises": np.linspace(0.3, 0.5, len(D))}
    curves = pd.concat([pd.DataFrame({"run_id": run, "tokens": D, "nmse": L}) for run, L in losses.items()])
    looks = []
    monkeypatch.setattr(tails, "from_curve", lambda *curve: looks.append(curve) or from_curve(*curve))
    ends = tails.ends(runs, curves)
    assert len(looks) == 2
    known, _ = limits(runs, curves)
    assert list(known["value"].notna()) == [True, False, False]
    pd.testing.assert_frame_equal(ends.iloc[[0, 2]], known.iloc[[0, 2]])
    assert list(ends.loc[1, ["value", "low", "high"]]) == [0.5] * 3
