"""The largest scales held out: which they are, what the fit to the others says of them, and when there is no check."""

import numpy as np
import pytest

from fit import datasets
from fit.law import estimate
from fit.law.checks import held_out
from fit.law.errors import FitError
from fit.law.fit import fit_law
from fit.law.laws import named
from fit.law.losses import LOG
from fit.law.options import FitOptions
from fit.law.rows import Rows, make_rows
from tests.fit.laws_under_test import N, rows_of

GAO = datasets.load("gao2024_gpt4_lnk")


def test_gao_2024_without_its_largest_scales():
    """Paper's figure, least squares on log: trained up to 2¹⁸, 2¹⁷ and 2¹⁶ the error beyond is 1.80, 1.92, 2.61 %."""
    held = fit_law("L_NK", {"n_latents": GAO["n"], "k": GAO["k"]}, GAO["loss"]).held_out
    assert [split.up_to for split in held.splits] == [2**18, 2**17, 2**16]
    assert [100 * split.rms_log for split in held.splits] == pytest.approx([1.80, 1.92, 2.61], abs=0.01)
    assert [split.held for split in held.splits] == [5, 10, 15]
    assert held.score == held.splits[0] and held.score.up_to == 2**18


def test_scales_of_compute_are_octaves_and_those_of_n_its_values():
    rows = make_rows(named("L_C"), np.array([1.0, 1.9, 2.1, 4.1, 8.0, 8.2, 16.0]), np.linspace(0.9, 0.3, 7))
    np.testing.assert_array_equal(held_out.scales(named("L_C"), rows), [0, 1, 2, 3, 3, 4, 4])
    rows = make_rows(named("L_N"), np.array([512, 600, 512, 2048.0]), np.linspace(0.9, 0.3, 4))
    np.testing.assert_array_equal(held_out.scales(named("L_N"), rows), [0, 1, 0, 2])


def test_no_more_than_a_third_of_the_scales_is_held_out():
    counts = {
        size: len(list(held_out.largest(named("L_N"), rows_of("L_N", x={"n_latents": N[:size]}))))
        for size in (2, 5, 6, 10)
    }
    assert counts == {2: 1, 5: 1, 6: 2, 10: 3}


def test_each_split_is_fitted_once(monkeypatch):
    """With three alternatives: the law and its two others, each to all rows and without three largest scales."""
    count, original = [], estimate.estimate

    def counted(law, *rest):
        count.append(law.name)
        return original(law, *rest)

    for module in ("intervals.recipe", "checks.held_out", "checks.model_comparison"):
        monkeypatch.setattr(f"fit.law.{module}.estimate", counted)
    rows = rows_of("L_N")
    fit_law("L_N", rows.x, rows.loss)
    assert {name: count.count(name) for name in set(count)} == {"L_N": 4, "L_N_pure": 4, "L_N_broken": 4}


def test_too_few_rows_for_a_check_are_a_warning():
    rows = rows_of("L_N", x={"n_latents": N[:5]})
    result = fit_law("L_N", rows.x, rows.loss)
    assert result.held_out is None
    assert any(
        w.startswith("No check at the largest scale. Without it L_N has 3 parameters")
        for w in result.warnings
    )


def test_draws_that_keep_too_few_rows_below_the_held_out_scale_do_not_count():
    x = {"flops": np.geomspace(1e15, 1e18, 8)}
    rows = rows_of("N_C", x=x)
    weights = np.ones((30, 8))
    weights[:10, :-1] = 0
    split = held_out.splits(named("N_C"), rows, LOG)[0][0]
    assert held_out._up_to(Rows(x, rows.loss, weights), split).weights.shape == (20, len(split.train.loss))
    weights[:20, :-1] = 0
    with pytest.raises(FitError, match="only 10 of 30 draws have more than 2 rows"):
        held_out._up_to(Rows(x, rows.loss, weights), split)


def test_draws_know_nothing_of_the_scale_that_is_held_out():
    """Losses there ten times too high in every draw: the interval of the prediction stays."""
    x = {"flops": np.geomspace(1e15, 1e18, 12)}
    rows = rows_of("N_C", x=x)
    weights = np.random.default_rng(0).exponential(size=(40, 12))
    split = held_out.splits(named("N_C"), rows, LOG)[0]
    moved = rows.loss * np.where(x["flops"] > split[0].up_to, 10, 1)
    one, other = (
        held_out.held_out(split, FitOptions(), Rows(x, loss, weights)).points for loss in (rows.loss, moved)
    )
    assert one == other
