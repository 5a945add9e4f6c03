"""L(C) against L(N): lr ratio, batch size, floors and budgets, on sweeps whose truth is known."""

import json

import numpy as np
import pandas as pd
import pytest

from fit.compute import fit as compute_regime
from fit.compute import frontier as fit_frontiers
from fit.compute import sensitivity
from fit.compute.frontier import LOOSER, frontier
from fit.compute.optimal_point import compute_optimal_points
from fit.law.caution import Kind
from fit.law.json_values import plain
from fit.law.options import FitOptions
from fit.law.result import DerivedQuantity, Param
from fit.regimes import batch, floors
from fit.regimes.budgets import budgets
from fit.regimes.compare import compare
from fit.regimes.lr_ratio import lr_ratio
from fit.study import fit_study
from fit.views.lines import regimes as report
from fit.views.lines.regimes import batch_effect, regime_lines
from fit.views.lines.regimes import lr_ratio as lr_ratio_text
from tests.fit.sweep_tables import LRS, N, Sweep

SWEEP = Sweep()
RUNS, CURVES = SWEEP.tables()
FOUND = frontier(CURVES, "flops_sparse", 5)


def regimes(runs=RUNS, curves=CURVES, fits=()):
    return compare(runs, curves, fits, FitOptions())


def test_an_n_is_compute_optimal_in_the_middle_of_its_stretch_of_the_frontier():
    points = compute_optimal_points(FOUND)
    assert list(points) == [512, 1024, 2048, 4096]
    for n, optimum in points.items():
        held = FOUND.points[FOUND.points["n_latents"] == n]["flops"]
        assert held.min() <= np.exp(optimum.log_c) <= held.max()
        D = np.exp(optimum.log_d)
        assert np.exp(optimum.log_l) == pytest.approx(SWEEP.loss(n, D, np.array(LRS)).min(), rel=0.01)


def true_ratio(n, D):
    return SWEEP.lr_at(n, D) / SWEEP.lr_N(n)


def test_ratio_of_the_learning_rates_is_that_of_the_sweep():
    points = compute_optimal_points(FOUND)
    truth = np.exp(np.mean([np.log(true_ratio(n, np.exp(optimum.log_d))) for n, optimum in points.items()]))
    ratio = lr_ratio(points, RUNS)
    assert truth == pytest.approx(4.06, abs=0.01)
    assert ratio.value == pytest.approx(truth, rel=0.05) and ratio.low < ratio.value < ratio.high
    assert sum(point.compute for point in ratio.points) == 4 and len(ratio.points) == 10
    assert "the paper says ≈ 4" in lr_ratio_text(ratio)[0]


@pytest.mark.parametrize(("sweeps", "least"), [(5, 4), pytest.param(20, 16, marks=pytest.mark.slow)])
def test_ratio_of_noisy_sweeps_covers_the_truth(sweeps, least):
    hits = 0
    for seed in range(sweeps):
        runs, curves = Sweep(noise=0.001).tables(rng=seed)
        points = compute_optimal_points(frontier(curves, "flops_sparse", 5))
        ratio = lr_ratio(points, runs)
        truth = np.exp(
            np.mean([np.log(true_ratio(n, np.exp(optimum.log_d))) for n, optimum in points.items()])
        )
        hits += ratio.low < truth < ratio.high
    assert hits >= least


def test_two_n_with_both_optima_give_a_ratio_and_one_gives_none():
    points = compute_optimal_points(FOUND)
    two = {n: points[n] for n in (512, 1024)}
    few = RUNS[RUNS["n_latents"].isin([512, 1024])]
    ratio = lr_ratio(two, few)
    assert "mean over 2 n" in ratio.method and ratio.low < ratio.value < ratio.high
    ratio = lr_ratio({512: points[512]}, few)
    assert ratio.value is None and "Two n_latents with both optima are needed." in ratio.reasons


def test_edges_of_the_lr_grid_are_told():
    runs, curves = SWEEP.tables(lrs=LRS[:4])
    found = frontier(curves, "flops_sparse", 5)
    ratio = lr_ratio(compute_optimal_points(found), runs)
    assert ratio.value is None
    assert any("lr* is unknown at" in reason for reason in ratio.reasons)


BATCHES = (512, 1024, 2048)


