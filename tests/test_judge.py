"""Judging: the largest scales held out, laws compared by them, AICc, and the rows that a result lists."""

import numpy as np
import pytest

from fit import datasets, judge
from fit.estimate import estimate
from fit.fitting import fit_law
from fit.laws import named
from fit.losses import LOG
from fit.rows import make_rows
from tests.laws_under_test import INPUTS, TRUTH, N

GAO = datasets.load("gao2024_gpt4_lnk")


def rows_of(law, scale=0.003, seed=0, x=None):
    x = INPUTS[law] if x is None else x
    y = named(law).loss(TRUTH[law], x)
    return make_rows(named(law), x, y * np.exp(scale * np.random.default_rng(seed).standard_normal(len(y))))


def test_gao_2024_without_its_largest_scales():
    """Paper's figure, least squares on log: trained up to 2¹⁸, 2¹⁷ and 2¹⁶ the error beyond is 1.80, 1.92, 2.61 %."""
    held = fit_law("L_NK", {"n_latents": GAO["n"], "k": GAO["k"]}, GAO["loss"]).held_out
    assert [split["up_to"] for split in held["splits"]] == [2**18, 2**17, 2**16]
    assert [100 * split["rms_log"] for split in held["splits"]] == pytest.approx([1.80, 1.92, 2.61], abs=0.01)
    assert [split["held"] for split in held["splits"]] == [5, 10, 15]
    assert held["rms_log"] == held["splits"][0]["rms_log"] and held["up_to"] == 2**18


def test_floor_of_gao_2024_earns_its_place():
    """Without the floor the error beyond 2¹⁶ is 5.7 %."""
    laws = fit_law("L_NK", {"n_latents": GAO["n"], "k": GAO["k"]}, GAO["loss"]).comparison
    assert [law["law"] for law in laws] == ["L_NK", "L_NK_pure"]
    rows = make_rows(named("L_NK_pure"), {"n_latents": GAO["n"], "k": GAO["k"]}, GAO["loss"])
    assert 100 * judge.scores(named("L_NK_pure"), rows, LOG)[2]["rms_log"] == pytest.approx(5.7, abs=0.1)


def test_scales_of_compute_are_octaves_and_those_of_n_its_values():
    rows = make_rows(named("L_C"), np.array([1.0, 1.9, 2.1, 4.1, 8.0, 8.2, 16.0]), np.linspace(0.9, 0.3, 7))
    np.testing.assert_array_equal(judge.scales(named("L_C"), rows), [0, 1, 2, 3, 3, 4, 4])
    rows = make_rows(named("L_N"), np.array([512, 600, 512, 2048.0]), np.linspace(0.9, 0.3, 4))
    np.testing.assert_array_equal(judge.scales(named("L_N"), rows), [0, 1, 0, 2])


def test_no_more_than_a_third_of_the_scales_is_held_out():
    counts = {
        size: len(list(judge.splits(named("L_N"), rows_of("L_N", x={"n_latents": N[:size]}))))
        for size in (2, 5, 6, 10)
    }
    assert counts == {2: 1, 5: 1, 6: 2, 10: 3}


WIDE = {"n_latents": np.geomspace(2**8, 2**18, 21)}


@pytest.mark.parametrize("law", ["L_N", "L_N_pure", "L_N_broken"])
def test_the_law_that_made_the_rows_wins_mostly(law):
    """Seeds 0 to 9, 0.05 % noise. A tenth of the error decides, so a law that can mimic it wins now and then."""
    best = []
    for seed in range(10):
        rows = rows_of(law, 0.0005, seed, WIDE)
        laws = judge.comparison(estimate(named("L_N"), rows), rows, LOG)
        assert {one["law"] for one in laws} == {"L_N", "L_N_pure", "L_N_broken"}
        best.append(laws[0]["law"])
    assert best.count(law) >= 7


def test_a_better_law_is_named_with_both_errors():
    result = fit_law("L_N_pure", WIDE, rows_of("L_N", 0.00001, x=WIDE).loss)
    (warning,) = [w for w in result.warnings if "predicts held-out scales better" in w]
    assert warning.startswith("L_N predicts") and "E + A·N^−α" in warning and warning.count("%") == 2


def test_within_a_tenth_of_the_best_error_aicc_decides():
    laws = [
        {"law": "a", "held_out_rms": 0.0105, "aicc": -10.0, "formula": "a", "rms_log": 0.0},
        {"law": "b", "held_out_rms": 0.0100, "aicc": -5.0, "formula": "b", "rms_log": 0.0},
        {"law": "c", "held_out_rms": 0.0200, "aicc": -50.0, "formula": "c", "rms_log": 0.0},
        {"law": "d", "held_out_rms": None, "aicc": -90.0, "formula": "d", "rms_log": 0.0},
    ]
    assert [law["law"] for law in judge.ranked(laws)] == ["a", "b", "c", "d"]


def test_aicc_is_that_of_the_gaussian_likelihood():
    rows = rows_of("L_N")
    at = estimate(named("L_N"), rows)
    s2 = at.deviance / 10
    log_likelihood = -5 * np.log(2 * np.pi * s2) - 5
    expected = 2 * 4 - 2 * log_likelihood + 2 * 4 * 5 / (10 - 5)
    # Both leave out n (ln 2π + 1), the same for every law.
    assert judge.aicc(at) == pytest.approx(expected - 10 * (np.log(2 * np.pi) + 1))


def test_aicc_of_as_many_parameters_as_rows_is_unknown():
    assert judge.aicc(estimate(named("L_N"), rows_of("L_N", x={"n_latents": N[:5]}))) is None


def test_points_are_the_rows_with_their_residuals():
    rows = rows_of("L_N")
    result = fit_law("L_N", rows.x, rows.loss)
    for i, point in enumerate(result.points):
        assert (point["row"], point["n_latents"], point["nmse"]) == (i, rows.x["n_latents"][i], rows.loss[i])
        assert point["residual"] == pytest.approx(np.log(point["predicted"] / point["nmse"]), abs=1e-12)
    assert np.sqrt(np.mean([point["residual"] ** 2 for point in result.points])) == pytest.approx(
        result.rms_log
    )


def test_a_long_table_lists_an_even_sample_of_its_rows_and_every_outlier(monkeypatch):
    monkeypatch.setattr(judge, "MOST_FITTED", 10)
    x = {"n_latents": np.geomspace(2**8, 2**18, 60)}
    y = rows_of("L_N", x=x).loss.copy()
    y[31] *= 1.1
    result = fit_law("L_N", x, y, compare=False)
    shown = [point["row"] for point in result.points]
    assert len(shown) in (10, 11) and {0, 31, 59} <= set(shown)
    assert [point["row"] for point in result.outliers] == [31]
