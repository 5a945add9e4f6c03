"""N*(C), D*(C) and lr*(C): crossovers, exponents where they are known, intervals, and what is skipped or warned of."""

import numpy as np
import pandas as pd
import pytest

from fit.compute.frontier import frontier
from fit.compute.optima import NEEDED, Skipped, _disagree, _replicates, crossovers, optima
from fit.data.curves import Candidates, candidates
from tests.fit.compute_sweeps import sweep

RATES = (0.3, 0.6, 1.2, 2.4)


def found_in(table, min_flops=None):
    return frontier(table, "flops_sparse", 5, min_flops)


def by_way(of):
    return {(fit.law, fit.selection.method): fit for fit in of.fits}


@pytest.fixture(scope="module")
def whole():
    return optima(found_in(sweep(0.25, 0.4, rates=RATES)), draws=60)


def test_every_law_comes_in_two_ways(whole):
    ways = [("N_C", "crossovers"), ("N_C", "isoflop"), ("D_C", "crossovers"), ("D_C", "isoflop")]
    assert list(by_way(whole)) == [*ways, ("LR_C", "frontier points"), ("LR_C", "isoflop")]
    assert whole.skipped == () and whole.cautions == ()
    for fit in whole.fits:
        assert fit.regime == "compute" and "looser bottleneck" in fit.selection.caution
        assert fit.selection.used == fit.rows >= NEEDED and fit.selection.draws >= 55


@pytest.mark.parametrize("way", ["crossovers", "isoflop"])
def test_exponents_of_the_best_use_of_compute(whole, way):
    """a = β/(α + β), and C = N·D."""
    fits = by_way(whole)
    assert fits["N_C", way].params["a"].value == pytest.approx(0.4 / 0.65, abs=0.01)
    assert fits["D_C", way].params["a"].value == pytest.approx(0.25 / 0.65, abs=0.01)


def test_exponent_of_the_learning_rate(whole):
    """lr* ∝ N*^-½."""
    fits = by_way(whole)
    assert fits["LR_C", "isoflop"].params["alpha"].value == pytest.approx(0.2 / 0.65, abs=0.01)
    assert fits["LR_C", "frontier points"].params["alpha"].value == pytest.approx(0.2 / 0.65, abs=0.03)


def test_intervals_hold_the_truth_and_widen_with_the_noise():
    narrow, wide = (
        by_way(optima(found_in(sweep(noise=noise, seed=3)), draws=100)) for noise in (0.001, 0.005)
    )
    for way in (("N_C", "crossovers"), ("N_C", "isoflop"), ("D_C", "isoflop")):
        one, other = narrow[way].params["a"], wide[way].params["a"]
        assert one.low <= 0.5 <= one.high and other.low <= 0.5 <= other.high
        assert other.high - other.low > 2 * (one.high - one.low)
        assert one.method == "bootstrap over runs"


def test_same_seed_gives_the_same_intervals():
    found = found_in(sweep(noise=0.01))
    one, same, other = (optima(found, 40, seed).fits[0].params["a"] for seed in (0, 0, 1))
    assert one == same and one != other


def test_the_lower_cut_holds_for_the_optima_too():
    table = sweep()
    fits = by_way(optima(found_in(table, min_flops=5e5), draws=40))
    for way in ("crossovers", "isoflop"):
        assert min(point.inputs["flops"] for point in fits["N_C", way].points) >= 5e5


def test_unknown_columns_are_one_reason_a_law():
    table = sweep().drop(columns=["tokens", "lr"])
    found = optima(found_in(table), draws=40)
    assert {fit.law for fit in found.fits} == {"N_C"}
    assert found.skipped == (
        Skipped("D_C", "D_C: not every number of tokens is known."),
        Skipped("LR_C", "LR_C: not every run's lr is known."),
    )
    bare = optima(found_in(table.drop(columns="n_latents")), draws=40)
    assert not bare.fits and bare.skipped[0].text == "N_C: not every n_latents is known."