@pytest.mark.parametrize("b", [0.0, 0.15])
def test_batch_moves_the_frontier_and_not_the_limit(b):
    runs, curves = Sweep(b=b, noise=0.001).tables(lrs=LRS[2:9], batches=BATCHES)
    converged = batch.at_convergence(runs)
    found = frontier(curves, "flops_sparse", 5)
    compute = batch.at_compute(found.candidates, compute_optimal_points(found))
    assert converged.effect in ("not significant", "significant but small") and abs(converged.spread) < 0.002
    if b:
        assert compute.effect == "substantial" and compute.b > 0 and compute.p < 0.02
    else:
        assert abs(compute.spread) < 0.005
    assert converged.tuned and compute.tuned and converged.batches == compute.batches == BATCHES
    assert "B = 512 to 2,048" in batch_effect(compute) and compute.effect in batch_effect(compute)


def test_exponent_of_the_batch_is_recovered():
    x = np.log(np.tile([512.0, 1024.0, 2048.0], 8))
    cell = np.repeat(np.arange(8), 3)
    y = cell * 0.3 + 0.07 * x
    test = batch._tested("converged", x, y, cell, True)
    assert test.b == pytest.approx(0.07) and test.spread == pytest.approx(4**0.07 - 1) and test.cells == 8


def test_five_percent_of_true_nulls_are_rejected():
    """Two standard errors of 400 tables, of 8 cells with 1 % noise, are 2.2 %."""
    rng = np.random.default_rng(0)
    x = np.log(np.tile([512.0, 1024.0, 2048.0], 8))
    cell = np.repeat(np.arange(8), 3)
    noise = 0.01 * rng.standard_normal((400, 24))
    rejected = sum(batch._tested("converged", x, cell * 0.3 + e, cell, True).p < 0.05 for e in noise)
    assert 0.028 <= rejected / 400 <= 0.072


@pytest.mark.parametrize(
    ("p", "spread", "words"),
    [(0.06, 0.2, "not significant"), (0.04, -0.02, "substantial"), (0.04, 0.005, "significant but small")],
)
def test_an_effect_of_the_batch_is_significant_at_5_percent(p, spread, words):
    assert batch._effect(p, spread) == words


def test_batches_that_were_not_tuned_say_so():
    runs, curves = SWEEP.tables(lrs=LRS[4:5], batches=BATCHES)
    found = regimes(runs, curves)
    assert any("lr was not retuned" in line for line in regime_lines(found))


def test_one_batch_is_no_test():
    assert batch.at_convergence(RUNS).reason == "all runs have one batch size, 1,024."
    assert (
        batch.at_compute(FOUND.candidates, compute_optimal_points(FOUND)).reason
        == "all runs have one batch size, 1,024."
    )
    assert batch.at_convergence(RUNS.drop(columns="batch_tokens")).effect == "unknown"


class Fit:
    """As much of a FitResult as floors are read from."""

    def __init__(self, law, k, value, low, high):
        self.law, self.group = law, {} if law == "L_NK" else {"k": k}
        self.params, self.derived = {}, {}
        if law == "L_NK":
            quantity = DerivedQuantity(value, low, high, "profile", None, "E", {"k": 256})
            self.derived = {"E(k=256)": quantity}
        else:
            self.params = {"E": Param(value, low, high, "profile")}


def test_floors_that_disagree_are_told_and_those_that_do_not_are_not():
    """Gao et al. 2024: the floor of L(C) at k=256 is 0.09, that of L(N, k=256) 0.157."""
    found = floors.floors(
        [
            Fit("L_C", 256, 0.09, 0.06, 0.12),
            Fit("L_N", 256, 0.130, 0.09, 0.16),
            Fit("L_NK", None, 0.157, 0.139, 0.172),
            Fit("L_N", 32, 0.5, 0.49, 0.51),
        ]
    )
    (caution,) = floors.disagreements(found)
    assert caution.kind is Kind.DISAGREEMENT and caution.of == ("L_C", "L_NK")
    assert caution.text.startswith("The floors of L_C, 0.09 [0.06, 0.12], and of L_NK, 0.157")
    assert "at k=256" in caution.text
    first, second = report._floors(found)
    assert first.startswith("floors at k=256: L_C 0.090") and second.startswith("floors at k=32: L_N 0.5")


def test_an_open_or_absent_floor_disagrees_with_nothing():
    found = floors.floors(
        [Fit("L_C", 32, 0.09, None, None), Fit("L_N", 32, 0.5, 0.49, 0.51), Fit("L_N", 32, None, None, None)]
    )
    assert floors.disagreements(found) == []


