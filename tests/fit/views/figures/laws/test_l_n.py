"""L(N): runs, law, band, what was held out, the oracle, names at the curves, and a caption with the law in it."""

import numpy as np
import pytest

from fit.views.figures.laws import l_n
from fit.views.figures.shared import one_panel
from tests.fit.views.figures.looking import WIDTHS, assert_readable_at_its_width, lines
from tests.fit.views.figures.tables import KS, NS, all_fits, fit_l_n, l_n_law, many_ks, runs_table, study


def _drawn(made_from, style):
    return l_n.draw(l_n.numbers(made_from), made_from, style)


READABLE = {
    "three k": lambda style: _drawn(study(runs_table(), None, all_fits()), style),
    "five k": lambda style: _drawn(study(fits=many_ks()), style),
}


@pytest.mark.parametrize("style", WIDTHS)
@pytest.mark.parametrize("name", READABLE)
def test_no_text_overlaps_or_is_cut_at_the_width_of_a_column_or_a_slide(name, style):
    assert_readable_at_its_width(READABLE[name](style), style)


def test_plots_runs_law_band_held_out_and_oracle():
    fits = all_fits()
    table = l_n.numbers(study(runs_table(), None, fits))
    ax = l_n.draw(table, study(fits=fits)).axes[0]
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert ax.get_xlabel() == "number of latents n" and ax.get_ylabel() == "converged normalized MSE"
    assert len(lines(ax, "-")) == len(KS) and len(lines(ax, "--")) == len(KS)
    for line, k in zip(lines(ax, "-"), KS, strict=True):
        np.testing.assert_allclose(line.get_ydata(), l_n_law(line.get_xdata(), k))
    held = table[table["series"] == "held_out"]
    assert list(held["n_latents"]) == [NS[-1]] * len(KS)
    np.testing.assert_allclose(held["high"] / held["nmse"], 1.03)


def test_draws_an_oracle_that_every_k_shares_once_and_in_grey():
    runs = runs_table().assign(nmse_oracle=lambda t: t["n_latents"] ** -0.3)
    ax = l_n.draw(l_n.numbers(study(runs, None, all_fits())), study(fits=all_fits())).axes[0]
    (oracle,) = lines(ax, "--")
    assert oracle.get_color() == one_panel.GREY
    np.testing.assert_array_equal(oracle.get_xdata(), NS)
    np.testing.assert_allclose(oracle.get_ydata(), np.array(NS) ** -0.3)


def test_y_axis_shows_the_band_and_any_unit_of_loss():
    fits = all_fits()
    fits["fits"][2]["curve"][-1]["low"] *= 0.8
    assert (
        l_n.draw(l_n.numbers(study(None, None, fits)), study(fits=fits)).axes[0].get_ylim()[0]
        < fits["fits"][2]["curve"][-1]["low"]
    )
    for point in fits["fits"][0]["points"]:
        point["nmse"] *= 100
    fits["fits"] = [
        {**fits["fits"][0], "curve": [{**c, "value": 100 * c["value"]} for c in fits["fits"][0]["curve"]]}
    ]
    table = l_n.numbers(study(None, None, fits)).query("series != 'held_out'")
    low, high = l_n.draw(table, study(fits=fits)).axes[0].get_ylim()
    assert low < table["nmse"].min() and table["nmse"].max() < high


def test_caption_gives_formula_and_parameters_with_intervals_and_the_curves_their_names():
    made = study(runs_table(), None, all_fits())
    table = l_n.numbers(made)
    figure = l_n.draw(table, made)
    assert not figure.legends
    assert [text.get_text() for text in figure.axes[0].texts][: len(KS)] == [f"k = {k}" for k in KS]
    words = l_n.caption(table, made).markdown()
    assert "`L(N) = E + A·N^−α`, with 95 % intervals:" in words
    assert "- k = 32: E 0.141 [0.134, 0.148], A 3.00 [2.85, 3.15], α 0.300 [0.285, 0.315]; 7 points" in words
    assert "hollow: the largest scale" in words and "oracle" in words


def test_without_oracle_or_held_out_has_neither_line_nor_words():
    fits = {"fits": [fit_l_n(32, held=False)]}
    table = l_n.numbers(study(runs_table(oracle=False), None, fits))
    assert set(table["series"]) == {"run", "law"}
    assert [text.get_text() for text in l_n.draw(table, study(fits=fits)).axes[0].texts] == ["k = 32"]
    assert "oracle" not in l_n.caption(table, study(fits=fits)).text