def test_a_sweep_at_one_lr_has_no_best_lr():
    found = optima(found_in(sweep()), draws=40)
    (skipped,) = found.skipped
    reason = (
        "every n_latents was trained at one lr: the lr of the frontier is the sweep's choice, no optimum."
    )
    assert skipped == Skipped("LR_C", f"LR_C: {reason}")


def test_too_few_points_are_told_with_what_was_dropped():
    found = optima(found_in(sweep(sizes=(256, 512, 1024, 2048))), draws=40)
    assert found.skipped[0].text.startswith("N_C (crossovers): 3 points, 4 are needed")
    short = optima(found_in(sweep(longest=1.5)), draws=40)
    assert "The first of 6 that were dropped: 256 to 512 at C=" in short.skipped[0].text


@pytest.mark.parametrize("rates, side", [((0.1, 0.2, 0.4), "largest"), ((3.0, 6.0), "smallest")])
def test_a_frontier_at_the_edge_of_the_lr_grid_is_warned_of(rates, side):
    warning = optima(found_in(sweep(rates=rates)), draws=40).cautions[0].text
    assert "at the edge of the lr grid at n_latents=512 (" in warning
    lr = f"{(rates[-1] if side == 'largest' else rates[0]) * 1e-3 * 2**0.5:.3g}"
    assert f"512 ({side} of its lr, {lr})" in warning


def test_budgets_without_a_best_lr_are_told_for_lr_only():
    found = optima(found_in(sweep(rates=(0.1, 0.2, 0.4))), draws=40)
    (told,) = [skipped.text for skipped in found.skipped]
    assert told.startswith("LR_C (isoflop): 0 points") and "vertex at lr=" in told
    assert not any("lr" in reason for reason in by_way(found)["N_C", "isoflop"].selection.dropped)


def test_rows_of_a_draw_have_exponential_weights_and_all_others_none():
    tables = [pd.DataFrame({"flops": [1.0, 2.0, 3.0], "lr": [3.0, 2.0, 1.0]})] * 400
    tables += [tables[0].iloc[:2], tables[0].assign(lr=[np.nan, 2.0, 1.0])]
    rows = _replicates(tables, "lr", seed=0)
    assert rows.weights.shape == (400, 1200)
    np.testing.assert_array_equal(rows.weights > 0, np.kron(np.eye(400), np.ones(3)) > 0)
    weights = rows.weights[rows.weights > 0]
    assert weights.mean() == pytest.approx(1, abs=0.1) and weights.std() == pytest.approx(1, abs=0.1)
    np.testing.assert_array_equal(rows.loss, [3.0, 2.0, 1.0] * 400)


def test_ways_whose_intervals_are_apart_are_warned_of(whole):
    fits = by_way(whole)
    one, other = fits["N_C", "crossovers"], fits["N_C", "isoflop"]
    p = one.params["a"]
    far = type(p)(p.value + 1, p.low + 1, p.high + 1, p.method)
    moved = type(other)(**{**vars(other), "params": {**other.params, "a": far}})
    assert _disagree([one, other]) == []
    (caution,) = _disagree([one, moved])
    assert caution.text.startswith("a of N_C depends on the way to it: 0.6") and "by isoflop" in caution.text


def test_draws_without_points_leave_no_interval(monkeypatch):
    found = found_in(sweep())
    empty = [np.zeros(len(found.candidates.runs))] * 20
    monkeypatch.setattr("fit.compute.optima.drawn", lambda *_: iter(empty))
    told = optima(found, draws=20).skipped[0].text
    assert told == ("N_C (crossovers): Only 0 of 20 draws of runs have 3 points: intervals need more runs.")


def test_the_largest_compute_is_held_out(whole):
    for fit in whole.fits:
        held = fit.held_out
        assert held.input == "flops" and held.score.up_to < max(point.inputs["flops"] for point in fit.points)
        assert np.isfinite(held.score.rms_log) and all(point.low < point.high for point in held.points)


