"""isoFLOP parabolas: N*, L*, D* and lr* of sweeps where they are known, and why a budget is dropped."""

import numpy as np
import pandas as pd
import pytest

from fit.compute.isoflop import isoflops
from fit.data.curves import candidates
from tests.fit.compute_sweeps import best, sweep


def slope(points, column):
    return np.polyfit(np.log(points["flops"]), np.log(points[column]), 1)[0]


@pytest.mark.parametrize("alpha, beta", [(0.3, 0.3), (0.25, 0.4), (0.4, 0.25), (0.2, 0.6)])
def test_exponents_of_the_best_use_of_compute(alpha, beta):
    points = isoflops(candidates(sweep(alpha, beta), "flops_sparse")).points
    a = beta / (alpha + beta)
    assert len(points) >= 7
    assert slope(points, "n_latents") == pytest.approx(a, abs=0.02)
    assert slope(points, "tokens") == pytest.approx(1 - a, abs=0.02)


def test_vertices_are_the_lowest_losses():
    points = isoflops(candidates(sweep(), "flops_sparse")).points
    n, loss = best(0.3, 0.3, points["flops"])
    np.testing.assert_allclose(points["n_latents"], n, rtol=5e-3)
    np.testing.assert_allclose(points["nmse"], loss, rtol=5e-4)
    np.testing.assert_allclose(points["tokens"] * points["n_latents"], points["flops"], rtol=1e-2)
    assert (points["curvature"] > 0).all() and set(points["sizes"]) <= {3, 4, 5}


def exact(sizes=(256, 512, 1024, 2048), curvature=0.1, at=700.0):
    """At every C the losses are one parabola in ln n."""
    grid = 2.0 ** np.arange(10, 15)
    parts = [
        {
            "run_id": n,
            "n_latents": n,
            "flops": C,
            "nmse": C**-0.1 * np.exp(curvature / 2 * np.log(n / at) ** 2),
        }
        for n in sizes
        for C in grid
    ]
    return pd.DataFrame(parts)


def test_exact_parabolas_are_recovered():
    found = isoflops(candidates(exact(), "flops"))
    np.testing.assert_allclose(found.points["flops"], 2.0 ** np.arange(10, 15))
    np.testing.assert_allclose(found.points["n_latents"], 700)
    np.testing.assert_allclose(found.points["nmse"], found.points["flops"] ** -0.1)
    np.testing.assert_allclose(found.points["curvature"], 0.1)
    assert found.dropped == () and found.points["tokens"].isna().all()


def test_budgets_without_a_minimum_are_dropped_with_the_reason():
    bent = isoflops(candidates(exact(curvature=-0.1), "flops"))
    assert bent.points.empty and len(bent.dropped) == 5
    assert bent.dropped[0] == "C=1.02e+03: not convex over n_latents from 512 to 2,048"
    beyond = isoflops(candidates(exact(at=5000.0), "flops"))
    assert beyond.points.empty
    assert beyond.dropped[-1] == "C=1.64e+04: vertex at n_latents=5,000 beyond the largest, 2,048"


def test_a_budget_needs_three_sizes_whose_curves_reach_it():
    table = exact()
    short = table[(table["n_latents"] < 1024) | (table["flops"] <= 2**12)]
    assert isoflops(candidates(short, "flops")).points["flops"].max() == pytest.approx(2**12)
    late = table[(table["n_latents"] < 1024) | (table["flops"] >= 2**12)]
    assert isoflops(candidates(late, "flops")).points["flops"].min() == pytest.approx(2**12)
    two = isoflops(candidates(exact(sizes=(512, 1024)), "flops"))
    assert two.points.empty and two.dropped == ()
    assert isoflops(candidates(short, "flops")).dropped == ()


def test_budgets_from_the_cut_on_and_closer_together():
    of = candidates(exact(), "flops")
    assert len(isoflops(of, per_octave=4).points) == 17
    assert isoflops(of, min_flops=2**12).points["flops"].min() == pytest.approx(2**12)


def test_every_n_counts_with_its_best_run():
    table = exact()
    worse = table.assign(run_id=table["run_id"] + 1, nmse=table["nmse"] * 1.5)
    one, other = (isoflops(candidates(t, "flops")).points for t in (table, pd.concat([worse, table])))
    pd.testing.assert_frame_equal(one, other)


def test_runs_that_are_absent_do_not_count():
    of = candidates(exact(), "flops")
    assert isoflops(of, (of.runs["n_latents"] > 256).to_numpy()).points["sizes"].max() == 3


def test_a_decaying_schedule_counts_at_its_ends_only():
    """One run for each n and C, its earlier losses far too low for their compute."""
    table = exact().assign(lr_schedule="linear")
    table["run_id"] = np.arange(len(table))
    early = table.assign(flops=table["flops"] / 3, nmse=table["nmse"] * 0.5)
    points = isoflops(candidates(pd.concat([early, table]), "flops")).points
    np.testing.assert_allclose(points["nmse"], points["flops"] ** -0.1)


def test_learning_rate_of_the_best_use_of_compute():
    """lr* = 0.001·(n/1024)^-½ and N* ∝ C^½: lr* ∝ C^-¼, wherever the grid of lr lies."""
    found = isoflops(candidates(sweep(rates=(0.3, 0.6, 1.2, 2.4)), "flops_sparse"))
    points = found.points
    np.testing.assert_allclose(points["lr"], 1e-3 * (points["n_latents"] / 1024) ** -0.5, rtol=2e-2)
    assert found.without_lr == ()


def test_an_lr_at_the_edge_of_its_grid_is_unknown_and_told():
    found = isoflops(candidates(sweep(rates=(0.1, 0.2, 0.4)), "flops_sparse"))
    assert found.points["lr"].isna().all() and len(found.without_lr) == len(found.points)
    assert "vertex at lr=" in found.without_lr[0] and "beyond the largest" in found.without_lr[0]
    one = isoflops(candidates(sweep(), "flops_sparse"))
    assert "a parabola needs 3 lr, there is 1" in one.without_lr[0]
    none = isoflops(candidates(sweep().drop(columns="lr"), "flops_sparse"))
    assert "the lr of the runs is unknown" in none.without_lr[0]


def test_in_a_draw_the_best_lr_stands_in():
    found = isoflops(candidates(sweep(rates=(0.25, 1.0)), "flops_sparse"), resampled=True)
    np.testing.assert_allclose(
        found.points["lr"], 1e-3 * (found.points["n_latents"] / 1024) ** -0.5, rtol=1e-2
    )
