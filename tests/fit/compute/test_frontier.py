"""The frontier L(C): against a law whose envelope is known, its rules, and its resampling."""

import numpy as np
import pandas as pd
import pytest

from fit.compute.frontier import drawn, envelope, frontier, resampled
from fit.data.curves import candidates
from fit.law.caution import texts
from fit.law.errors import FitError
from fit.law.fit import fit_law
from fit.law.options import FitOptions
from fit.study import fit_table
from tests.fit.compute_sweeps import best, sweep

NEEDED = 5
SIZES = tuple(2**e for e in range(8, 17))


def curves(sizes=SIZES, seeds=1, rows=60, noise=0.0, schedule="constant", longest=50):
    """Runs of L = .1 + n^-.3 + .2 (D/n)^-.3 at C = 12 n D: each n is best over a range of C."""
    rng = np.random.default_rng(0)
    parts = []
    for n in sizes:
        for seed in range(seeds):
            tokens = n * np.geomspace(0.05, longest, rows)
            loss = 0.1 + n**-0.3 + 0.2 * (tokens / n) ** -0.3 * (1 + noise * rng.standard_normal())
            part = {"run_id": f"{n}-{seed}", "n_latents": n, "tokens": tokens, "step": range(rows)}
            parts.append(
                pd.DataFrame({**part, "flops_sparse": 12 * n * tokens, "nmse": loss, "lr_schedule": schedule})
            )
    return pd.concat(parts, ignore_index=True)


def brute_force(table, C):
    """The lowest loss at compute C over all n, each curve interpolated in log-log."""
    best = [np.inf]
    for _, run in table.groupby("run_id"):
        c, loss = np.log(run["flops_sparse"]), np.log(run["nmse"])
        if c.min() - 1e-9 <= np.log(C) <= c.max() + 1e-9:
            best.append(np.exp(np.interp(np.log(C), c, loss)))
    return min(best)


def test_points_are_the_lowest_of_all_curves_and_fall():
    table = curves()
    points = frontier(table, "flops_sparse", NEEDED).points
    for C, loss in zip(points["flops"], points["nmse"], strict=True):
        assert loss == pytest.approx(brute_force(table, C), rel=1e-9)
    assert (np.diff(points["nmse"]) < 0).all() and (np.diff(points["flops"]) > 0).all()


def test_points_name_their_run():
    table = curves()
    points = frontier(table, "flops_sparse", NEEDED).points
    assert (points["run_id"] == points["n_latents"].astype(int).astype(str) + "-0").all()
    assert (np.diff(points["n_latents"]) >= 0).all()


def test_stops_where_only_the_largest_n_is_left():
    found = frontier(curves(longest=50_000), "flops_sparse", NEEDED)
    assert found.points["n_latents"].max() == 2**15
    assert found.selection.beyond_the_grid > 0
    assert not found.cautions


def test_starts_where_a_smaller_n_than_the_smallest_would_not_be_better():
    found = frontier(curves(longest=50_000), "flops_sparse", NEEDED)
    assert found.points["n_latents"].min() == 2**9
    assert found.selection.below_the_grid > 0


def test_exponent_of_the_envelope_over_every_n():
    """min over n of n^-a + .2 (C/12n²)^-a is proportional to C^-a/3: α = .1 and E = .1 whatever the grid of n."""
    params = fit_table(curves(longest=50_000, rows=160), laws=["L_C"])[0].params
    for name in ("E", "alpha"):
        assert params[name].value == pytest.approx(0.1, rel=0.05)
        assert params[name].low <= 0.1 <= params[name].high


def test_curves_that_end_while_they_are_the_lowest_are_told():
    short = frontier(curves(), "flops_sparse", NEEDED)
    assert list(texts(short.cautions)) == [
        "7 of 7 runs on the frontier end before another is lower: train them longer."
    ]
    assert not frontier(curves(schedule="linear"), "flops_sparse", NEEDED).cautions


def test_says_so_where_the_frontier_is_all_edge():
    found = frontier(curves(sizes=[4096]), "flops_sparse", NEEDED)
    assert "edge of the grid" in found.cautions[0].text and "4,096" in found.cautions[0].text


def test_order_of_the_rows_does_not_matter():
    table = curves(seeds=2, noise=0.3)
    one = frontier(table, "flops_sparse", NEEDED).points
    other = frontier(table.sample(frac=1, random_state=1), "flops_sparse", NEEDED).points
    pd.testing.assert_frame_equal(one, other)


def test_a_worse_run_changes_nothing():
    table = curves()
    worse = table.assign(nmse=table["nmse"] * 1.01, run_id=table["run_id"] + "-worse")
    one = frontier(table, "flops_sparse", NEEDED).points
    pd.testing.assert_frame_equal(frontier(pd.concat([worse, table]), "flops_sparse", NEEDED).points, one)