def test_the_objective_holds_for_the_optima():
    found = found_in(sweep(noise=0.02))
    log, huber = (optima(found, 40, objective=of).fits[0] for of in ("log", "huber:0.001"))
    assert huber.loss == "Huber (δ = 0.001) on log n_latents" and log.params["a"] != huber.params["a"]


def slope(points, column="n_latents"):
    return np.polyfit(np.log(points["flops"]), np.log(points[column]), 1)[0]


@pytest.mark.parametrize("alpha, beta", [(0.3, 0.3), (0.25, 0.4), (0.4, 0.25), (0.2, 0.6)])
def test_crossovers_have_the_exponents_of_the_compute_optimum(alpha, beta):
    points = crossovers(candidates(sweep(alpha, beta), "flops_sparse")).points
    a = beta / (alpha + beta)
    assert slope(points) == pytest.approx(a, abs=0.01)
    assert slope(points, "tokens") == pytest.approx(1 - a, abs=0.01)


def test_the_staircase_itself_is_too_flat():
    """5 steps of an octave: 1 − 1/25 of the slope."""
    points = frontier(sweep(), "flops_sparse", 5).points
    assert slope(points) == pytest.approx(0.5 * (1 - 1 / 25), abs=0.005)


def test_a_crossover_is_where_both_sizes_have_the_same_loss():
    """n^-0.3 + (n/C)^0.3 is the same for n and 2n at C = 2n²; known to half a step of the grid."""
    found = crossovers(candidates(sweep(), "flops_sparse"))
    small = 2.0 ** np.arange(8, 14)
    np.testing.assert_allclose(found.points["n_latents"], small * np.sqrt(2))
    np.testing.assert_allclose(found.points["flops"], 2 * small**2, rtol=2 ** (1 / 8) - 0.999)
    np.testing.assert_allclose(
        found.points["tokens"] * found.points["n_latents"], found.points["flops"], rtol=1e-6
    )
    assert found.dropped == ()


def test_a_size_that_ends_too_early_is_dropped():
    table = sweep()
    short = table[(table["n_latents"] != 1024) | (table["flops_sparse"] < 1.5e6)]
    found = crossovers(candidates(short, "flops_sparse"))
    assert len(found.points) == 5
    assert found.dropped[0].startswith("1,024 to 2,048 at C=")
    assert found.dropped[0].endswith("the curves of the smaller one end there")


def test_a_size_that_begins_too_late_is_dropped():
    table = sweep()
    late = table[(table["n_latents"] != 2048) | (table["flops_sparse"] > 4e6)]
    found = crossovers(candidates(late, "flops_sparse"))
    assert len(found.points) == 5
    assert found.dropped[0].startswith("1,024 to 2,048 at C=")
    assert found.dropped[0].endswith("the curves of the larger one begin there")


def test_a_frontier_that_goes_back_and_forth_has_its_step_in_the_middle():
    """n is 1 1 1 2 1 1 2 2 2: before C = e^4.5 one point is of the larger n, behind it one of the smaller."""
    runs = pd.DataFrame({"run_id": [0, 1], "n_latents": [1.0, 2.0]})
    run, log_c = np.array([0, 0, 0, 1, 0, 0, 1, 1, 1]), np.arange(9.0)
    points = crossovers(Candidates(run, log_c, -log_c, np.arange(9), runs, log_c - run * np.log(2))).points
    np.testing.assert_allclose(np.log(points["flops"]), [4.5])
    np.testing.assert_allclose(points["n_latents"], [np.sqrt(2)])
    np.testing.assert_allclose(points["tokens"], np.exp(4.5) / np.sqrt(2))


def test_without_n_there_are_no_crossovers():
    assert crossovers(candidates(sweep().drop(columns="n_latents"), "flops_sparse")).points.empty


def test_crossovers_are_of_present_runs_above_the_cut():
    of = candidates(sweep(), "flops_sparse")
    without = crossovers(of, (of.runs["n_latents"] != 1024).to_numpy()).points
    assert len(without) == 5 and np.sqrt(512 * 2048) in set(without["n_latents"].round(6))
    assert len(crossovers(of, min_flops=2.0 * 512**2 * 1.5).points) == 4
