"""Fig. 11: tokens to convergence over n with T_N, its band, and the paper's exponents in words."""

import numpy as np
import pytest

from fit.views.figures.laws import tokens
from fit.views.figures.shared import inputs
from tests.fit.views.figures.looking import assert_readable, lines
from tests.fit.views.figures.tables import study


@pytest.mark.parametrize("style", ["paper", "talk"])
def test_points_law_and_band_are_those_of_the_fits(swept, style):
    table = tokens.numbers(study(None, None, swept.fits))
    figure = tokens.draw(table, study(fits=swept.fits), style)
    assert_readable(figure)
    (ax,) = figure.axes
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert ax.get_ylabel() == "tokens to convergence"
    fits = [fit for fit in swept.fits["fits"] if fit["law"] == "T_N"]
    assert len(fits) == len(ax.collections[:2]) == len(lines(ax, "-")) + len(lines(ax, "--")) == 2
    drawn = np.concatenate([line.get_ydata() for line in lines(ax, "None", "o")])
    np.testing.assert_array_equal(drawn, [p["tokens"] for fit in fits for p in fit["points"]])
    assert [text.get_text() for text in ax.texts if text.get_text()] == ["B = 512", "B = 2048"]
    words = tokens.caption(table, study(fits=swept.fits)).text
    assert words.endswith("Gao et al. 2024 report g = 0.60 (GPT-2 small) and 0.65 (GPT-4).")


def test_without_the_law_it_is_told():
    with pytest.raises(inputs.Missing, match="saescale fit TABLE --law T_N"):
        tokens.numbers(study(None, None, {"fits": []}))
