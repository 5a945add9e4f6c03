"""Crossovers: where they are, what exponent they give, and which are dropped."""

import numpy as np
import pandas as pd
import pytest

from fit.compute.frontier import frontier
from fit.compute.optima import crossovers
from fit.data.curves import Candidates, candidates
from tests.fit.compute_sweeps import sweep


def slope(points, column="n_latents"):
    return np.polyfit(np.log(points["flops"]), np.log(points[column]), 1)[0]


@pytest.mark.parametrize("alpha, beta", [(0.3, 0.3), (0.25, 0.4), (0.4, 0.25), (0.2, 0.6)])
def test_exponents_of_the_best_use_of_compute(alpha, beta):
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


def test_without_n_there_are_none():
    assert crossovers(candidates(sweep().drop(columns="n_latents"), "flops_sparse")).points.empty


def test_only_runs_that_are_present_and_from_the_cut_on():
    of = candidates(sweep(), "flops_sparse")
    without = crossovers(of, (of.runs["n_latents"] != 1024).to_numpy()).points
    assert len(without) == 5 and np.sqrt(512 * 2048) in set(without["n_latents"].round(6))
    assert len(crossovers(of, min_flops=2.0 * 512**2 * 1.5).points) == 4