def test_a_curve_that_rises_again_does_not_raise_the_frontier():
    table = curves()
    late = table["tokens"] > 45 * table["n_latents"]
    spoiled = table.assign(nmse=np.where(late, 0.9, table["nmse"]))
    points = frontier(spoiled, "flops_sparse", NEEDED).points
    assert points["nmse"].max() < 0.9 and (np.diff(points["nmse"]) < 0).all()


def test_a_decaying_schedule_gives_only_its_last_row():
    table = curves(schedule="linear")
    last = table.groupby("run_id").tail(1)
    points = frontier(table, "flops_sparse", NEEDED).points
    assert set(points["flops"].round(-3)) <= set(last["flops_sparse"].round(-3))
    np.testing.assert_allclose(points["nmse"], np.sort(last["nmse"])[::-1][1 : 1 + len(points)])


def test_lower_cut():
    table = curves()
    points = frontier(table, "flops_sparse", NEEDED, min_flops=1e9).points
    assert points["flops"].min() >= 1e9
    with pytest.raises(FitError, match="at least 1e[+]30 FLOPs"):
        frontier(table, "flops_sparse", NEEDED, min_flops=1e30)


def test_draws_are_of_whole_runs_in_the_same_window():
    found = frontier(curves(seeds=3, noise=0.2), "flops_sparse", NEEDED)
    rows = resampled(found, 50, 0, NEEDED)
    on = rows.weights > 0
    assert len(rows.weights) == 50 and (on.sum(axis=1) >= NEEDED).all() and on.any(axis=0).all()
    inside = np.log(rows.x["flops"])
    assert inside.min() >= found.window[0] - 1e-8 and inside.max() <= found.window[1] + 1e-8
    of = found.candidates
    full = envelope(of, np.ones(len(of.run), dtype=bool))
    best = np.array([of.log_l[full][of.log_c[full] <= c + 1e-9].min() for c in inside])
    assert (rows.loss >= np.exp(best) * (1 - 1e-9)).all()
    assert len({tuple(row) for row in on}) > 25


def test_a_draw_is_the_envelope_of_the_runs_drawn_with_one_weight_a_run():
    found = frontier(curves(seeds=3, noise=0.2), "flops_sparse", NEEDED)
    of, rows = found.candidates, resampled(found, 20, 3, NEEDED)
    for weights, row in zip(drawn(len(of.runs), 20, 3), rows.weights, strict=True):
        index = envelope(of, weights[of.run] > 0)
        index = index[(of.log_c[index] > found.window[0] - 1e-9) & (of.log_c[index] < found.window[1] + 1e-9)]
        at = np.flatnonzero(row)
        np.testing.assert_allclose(np.log(rows.x["flops"][at]), of.log_c[index])
        np.testing.assert_allclose(np.log(rows.loss[at]), of.log_l[index])
        np.testing.assert_array_equal(row[at], weights[of.run[index]])


def test_runs_are_drawn_with_replacement_and_weights_of_mean_one():
    weights = np.array(list(drawn(40, 2000, 0)))
    assert (weights > 0).mean() == pytest.approx(1 - (1 - 1 / 40) ** 40, abs=0.01)
    assert weights[weights > 0].mean() == pytest.approx(1, abs=0.02)
    assert weights[weights > 0].std() == pytest.approx(1, abs=0.03)


def test_another_column_of_the_frontier_can_be_resampled():
    found = frontier(sweep(rates=(0.5, 1, 2), noise=0.01), "flops_sparse", NEEDED)
    loss, lr = (resampled(found, 20, 0, NEEDED, response) for response in ("nmse", "lr"))
    np.testing.assert_array_equal(loss.weights, lr.weights)
    assert set(lr.loss) <= set(found.candidates.runs["lr"])


@pytest.mark.parametrize(
    ("sweeps", "draws", "least"), [(6, 60, 5), pytest.param(20, 200, 18, marks=pytest.mark.slow)]
)
def test_intervals_cover_the_law_of_the_best_use_of_compute(sweeps, draws, least):
    """Sweeps of 13 sizes with 0.5 % noise between runs; L = 0.1 + 2·C^-0.15 whatever the grid of n."""
    sizes, hits = tuple(2 ** (8 + e / 2) for e in range(13)), []
    for seed in range(sweeps):
        found = frontier(sweep(sizes=sizes, noise=0.005, seed=seed), "flops_sparse", NEEDED)
        rows = resampled(found, draws, seed, NEEDED)
        fit = fit_law(
            "L_C",
            {"flops": found.points["flops"]},
            found.points["nmse"],
            replicates=rows,
            compare=False,
            hold_out=False,
        )
        C = 2 * found.points["flops"].max()
        _, low, high = fit.predict(flops=C, interval="law")
        alpha, E = fit.params["alpha"], fit.params["E"]
        truth = best(0.3, 0.3, C)[1]
        hits.append([alpha.low <= 0.15 <= alpha.high, E.low <= 0.1 <= E.high, low[0] <= truth <= high[0]])
    assert (np.sum(hits, axis=0) >= least).all()


