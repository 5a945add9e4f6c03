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


def test_converged_points_are_those_of_the_test_over_the_batch_size(swept, table):
    """The slope through them, each n with a level of its own, is the b of the fit; last losses have another."""
    own = table[table["regime"] == "converged"]
    (group,) = swept.fits["regimes"]["groups"]
    ((b, cells),) = [(test["b"], test["cells"]) for test in group["batch"] if test["regime"] == "converged"]
    # Of one n an lr* is at an edge of the lr.
    assert set(own["loss"]) == {"L∞"} and len(own) == 2 * cells == 2 * (len(N) - 1)
    logs = np.log(own[["batch_tokens", "nmse"]]).groupby(own["n_latents"]).transform(lambda v: v - v.mean())
    assert float(logs.prod(axis=1).sum() / (logs["batch_tokens"] ** 2).sum()) == pytest.approx(b, abs=1e-9)
    last = swept.runs.groupby(["n_latents", "batch_tokens"])["nmse"].min()
    drawn = own.set_index(["n_latents", "batch_tokens"])["nmse"]
    assert (drawn < last.reindex(drawn.index)).all()
    assert "L∞, which the tails of the runs predict" in batch.caption(table, study(fits=swept.fits)).text


def test_a_converged_loss_at_an_edge_of_the_lr_is_not_drawn(swept):
    few = swept.runs[swept.runs["lr"] >= swept.runs["lr"].median()]
    own = batch.numbers(study(few, swept.curves))
    of_n = own[own["regime"] == "converged"].groupby("n_latents")["batch_tokens"].count()
    assert len(of_n) < len(N) and (of_n == 2).all()


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
    assert len(left.lines) == batch.BUDGETS and len(right.lines) == len(N) - 1  # one n is at an edge
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


def test_the_caption_speaks_of_the_half_that_is_drawn(swept, table):
    whole = batch.caption(table, study(*swept)).text
    assert "left" in whole and "right" in whole and "not drawn" not in whole
    half = batch.caption(table[table["regime"] == "compute"], study(*swept)).text
    assert "left" not in half and "right" not in half and "is not drawn: no n has two batch sizes" in half
