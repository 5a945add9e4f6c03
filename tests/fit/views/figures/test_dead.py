"""Fig. 14: the share of dead latents over n, one curve a k."""

import numpy as np
import pytest

from fit.views.figures import dead
from fit.views.figures.shared import inputs
from tests.fit.sweep_tables import N, Sweep
from tests.fit.views.figures.looking import assert_readable
from tests.fit.views.figures.tables import study

KS = (16, 32)


@pytest.fixture(scope="module")
def runs():
    runs, _ = Sweep().tables(lrs=(1e-4, 8e-4), ks=KS)
    worse = runs["lr"] == 8e-4
    return runs.assign(dead_fraction=np.where(worse, 0.9, 0.1 * (runs["n_latents"] / N[-1]) * 16 / runs["k"]))


def test_of_each_cell_the_run_of_the_lowest_loss(runs):
    table = dead.numbers(study(runs))
    best = runs.loc[runs.groupby(["k", "n_latents"])["nmse"].idxmin()]
    np.testing.assert_array_equal(table["dead_fraction"], best["dead_fraction"])
    assert list(table["run_id"]) == list(best["run_id"])


@pytest.mark.parametrize("style", ["paper", "talk"])
def test_a_curve_a_k_in_percent(runs, style):
    table = dead.numbers(study(runs))
    figure = dead.draw(table, study(), style)
    assert_readable(figure)
    (ax,) = figure.axes
    assert (ax.get_xscale(), ax.get_yscale(), ax.get_ylabel()) == ("log", "linear", "dead latents")
    assert [text.get_text() for text in ax.texts if text.get_text()] == ["k = 16", "k = 32"]
    for line, k in zip(ax.lines, KS, strict=True):
        np.testing.assert_array_equal(line.get_ydata(), table[table["k"] == k]["dead_fraction"])
    ticks = [tick.get_text() for tick in ax.get_yticklabels()]
    assert all(tick.endswith(" %") for tick in ticks) and "0 %" in ticks


def test_where_no_latent_is_dead_there_is_a_sentence_and_no_figure(runs):
    with pytest.raises(inputs.Missing, match="no latent is dead .*; the most in any run is 0.5 %"):
        dead.numbers(study(runs.assign(dead_fraction=np.where(runs["lr"] == 8e-4, 0.005, 0.0))))


def test_runs_too_short_to_tell_are_missing_not_zero(runs):
    with pytest.raises(inputs.Missing, match="numbers in n_latents, nmse, dead_fraction; there are none"):
        dead.numbers(study(runs.assign(dead_fraction=None)))
    one = runs.assign(dead_fraction=runs["dead_fraction"].where(runs["k"] == 16))
    assert set(dead.numbers(study(one))["k"]) == {16}