def test_tells_what_was_cut_and_why():
    rule = frontier(curves(longest=50_000), "flops_sparse", NEEDED).selection.rule
    assert "no lower limit of C" in rule
    assert "the first" in rule and "of the smallest n_latents alone, 256;" in rule
    assert "the last" in rule and "of the largest n_latents alone, 65,536." in rule
    found = frontier(curves(sizes=[4096]), "flops_sparse", NEEDED, min_flops=1e9)
    assert "from 1e+09 FLOPs on" in found.selection.rule and "not cut" in found.selection.rule
    bare = frontier(curves().drop(columns="n_latents"), "flops_sparse", NEEDED)
    assert "not every n_latents is known" in bare.selection.rule
    assert "looser bottleneck" in bare.selection.caution


def test_same_seed_gives_the_same_intervals():
    table = curves(seeds=3, noise=0.2)
    one, same, other = (
        fit_table(table, laws=["L_C"], options=FitOptions(draws=60, seed=seed))[0].params["alpha"]
        for seed in (0, 0, 1)
    )
    assert one == same and one != other
    assert one.method == "bootstrap over runs"
    assert one.low <= one.value <= one.high


def test_recovers_a_frontier_that_is_a_power_law():
    """L = .1 + D^-.2 at C = 12 n D with one n a decade of tokens apart: the envelope is in closed form."""
    grid = np.geomspace(1e9, 1e15, 200)
    table = pd.DataFrame(
        {"flops_sparse": grid, "nmse": 0.1 + 30 * grid**-0.25, "run_id": np.arange(200) // 20}
    )
    table["n_latents"] = 2.0 ** (8 + table["run_id"])
    result = fit_table(table, laws=["L_C"])[0]
    truth = {"E": 0.1, "A": 30.0, "alpha": 0.25}
    assert {name: p.value for name, p in result.params.items()} == pytest.approx(truth, rel=1e-3)


def test_a_diverged_tail_of_our_own_curves_is_left_out():
    table = curves()
    table.loc[table["run_id"].eq("256-0") & (table["step"] > 30), "nmse"] = np.nan
    assert fit_table(table, laws=["L_C"])[0].regime == "compute"
    with pytest.raises(
        FitError, match="29 of 540 rows have no usable nmse: it is missing in the row of index 31"
    ):
        fit_table(table.drop(columns="step"), laws=["L_C"])


def test_without_run_ids_the_rows_of_one_n_are_a_curve():
    table = curves()
    bare = table.drop(columns=["run_id", "step"])
    assert len(candidates(bare, "flops_sparse").runs) == 9
    one, other = (frontier(t, "flops_sparse", NEEDED).points["nmse"] for t in (table, bare))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("ends", [1, 2, 3])
def test_a_frontier_of_fewer_than_three_runs_has_no_intervals(ends):
    """One run that holds it all: drawn again it is the same, and E had the interval [0.352, 0.352]."""
    grid = np.geomspace(1e9, 1e13, 60)
    parts = []
    for run in range(5):
        holds = (np.arange(60) * ends // 60 == run) if run < ends else np.zeros(60, dtype=bool)
        loss = np.where(holds, 1.0, 1.3 + 0.1 * run) * (0.1 + 30 * grid**-0.25)
        part = {"flops_sparse": grid, "nmse": loss, "run_id": run, "n_latents": 512 if run < 4 else 256}
        parts.append(pd.DataFrame(part))
    (fit,) = fit_table(pd.concat(parts), laws=["L_C"], options=FitOptions(draws=60))
    assert fit.selection.runs_on_frontier == ends
    known = [param.low is not None for param in fit.params.values()]
    assert all(known) if ends == 3 else not any(known)
    said = [w for w in fit.warnings if w.startswith("No intervals") or "the intervals over runs rest on" in w]
    assert len(said) == 1 and ("rest on them alone" in said[0]) == (ends == 3)
    assert not any("depends on this choice more" in w for w in fit.warnings if ends < 3)


def test_the_ends_of_decayed_runs_and_the_points_of_constant_ones_are_never_on_one_frontier():
    constant, decayed = curves(), curves(schedule="linear", seeds=1)
    decayed = decayed.assign(run_id="decayed-" + decayed["run_id"], nmse=0.95 * decayed["nmse"])
    both = pd.concat([constant, decayed], ignore_index=True)
    fits = {fit.group["lr_schedule"]: fit for fit in fit_table(both, laws=["L_C"])}
    assert set(fits) == {"constant", "linear"}
    for name, table in (("constant", constant), ("linear", decayed)):
        alone = fit_table(table, laws=["L_C"])[0]
        assert {k: p.value for k, p in fits[name].params.items()} == {
            k: p.value for k, p in alone.params.items()
        }
    assert fits["linear"].rows <= len(SIZES)
    missing = both.assign(lr_schedule=both["lr_schedule"].where(both["lr_schedule"] != "constant"))
    assert {fit.group["lr_schedule"] for fit in fit_table(missing, laws=["L_C"])} == {"constant", "linear"}
