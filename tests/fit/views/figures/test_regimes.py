"""ρ over the budget, and L(C) beside L(N), with a line for each batch size."""

import numpy as np
import pytest

from fit.regimes.lr_ratio import PAPER
from fit.views.figures.regimes import losses, lr_ratio
from fit.views.figures.shared import inputs
from tests.fit.sweep_tables import N
from tests.fit.views.figures.looking import assert_readable
from tests.fit.views.figures.tables import study


def test_the_ratios_are_those_of_the_fits(swept):
    table = lr_ratio.numbers(study(*swept))
    (group,) = swept.fits["regimes"]["groups"]
    own = table[table["series"] == lr_ratio.SERIES[0]].set_index(["tokens", "batch_tokens"])
    for reading in group["lr"]["by_tokens"]:
        for ratio in reading["ratios"]:
            if ratio["value"] is not None:
                row = own.loc[(reading["tokens"], ratio["batch_tokens"])]
                assert list(row[["value", "low", "high"]]) == [
                    ratio[name] for name in ("value", "low", "high")
                ]
    optimum = table[table["series"] == lr_ratio.SERIES[1]]
    assert list(optimum["batch_tokens"]) == [512, 2048] and optimum["tokens"].notna().all()


@pytest.mark.parametrize("style", ["paper", "talk"])
def test_a_line_for_each_batch_size_and_one_for_the_paper(swept, style):
    made = study(*swept)
    figure = lr_ratio.draw(lr_ratio.numbers(made), made, style)
    assert_readable(figure)
    (ax,) = figure.axes
    assert ax.get_ylabel().startswith("ρ") and (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    flat = [line.get_ydata()[0] for line in ax.lines if len(set(line.get_ydata())) == 1]
    assert PAPER in flat and 1.0 in flat


def test_a_bound_is_an_arrow(swept):
    table = lr_ratio.numbers(study(*swept))
    at = table["series"] == lr_ratio.SERIES[1]
    table.loc[at, ["value", "high"]] = np.nan
    figure = lr_ratio.draw(table, study(*swept))
    assert sum(line.get_marker() == "^" for line in figure.axes[0].lines) == 2


def test_without_regimes_there_is_no_ratio(swept):
    with pytest.raises(inputs.Missing, match="the best lr of both regimes"):
        lr_ratio.numbers(study(swept.runs, swept.curves))


def test_the_frontiers_stand_beside_the_converged_losses(swept):
    made = study(*swept)
    table = losses.numbers(made)
    converged = table[table["regime"] == "converged"].set_index(["x", "batch_tokens"])["nmse"]
    best = swept.runs.groupby(["n_latents", "batch_tokens"])["nmse"].min()
    np.testing.assert_array_equal(converged.sort_index(), best.sort_index())
    for B, part in table[table["regime"] == "compute"].groupby("batch_tokens"):
        curves = swept.curves[swept.curves["batch_tokens"] == B]
        assert part["nmse"].min() == pytest.approx(curves["nmse"].min(), rel=1e-9)
        assert part.sort_values("x")["nmse"].is_monotonic_decreasing
    figure = losses.draw(table, made)
    assert_readable(figure)
    left, right = figure.axes
    assert len(left.lines) == len(right.lines) == 2 and len(right.lines[0].get_xdata()) == len(N)
    with pytest.raises(inputs.Missing, match="curves"):
        losses.numbers(study(swept.runs))
