"""The delta method: the sandwich, and a floor that may be 0, in simulation and against profiles."""

import numpy as np
import pytest

from fit.law.estimate import estimate
from fit.law.fit import fit_law
from fit.law.intervals.choose import MANY, intervals
from fit.law.laws import L_N
from fit.law.losses import objective
from fit.law.rows import make_rows

TRUTH = {"E": 0.0, "A": 2.0, "alpha": 0.2}


def sweep(seed, E=0.0, rows=400):
    random = np.random.default_rng(seed)
    n = 2.0 ** random.integers(8, 18, rows)
    return n, (E + 2 * n**-0.2) * np.exp(0.02 * random.standard_normal(rows))


@pytest.mark.parametrize(("tables", "least"), [(25, 22), pytest.param(100, 90, marks=pytest.mark.slow)])
@pytest.mark.parametrize("E", [0.0, 0.01, 0.1])
def test_intervals_cover_where_the_floor_may_be_absent(E, tables, least):
    """Tables of 400 rows each; of 100, two standard errors of 95 % are 4.4 %.

    In ln E, and with the column of a small floor truncated, E = 0 had intervals that began above it.
    """
    hits = {"E": 0, "alpha": 0}
    for seed in range(tables):
        n, y = sweep(seed, E)
        params = fit_law("L_N", n, y, method="delta", hold_out=False, compare=False).params
        for name in hits:
            low, high = params[name].low, params[name].high
            hits[name] += low <= {**TRUTH, "E": E}[name] <= high
    assert min(hits.values()) >= least


@pytest.mark.parametrize("seed", range(6))
def test_a_floor_that_went_to_zero_has_no_narrower_an_interval_than_its_profile(seed):
    n, y = sweep(seed)
    at = estimate(L_N, rows := make_rows(L_N, n, y))
    by_plane, by_profile = (
        intervals(at, rows, method=method).parameters() for method in ("delta", "profile")
    )
    assert by_plane["E"][0] == by_profile["E"][0] == 0
    assert 0.95 * by_profile["E"][1] < by_plane["E"][1] < 5 * by_profile["E"][1]


def test_very_many_rows_without_a_floor_have_an_interval_from_zero():
    n, y = sweep(1, rows=MANY + 1)
    E = fit_law("L_N", n, y, hold_out=False, compare=False).params["E"]
    assert E.method == "delta" and E.low == 0 and 0 < E.high < 0.01


@pytest.mark.parametrize("noise", ["share", "constant"])
def test_under_linear_a_new_run_has_the_noise_that_the_rows_have(noise):
    """Noise of 1 % of the loss, or of 0.01: beyond the rows, where L is 0.3, it is 0.003 or 0.01."""
    random = np.random.default_rng(0)
    n = 2.0 ** random.integers(4, 16, 200)
    exact = 0.25 + 4 * n**-0.5
    size = 0.01 * (exact if noise == "share" else 1)
    rows = make_rows(L_N, n, exact + size * random.standard_normal(200))
    ends = intervals(estimate(L_N, rows, objective("linear")), rows, method="delta")
    low, high = ends.measurement({"n_latents": np.array([2.0**18])})
    expected = 2 * 1.97 * 0.01 * (0.25 + 4 * 2**-9 if noise == "share" else 1)
    assert (high - low)[0] == pytest.approx(expected, rel=0.15)
