"""Fig. 12: the batch size moves the loss at equal compute and leaves the converged one."""

import numpy as np
import pytest

from fit.views.figures.regimes import batch
from fit.views.figures.shared import inputs
from tests.fit.sweep_tables import N
from tests.fit.views.figures.looking import assert_readable
from tests.fit.views.figures.tables import study


@pytest.fixture(scope="module")
def table(swept):
    return batch.numbers(study(*swept))


def test_converged_points_are_the_best_lr_of_each_n_and_batch(swept, table):
    own = table[table["regime"] == "converged"].set_index(["n_latents", "batch_tokens"])["nmse"]
    best = swept.runs.groupby(["n_latents", "batch_tokens"])["nmse"].min()
    np.testing.assert_array_equal(own.sort_index(), best.sort_index())
    assert len(own) == 2 * len(N)


def test_at_equal_compute_the_larger_batch_is_worse_and_each_point_is_a_lowest_loss(swept, table):
    own = table[table["regime"] == "compute"].pivot(index="value", columns="batch_tokens", values="nmse")
    assert len(own) == batch.BUDGETS and (own[2048.0] > own[512.0]).all()
    curves = swept.curves[swept.curves["batch_tokens"] == 512]
    for C, loss in own[512.0].items():
        reached = curves[curves["flops_sparse"] <= C]["nmse"].min()
        assert loss == pytest.approx(reached, rel=0.03)  # interpolated within a quarter octave


@pytest.mark.parametrize("style", ["paper", "talk"])
def test_two_panels_and_the_exponent_of_each_in_the_caption(swept, table, style):
    figure = batch.draw(table, study(fits=swept.fits), style)
    assert_readable(figure)
    left, right = figure.axes
    assert len(left.lines) == batch.BUDGETS and len(right.lines) == len(N)
    assert (left.get_xscale(), left.get_yscale(), left.get_xlabel()) == ("log", "log", "batch size B, tokens")
    (group,) = swept.fits["regimes"]["groups"]
    words = batch.caption(table, study(fits=swept.fits)).text
    for test in group["batch"]:
        assert f"{test['b']:.3f}"[:4].replace("-", "−") in words
    assert "sparse FLOPs" in words


def test_one_batch_size_or_no_curves(swept):
    with pytest.raises(inputs.Missing, match="two batch sizes or more in the column batch_tokens"):
        batch.numbers(study(swept.runs[swept.runs["batch_tokens"] == 512]))
    assert set(batch.numbers(study(swept.runs))["regime"]) == {"converged"}
    assert_readable(batch.draw(batch.numbers(study(swept.runs)), study()))
