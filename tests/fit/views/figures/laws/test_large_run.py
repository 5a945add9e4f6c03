"""Fig. 26: the largest run against the law that was fitted without it."""

import numpy as np
import pytest

from fit.views.figures.laws import large_run
from fit.views.figures.shared import inputs
from tests.fit.sweep_tables import N
from tests.fit.views.figures.looking import assert_readable
from tests.fit.views.figures.tables import study


def test_the_run_is_the_one_held_out_and_the_law_what_was_predicted(swept):
    table = large_run.numbers(study(*swept))
    fits = [fit for fit in swept.fits["fits"] if fit["law"] == "L_N"]
    assert table["panel"].nunique() == len(fits) == 2 and set(table["n_latents"]) == {N[-1]}
    law = table[table["series"] == "L(N)"]
    for (_, row), fit in zip(law.iterrows(), fits, strict=True):
        held = fit["held_out"]
        assert (row["nmse"], row["low"], row["high"]) == (held["predicted"], held["low"], held["high"])
        largest = max(fit["points"], key=lambda point: point["n_latents"])
        assert row["run_id"] == largest["run_id"]
        own = table[(table["run_id"] == row["run_id"]) & (table["series"] == "run")]
        curve = swept.curves[swept.curves["run_id"] == row["run_id"]].sort_values("tokens")
        np.testing.assert_array_equal(own["nmse"], curve["nmse"])


@pytest.mark.parametrize("style", ["paper", "talk"])
def test_a_curve_and_a_horizontal_band_a_panel(swept, style):
    table = large_run.numbers(study(*swept))
    figure = large_run.draw(table, study(fits=swept.fits), style)
    assert_readable(figure)
    for ax, name in zip(figure.axes, dict.fromkeys(table["panel"]), strict=True):
        assert (ax.get_xscale(), ax.get_yscale(), ax.get_xlabel()) == ("log", "log", "tokens")
        assert ax.get_title(loc="left") == name and [text.get_text() for text in ax.texts] == ["n = 8,192"]
        own = table[table["panel"] == name]
        law = own[own["series"] == "L(N)"].iloc[0]
        (band,) = ax.patches
        box = band.get_extents().transformed(ax.transData.inverted())
        np.testing.assert_allclose([box.y0, box.y1], [law["low"], law["high"]])
        assert len(ax.lines) == 2


def test_without_a_prediction_or_its_curve_it_is_told(swept):
    with pytest.raises(inputs.Missing, match="held out its largest n"):
        large_run.numbers(study(swept.runs, swept.curves, {"fits": []}))
    other = swept.curves.assign(run_id="another")
    with pytest.raises(inputs.Missing, match="share no run_id"):
        large_run.numbers(study(swept.runs, other, swept.fits))
    with pytest.raises(inputs.Missing, match="the table curves"):
        large_run.numbers(study(swept.runs, None, swept.fits))
