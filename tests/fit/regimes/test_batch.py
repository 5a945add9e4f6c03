"""What the tests over the batch size count: an lr* at an edge is a bound, and L(C) needs no run that converged."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from fit.converged.lr import End, best_lr
from fit.converged.tails import LIMIT
from fit.data.vertex import Vertex
from fit.law.json_values import plain
from fit.law.options import FitOptions
from fit.regimes import batch, compare
from fit.regimes.batch import Batch
from fit.regimes.lr_readings import losses_by_lr, lr_readings
from fit.regimes.verdict import Claim, Need, Outcome, verdict
from fit.study import fit_study
from fit.views.lines.verdict import about_edges, judgements, verdict_lines
from tests.fit.sweep_tables import LRS, Sweep

SIZES, BATCHES = (512, 1024, 2048), (512, 2048)
SWEEP = Sweep(b=0.2)
RUNS, CURVES = SWEEP.tables(ns=SIZES, lrs=LRS[1:10], batches=BATCHES)


def ends(losses_by_cell):
    """Converged runs from {(n, B): {lr: loss}}."""
    rows = [
        {"n_latents": n, "batch_tokens": B, "lr": lr, "nmse": loss}
        for (n, B), losses in losses_by_cell.items()
        for lr, loss in losses.items()
    ]
    return pd.DataFrame(rows)


INSIDE, SMALLEST = {1e-3: 0.31, 2e-3: 0.30, 4e-3: 0.31}, {1e-3: 0.29, 2e-3: 0.30, 4e-3: 0.31}


def test_the_only_lr_that_converged_of_several_is_an_edge():
    """It may be one that kills the latents and converges at once."""
    cells = {(n, B): INSIDE for n in (32, 64, 128) for B in (256, 1024)}
    one_lr = ends({**cells, (128, 1024): {4e-3: 0.9}})
    assert batch.at_convergence(one_lr).left_out == 0  # lr was not varied there, as far as the table says
    others = ends({(128, 1024): {1e-3: 0.4, 2e-3: 0.4}}).assign(lowest=0.2)
    test = batch.at_convergence(one_lr, others)
    assert (test.left_out, test.cells, test.ends) == (1, 2, ()) and test.spread == pytest.approx(0, abs=1e-9)


def test_a_converged_loss_at_an_edge_of_the_lr_is_left_out_and_counted():
    cells = {(n, B): INSIDE for n in (32, 64, 128) for B in (256, 1024)}
    test = batch.at_convergence(ends({**cells, (256, 256): SMALLEST, (256, 1024): INSIDE}))
    assert (test.left_out, test.ends, test.cells) == (1, (End.SMALLEST,), 3)
    assert test.tuned and test.spread == pytest.approx(0, abs=1e-9)
    assert "1 loss at an edge of the lr that count is left out" in about_edges(test)
    at_edge = batch.at_convergence(ends({key: SMALLEST for key in cells}))
    assert at_edge.b is None and at_edge.left_out == 6 and "without the 6 losses at an edge" in at_edge.reason
    tests = (at_edge, Batch("compute"))
    judged = verdict(None, tests)
    (part,) = judged.of(Claim.BATCH_CONVERGED).parts
    assert part.needs == (Need.SMALLER_LR,)
    group = SimpleNamespace(verdict=judged, batch=tests, batch_by_tokens=(Batch("compute"),), lr=None)
    text = "\n".join(verdict_lines(group))
    assert ". Without the 6 losses at an edge of the lr that count, " in text
    two_lr = batch.at_convergence(ends({key: {1e-3: 0.3, 2e-3: 0.31} for key in cells}))
    assert (
        two_lr.left_out == 6 and not two_lr.ends
    )  # of two lr, both of which are ends, either side may be better
    (part,) = verdict(None, (two_lr, Batch("compute"))).of(Claim.BATCH_CONVERGED).parts
    assert part.needs == (Need.LR_SWEEP,)


def test_an_lr_that_did_not_converge_shows_that_the_next_one_is_no_edge():
    cells = {(n, B): INSIDE for n in (32, 64, 128) for B in (256, 1024)}
    cells[(32, 256)] = {2e-3: 0.30, 4e-3: 0.31}
    other = {"n_latents": 32, "batch_tokens": 256, "lr": 1e-3}
    further = {**other, "lr": 5e-4, "lowest": 0.33}
    for lowest, left_out in ((0.305, 0), (0.295, 1), (np.nan, 1)):
        for rows in ([{**other, "lowest": lowest}], [{**other, "lowest": lowest}, further]):
            assert batch.at_convergence(ends(cells), pd.DataFrame(rows)).left_out == left_out
    seeds = pd.DataFrame([{**other, "lowest": 0.305}, {**other, "lowest": np.nan}, further])
    assert batch.at_convergence(ends(cells), seeds).left_out == 1


def test_a_loss_of_the_frontier_at_an_edge_is_a_bound_at_the_smallest_batch_and_left_out_at_others():
    """Of the sweep's lr only the smallest are kept, at which L(C) is not yet at its best."""
    few = CURVES["lr"].isin(LRS[1:4])

    def tested(curves):
        (part,) = compare.curve_groups(curves, FitOptions())
        points = compare.compute_optimal_points(part.frontier)
        return batch.at_compute(part.frontier.candidates, points)

    inside = tested(CURVES)
    assert not inside.bounds and not inside.left_out and not inside.ends
    smallest = tested(CURVES[few | (CURVES["batch_tokens"] != BATCHES[0])])
    assert smallest.bounds == smallest.cells and not smallest.left_out and smallest.ends == (End.LARGEST,)
    largest = tested(CURVES[few | (CURVES["batch_tokens"] == BATCHES[0])])
    assert largest.left_out and not largest.bounds
    _, three = SWEEP.tables(ns=SIZES, lrs=LRS[1:10], batches=(512, 2048, 8192))
    middle = tested(three[three["lr"].isin(LRS[1:4]) | (three["batch_tokens"] != 2048)])
    assert middle.left_out and not middle.bounds


