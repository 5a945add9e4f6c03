"""The frontier of Gao et al. 2024, Fig. 1 left, from its digitised curves (±1 % in NMSE, ±5 % in C): golden case 2.

C is in fractions of GPT-4's pretraining; the paper prints L = 0.09 + 0.056·C^−0.084.
"""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fit import datasets
from fit.compute.frontier import envelope, frontier, resampled
from fit.compute.isoflop import isoflops
from fit.compute.optima import crossovers
from fit.compute.sensitivity import sensitivity, ways
from fit.data.curves import candidates
from fit.law.fit import fit_law

NEEDED = 5
MAPPING = {"n_latents": "n", "flops_sparse": "C"}


@pytest.fixture(scope="module")
def digitised():
    folder = os.environ.get("SAESCALE_REFERENCE_DATA")
    if not folder:
        pytest.skip("SAESCALE_REFERENCE_DATA names no folder with gao2024_gpt4_lc_digitised.csv")
    table = pd.read_csv(Path(folder) / "gao2024_gpt4_lc_digitised.csv")
    return table.assign(**{ours: table[theirs] for ours, theirs in MAPPING.items()})


def plain_fit(points):
    x = {"flops": points["flops"]}
    return fit_law("L_C", x, points["nmse"], method="delta", hold_out=False, compare=False)


def values(fit):
    return [fit.params[name].value for name in ("E", "A", "alpha")]


def slope(points):
    return np.polyfit(np.log(points["flops"]), np.log(points["n_latents"]), 1)[0]


def printed(points):
    """Relative error of the points against the law that the paper prints."""
    return points["nmse"] / (0.09 + 0.056 * points["flops"] ** -0.084) - 1


def test_the_frontier_is_the_printed_law_within_2_percent(digitised):
    """Where the grid of n does not end, up to C = 1.8e-5; two points of 55 are off by up to 2.3 %."""
    points = frontier(digitised, "flops_sparse", NEEDED, min_flops=1e-9).points
    error = printed(points)
    assert len(points) > 50 and 1.7e-5 < points["flops"].max() < 2e-5
    assert (np.abs(error) < 0.02).mean() > 0.95 and np.sqrt(np.mean(error**2)) < 0.012


def test_the_whole_envelope_is_the_printed_law_within_4_percent(digitised):
    """Golden case 2 says ±2 % for 1e-9 < C < 4e-4, and no envelope of these curves is so near.

    Ours is off by up to 4.1 %, where only n = 2^24 is left, at C = 6e-5; the lowest points of plain bins in log C, of
    0.05 to 0.3 decades, by 4.0 to 4.9 %. The curves were read to ±1 % in NMSE and ±5 % in C.
    """
    of = candidates(digitised, "flops_sparse")
    points = of.table(envelope(of, (np.exp(of.log_c) > 1e-9) & (np.exp(of.log_c) < 4e-4)))
    error = printed(points)
    assert 0.04 < np.abs(error).max() < 0.042 and (np.abs(error) < 0.02).mean() > 0.8
    assert points["n_latents"][np.abs(error).idxmax()] == pytest.approx(2**24, rel=0.1)


def test_cross_checks_of_the_joint_law_at_k_256():
    """The floor of L(N, k=256), .157, is above that of L(C), .09; L(2^24, 256) = .203, where the run has ≈ .195."""
    gao = datasets.load("gao2024_gpt4_lnk")
    fit = fit_law("L_NK", {"n_latents": gao["n"], "k": gao["k"]}, gao["loss"], hold_out=False, compare=False)
    assert fit.derived["E(k=256)"].value == pytest.approx(0.157, abs=5e-4)
    assert fit.predict(n_latents=2**24, k=256)[0] == pytest.approx(0.203, abs=5e-4)


def test_a_free_fit_finds_the_printed_law(digitised):
    found = frontier(digitised, "flops_sparse", NEEDED, min_flops=1e-9)
    x = {"flops": found.points["flops"]}
    rows = resampled(found, 200, 0, NEEDED)
    fit = fit_law("L_C", x, found.points["nmse"], replicates=rows, hold_out=False, compare=False)
    for name, printed in {"E": 0.09, "A": 0.056, "alpha": 0.084}.items():
        assert fit.params[name].value == pytest.approx(printed, rel=0.05)
        assert fit.params[name].low <= printed <= fit.params[name].high


def test_the_whole_envelope_gives_another_law(digitised):
    """With the sizes below 2^15 from C = 3e-10 on and the whole of 2^24: 0.112 + 0.042·C^−0.094, a scatter of 1.8 %."""
    of = candidates(digitised, "flops_sparse")
    points = of.table(envelope(of, np.exp(of.log_c) >= 3e-10))
    fit = plain_fit(points)
    assert values(fit) == pytest.approx([0.112, 0.042, 0.094], rel=0.04)
    assert fit.rms_log == pytest.approx(0.018, abs=0.003)


def test_isoflop_vertices_give_the_printed_law_too(digitised):
    found = frontier(digitised, "flops_sparse", NEEDED, min_flops=1e-9)
    points = ways(found)["isoflop"]
    np.testing.assert_allclose(points["nmse"], 0.09 + 0.056 * points["flops"] ** -0.084, rtol=0.02)
    assert plain_fit(points).params["alpha"].value == pytest.approx(0.084, abs=0.01)


def test_best_n_grows_as_the_square_root_of_compute(digitised):
    """N* ∝ C^0.52 roughly, from where the printed law compute_optimal_points the curves."""
    of = candidates(digitised, "flops_sparse")
    for points in (crossovers(of).points, isoflops(of).points):
        assert slope(points) == pytest.approx(0.52, abs=0.03)


def test_the_lower_cut_matters_more_than_it_should(digitised):
    found = frontier(digitised, "flops_sparse", NEEDED, min_flops=1e-9)
    base = plain_fit(found.points)
    rows = {row.choice: row.alpha for row in sensitivity(digitised, "flops_sparse", base, found, NEEDED).rows}
    assert rows["from 2 octaves higher"] < 0.065 < rows["as fitted"] < rows["convex hull"]
