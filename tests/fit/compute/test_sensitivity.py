"""The sensitivity table: its rows, what each choice changes, and the warning; and the lower convex hull, one choice."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from fit.compute.frontier import frontier
from fit.compute.sensitivity import hull, sensitivity, ways
from fit.data.curves import Candidates, candidates
from fit.law.caution import Kind
from fit.law.fit import fit_law
from fit.views.lines import text
from tests.fit.compute_sweeps import SIZES, best, sweep

NEEDED = 5


def fitted(table, flops="flops_sparse", min_flops=None):
    found = frontier(table, flops, NEEDED, min_flops)
    x = {"flops": found.points["flops"]}
    return found, fit_law("L_C", x, found.points["nmse"], method="delta", hold_out=False, compare=False)


def table_of(table, flops="flops_sparse", min_flops=None):
    found, base = fitted(table, flops, min_flops)
    return sensitivity(table, flops, base, found, NEEDED)


def test_one_row_for_each_choice():
    rows = table_of(sweep()).rows
    assert [(row.choice, row.flops, row.method) for row in rows] == [
        ("as fitted", "sparse", "envelope"),
        ("other FLOP convention", "dense", "envelope"),
        ("convex hull", "sparse", "hull"),
        ("isoFLOP vertices", "sparse", "isoflop"),
        ("from 1 octave higher", "sparse", "envelope"),
        ("from 2 octaves higher", "sparse", "envelope"),
    ]
    assert all(row.reason is None and row.points >= NEEDED for row in rows)


def test_every_choice_finds_the_law_of_a_clean_sweep():
    """L = 0.1 + 2·C^-0.15, whatever the grid of n; C is 6 times larger in the other convention."""
    for row in table_of(sweep()).rows:
        assert row.alpha == pytest.approx(0.15, abs=0.006)
        assert row.E == pytest.approx(0.1, abs=0.007)


def test_cuts_are_octaves_above_the_first_point():
    rows = table_of(sweep()).rows
    first = rows[0].min_flops
    assert [row.min_flops for row in rows[4:]] == pytest.approx([2 * first, 4 * first], rel=1e-6)
    assert [rows[0].points - row.points for row in rows[4:]] == [4, 8]


def test_the_other_convention_is_cut_at_the_same_evaluations():
    rows = table_of(sweep(), min_flops=2e6).rows
    assert rows[1].flops == "dense" and rows[1].min_flops >= 6 * 2e6 * (1 - 1e-9)
    other = table_of(sweep(), flops="flops_dense", min_flops=6 * 2e6).rows
    assert (other[0].flops, other[1].flops) == ("dense", "sparse")
    assert other[1].min_flops >= 2e6 * (1 - 1e-9)


def test_a_choice_that_cannot_be_made_has_a_reason_and_no_number():
    rows = table_of(sweep(sizes=SIZES[:3], rows=20)).rows
    lost = [row for row in rows if row.reason]
    assert lost and all(row.E is None and row.alpha is None for row in lost)
    assert "needs at least" in lost[0].reason
    bare = table_of(sweep().drop(columns="flops_dense")).rows
    assert [row.choice for row in bare][:2] == ["as fitted", "convex hull"]


def test_a_dense_column_with_gaps_is_used_where_it_is_known():
    table = sweep()
    table["flops_dense"] = table["flops_dense"].where(table["n_latents"] > 256)
    row = table_of(table).rows[1]
    assert row.reason is None and row.points > NEEDED


def test_warns_of_a_choice_that_moves_alpha_beyond_its_interval():
    found, base = fitted(sweep())
    alpha = base.params["alpha"]
    off = table_of(sweep()).rows[2].alpha - alpha.value
    tight, loose = (
        replace(
            base,
            params={**base.params, "alpha": replace(alpha, low=alpha.value - h, high=alpha.value + h)},
        )
        for h in (abs(off) / 2, 0.05)
    )
    (caution,) = sensitivity(sweep(), "flops_sparse", tight, found, NEEDED).cautions
    assert "(convex hull)" in caution.text and caution.kind is Kind.DISAGREEMENT
    assert f"α of L(C) is {alpha.value:.3g} ± {abs(off) / 2:.2g}" in caution.text
    assert sensitivity(sweep(), "flops_sparse", loose, found, NEEDED).cautions == ()
    unbounded = replace(base, params={**base.params, "alpha": replace(alpha, low=None)})
    assert sensitivity(sweep(), "flops_sparse", unbounded, found, NEEDED).cautions == ()


def test_the_table_on_screen_has_a_line_for_each_choice_or_the_reason_for_none():
    table = table_of(sweep(sizes=SIZES[:3], rows=20))
    head, first, *others = lines = list(text._sensitivity(table.rows))
    assert head.split() == ["choice", "FLOPs", "from", "C", "points", "α", "E"]
    assert first.split()[:3] == ["as", "fitted", "sparse"]
    assert len(lines) == 1 + len(table.rows) and any("needs at least" in line for line in others)


def test_three_ways_side_by_side():
    found, _ = fitted(sweep())
    points = ways(found)
    assert list(points) == ["envelope", "hull", "isoflop"]
    _, loss = best(0.3, 0.3, points["isoflop"]["flops"])
    np.testing.assert_allclose(points["isoflop"]["nmse"], loss, rtol=5e-4)
    _, loss = best(0.3, 0.3, points["envelope"]["flops"])
    assert (points["envelope"]["nmse"] >= loss * (1 - 1e-9)).all()
    on = np.interp(
        np.log(points["hull"]["flops"]), np.log(points["envelope"]["flops"]), points["envelope"]["nmse"]
    )
    assert (points["hull"]["nmse"] <= on * (1 + 1e-9)).all() and len(points["hull"]) < len(points["envelope"])
    low, high = np.exp(found.window)
    assert points["hull"]["flops"].between(low * 0.999, high * 1.001).all()


def test_choices_are_compared_under_the_objective_of_the_fit():
    """With another, a choice would seem to move α by what the objective does."""
    table = sweep(noise=0.02, seed=1)
    found = frontier(table, "flops_sparse", NEEDED)
    x = {"flops": found.points["flops"]}
    how = {"method": "delta", "hold_out": False, "compare": False, "objective": "huber:0.001"}
    base = fit_law("L_C", x, found.points["nmse"], **how)
    rows = {}
    for of in ("log", "huber:0.001"):
        rows[of] = sensitivity(table, "flops_sparse", base, found, NEEDED, of).rows
    above = found.points[found.points["flops"] >= 2 * np.exp(found.window[0]) * (1 - 1e-9)]
    again = fit_law("L_C", {"flops": above["flops"]}, above["nmse"], **how).params["alpha"].value
    assert rows["huber:0.001"][-2].alpha == again != rows["log"][-2].alpha


def points(log_c, log_l):
    log_c, log_l = np.array(log_c, dtype=float), np.array(log_l, dtype=float)
    run = np.arange(len(log_c))
    return Candidates(run, log_c, log_l, run, pd.DataFrame({"run_id": run}))


def everywhere(of):
    return np.ones(len(of.run), dtype=bool)


def test_the_hull_of_known_points():
    """(2, −1.5) is above the chord from (1, −1.5) to (3, −2.5), (4, −2.6) below that from (3, −2.5) to (6, −2.7)."""
    of = points([0, 1, 2, 3, 4, 5, 6], [0, -1.5, -1.5, -2.5, -2.6, -2.6, -2.7])
    np.testing.assert_array_equal(hull(of, everywhere(of)), [0, 1, 3, 4, 6])


def test_a_point_on_a_chord_is_not_a_vertex_of_the_hull():
    of = points([0, 1, 2], [0, -1, -2])
    np.testing.assert_array_equal(hull(of, everywhere(of)), [0, 2])


def test_the_hull_takes_the_lowest_point_at_one_compute():
    of = points([0, 0, 1, 1], [-0.5, 0, -2, -1])
    np.testing.assert_array_equal(hull(of, everywhere(of)), [0, 2])


def test_absent_points_do_not_count_in_the_hull():
    of = points([0, 1, 2, 3], [0, -3, -1, -3.5])
    there = np.array([True, False, True, True])
    np.testing.assert_array_equal(hull(of, there), [0, 3])
    assert len(hull(of, ~everywhere(of))) == 0


def test_no_curve_is_below_the_hull_and_it_is_convex():
    of = candidates(sweep(seeds=2, noise=0.01), "flops_sparse")
    index = hull(of, everywhere(of))
    slopes = np.diff(of.log_l[index]) / np.diff(of.log_c[index])
    assert (np.diff(slopes) > 0).all() and (slopes < 0).all()
    on = np.interp(of.log_c, of.log_c[index], of.log_l[index])
    assert (of.log_l >= on - 1e-12).all()