@pytest.mark.parametrize("bounds", [0, 1])
def test_of_losses_that_are_bounds_nothing_is_decided_but_that_it_rises(bounds):
    rising = Batch(
        "compute", 0.1, 0.05, 0.15, 0.01, 0.2, 3, (256.0, 1024.0), True, spread_low=0.1, spread_high=0.3
    )
    rising = replace(rising, bounds=bounds, ends=(End.LARGEST,) * bounds)

    def judged(test):
        (part,) = verdict(None, (Batch("converged"), test)).of(Claim.BATCH_COMPUTE).parts
        return part

    assert judged(rising).outcome is Outcome.HOLDS
    falling = judged(replace(rising, spread=-0.2, spread_low=-0.3, spread_high=-0.1))
    none = judged(replace(rising, spread=0.0, spread_low=-0.005, spread_high=0.005))
    if bounds:
        assert falling.outcome is none.outcome is Outcome.UNDECIDED and none.needs == (Need.LARGER_LR,)
        of_two_lr = replace(rising, ends=(), spread=0.0, spread_low=-0.005, spread_high=0.005)
        assert judged(of_two_lr).needs == (Need.LR_SWEEP,)
    else:
        assert (falling.outcome, none.outcome) == (Outcome.HOLDS, Outcome.REFUTED)
    assert Batch.from_dict(plain(rising.to_dict())) == rising
    assert ("the true rise may be larger" in about_edges(rising)) is bool(bounds)


@pytest.mark.parametrize("curves", [CURVES, CURVES.drop(columns="flops_sparse")])
def test_the_batch_test_of_l_of_c_at_equal_tokens_needs_no_run_that_converged(curves):
    """Nor a frontier over C."""
    group = only(compare.compare(RUNS, curves, (), FitOptions()))
    without = only(compare.compare(RUNS.assign(converged=False), curves, (), FitOptions()))
    assert without.batch_by_tokens == group.batch_by_tokens and group.batch_by_tokens
    assert judgements(without) and "At equal tokens D" in "\n".join(verdict_lines(without))


def test_a_study_without_a_converged_run_still_compares_its_batch_sizes():
    runs = RUNS.assign(converged=False)
    study = fit_study(runs, CURVES, options=FitOptions(draws=20), say=str)
    assert {fit.regime for fit in study.fits} == {"compute"}
    assert only(study.regimes).batch_by_tokens
    assert fit_study(runs, CURVES, ["L_C"], options=FitOptions(draws=20), say=str).regimes is None


def test_an_unknown_tail_says_nothing_of_an_lr_and_a_risen_loss_does():
    runs = RUNS.drop(columns=["nmse_inf", "nmse_inf_se"]).assign(converged=RUNS["lr"] != LRS[1])
    ids = runs["run_id"][runs["lr"] == LRS[1]]
    known = compare.run_ends(runs, CURVES, FitOptions())
    assert known.unconverged["lowest"].notna().all() and not known.reasons
    no_tail = CURVES[~CURVES["run_id"].isin(ids)]
    unknown = compare.run_ends(runs, no_tail, FitOptions())
    assert unknown.unconverged["lowest"].isna().all() and len(unknown.unconverged) == len(ids)
    assert any(
        f"{len(ids)} of those not converged have no curve with two" in text for text in unknown.reasons
    )
    rising = CURVES.assign(nmse=CURVES["nmse"].where(~CURVES["run_id"].isin(ids), CURVES["tokens"] / 1e9))
    risen = compare.run_ends(runs, rising, FitOptions()).unconverged
    np.testing.assert_allclose(risen["lowest"], risen["nmse"])


def test_a_converged_run_without_a_tail_is_not_compared_with_the_limits_of_others():
    runs = RUNS.drop(columns=["nmse_inf", "nmse_inf_se"])
    some = CURVES[CURVES["run_id"] != runs["run_id"].iloc[0]]
    found = compare.run_ends(runs, some, FitOptions())
    assert len(found.at_limits) == len(runs) - 1 and found.at_limits[LIMIT].notna().all()
    assert any("1 of those converged have no curve with two" in text for text in found.reasons)
    none = compare.run_ends(runs, None, FitOptions())
    assert LIMIT not in none.at_limits and len(none.at_limits) == len(runs)


def test_lr_is_not_known_where_a_converged_lr_of_unknown_tail_stands_beside_the_best():
    """A parabola from the best past that lr would put lr* between them as if nothing were there."""
    runs = RUNS.drop(columns=["nmse_inf", "nmse_inf_se"])
    cell = runs[(runs["n_latents"] == runs["n_latents"].max()) & (runs["batch_tokens"] == 512)]
    best = cell.loc[cell["nmse"].idxmin()]

    def optimum(curves):
        found = compare.run_ends(runs, curves, FitOptions())
        at = {"n_latents": best["n_latents"], "batch_tokens": best["batch_tokens"]}
        here = np.logical_and.reduce([found.at_limits[name] == value for name, value in at.items()])
        losses = losses_by_lr(found.at_limits[here], LIMIT, found.unconverged, at)
        return best_lr(losses), lr_readings([(4096.0, ())], {}, found.at_limits, found.unconverged)

    assert isinstance(optimum(CURVES)[0], Vertex)
    at, readings = optimum(CURVES[CURVES["run_id"] != best["run_id"]])
    assert not isinstance(at, Vertex)
    assert not readings.unconverged  # all of them converged


def only(regimes):
    (group,) = regimes.groups
    return group