def test_budgets_are_those_of_the_sweep():
    (group,) = regimes().groups
    assert [row.n_latents for row in group.budgets] == [512, 1024, 2048, 4096]
    for row in group.budgets:
        n, compute, end = row.n_latents, row.compute, row.converged
        best = min(SWEEP.loss(n, 1.5 * SWEEP.tokens(n, lr), lr) for lr in LRS)
        assert end.nmse == pytest.approx(best, rel=1e-6)
        lr = LRS[int(np.argmin([SWEEP.loss(n, 1.5 * SWEEP.tokens(n, lr), lr) for lr in LRS]))]
        assert end.tokens == pytest.approx(SWEEP.seen() * SWEEP.tokens(n, lr), rel=0.01)
        assert row.token_ratio == pytest.approx(end.tokens / compute.tokens)
        assert row.loss_gap == pytest.approx(compute.nmse / end.nmse - 1)
        gaps = [step.gap for step in row.between]
        assert gaps[0] == pytest.approx(row.loss_gap, rel=1e-6) and sorted(gaps, reverse=True) == gaps
        middle = row.between[2]
        assert row.half_way == middle
        assert middle.tokens == pytest.approx(np.sqrt(compute.tokens * end.tokens))
        assert middle.nmse == pytest.approx(SWEEP.loss(n, middle.tokens, np.array(LRS)).min(), rel=0.01)
    assert (
        "No gap at n_latents=256, 8,192: converged, but never on the frontier within the grid of n."
        in group.reasons
    )


def test_an_n_without_a_converged_run_has_no_gap():
    (group,) = regimes(RUNS.assign(converged=RUNS["converged"] & (RUNS["n_latents"] != 1024))).groups
    assert [row.n_latents for row in group.budgets] == [512, 2048, 4096]
    assert "No gap at n_latents=1,024: on the frontier, but no converged run." in group.reasons


def test_study_has_fits_and_both_regimes_in_words_and_in_json(capsys):
    study = fit_study(RUNS, CURVES, options=FitOptions(draws=40))
    assert {fit.law for fit in study.fits} == {"L_C", "N_C", "D_C", "LR_C", "L_N", "T_N", "LR_N"}
    text = "\n".join(regime_lines(study.regimes))
    assert LOOSER in text and "ρ = lr*(L(C)) / lr*(L(N)) is " in text and "floors at k=32: L_C" in text
    content = json.loads(json.dumps(plain(study.regimes.to_dict()), allow_nan=False))
    assert set(content) == {"groups", "floors", "cautions", "warnings", "reasons", "caution"}
    assert content["groups"][0]["group"] == {"k": 32}


def test_a_frontier_is_built_once_a_group(monkeypatch):
    """For L(C), its optima, its sensitivity and the regimes; once more for the other convention of FLOPs."""
    built = []

    def counted(module):
        original = module.frontier

        def call(*arguments):
            built.append(module.__name__)
            return original(*arguments)

        monkeypatch.setattr(module, "frontier", call)

    counted(compute_regime)
    counted(sensitivity)
    vertices = []
    original = fit_frontiers.isoflops
    monkeypatch.setattr(fit_frontiers, "isoflops", lambda *a, **k: vertices.append(1) or original(*a, **k))
    fit_study(RUNS, CURVES, laws=["L_C", "N_C", "L_N"], options=FitOptions(draws=20), say=str)
    assert built == ["fit.compute.fit", "fit.compute.sensitivity"] and len(vertices) == 1


def test_one_regime_alone_is_not_compared():
    assert fit_study(RUNS, CURVES, laws=["L_N"]).regimes is None


def test_what_a_table_cannot_tell_is_said_in_a_line_each():
    runs, curves = SWEEP.tables(lrs=LRS[4:5])
    (group,) = regimes(runs, curves.drop(columns="tokens")).groups
    assert group.ratio.value is None and group.batch[0].reason and group.batch[1].reason
    assert any("tokens" in reason for reason in group.reasons)
    assert group.budgets == ()


def test_groups_of_k_stand_apart():
    runs, curves = (pd.concat(parts) for parts in zip(SWEEP.tables(), SWEEP.tables(ks=(64,)), strict=True))
    assert [group.group for group in regimes(runs, curves).groups] == [{"k": 32}, {"k": 64}]
    assert len(N) == 6


def test_budgets_of_runs_whose_time_to_convergence_is_missing_are_left_out():
    """`tokens` of a nullable column, as tables of runs that converged before their first evaluation have it."""
    converged = pd.DataFrame({"n_latents": [16.0], "nmse": [0.3], "tokens": pd.array([pd.NA], "Float64")})
    assert budgets({}, converged)[0] == []
