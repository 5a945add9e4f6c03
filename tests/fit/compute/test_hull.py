"""The lower convex hull: points whose hull is known, and a check of its definition."""

import numpy as np
import pandas as pd

from fit.compute.sensitivity import hull
from fit.data.curves import Candidates, candidates
from tests.fit.compute_sweeps import sweep


def points(log_c, log_l):
    log_c, log_l = np.array(log_c, dtype=float), np.array(log_l, dtype=float)
    run = np.arange(len(log_c))
    return Candidates(run, log_c, log_l, run, pd.DataFrame({"run_id": run}))


def everywhere(of):
    return np.ones(len(of.run), dtype=bool)


def test_vertices_of_known_points():
    """(2, −1.5) is above the chord from (1, −1.5) to (3, −2.5), (4, −2.6) below that from (3, −2.5) to (6, −2.7)."""
    of = points([0, 1, 2, 3, 4, 5, 6], [0, -1.5, -1.5, -2.5, -2.6, -2.6, -2.7])
    np.testing.assert_array_equal(hull(of, everywhere(of)), [0, 1, 3, 4, 6])


def test_a_point_on_a_chord_is_no_vertex():
    of = points([0, 1, 2], [0, -1, -2])
    np.testing.assert_array_equal(hull(of, everywhere(of)), [0, 2])


def test_of_points_at_one_compute_the_lowest():
    of = points([0, 0, 1, 1], [-0.5, 0, -2, -1])
    np.testing.assert_array_equal(hull(of, everywhere(of)), [0, 2])


def test_absent_points_do_not_count():
    of = points([0, 1, 2, 3], [0, -3, -1, -3.5])
    there = np.array([True, False, True, True])
    np.testing.assert_array_equal(hull(of, there), [0, 3])
    assert len(hull(of, ~everywhere(of))) == 0


def test_no_curve_is_below_it_and_it_bends_up():
    of = candidates(sweep(seeds=2, noise=0.01), "flops_sparse")
    index = hull(of, everywhere(of))
    slopes = np.diff(of.log_l[index]) / np.diff(of.log_c[index])
    assert (np.diff(slopes) > 0).all() and (slopes < 0).all()
    on = np.interp(of.log_c, of.log_c[index], of.log_l[index])
    assert (of.log_l >= on - 1e-12).all()
