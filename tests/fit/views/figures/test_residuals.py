"""Residuals of every law, and profiles of the exponents that agree with the intervals that the fit found."""

import numpy as np
import pytest

from fit.views.figures import profiles, residuals
from fit.views.figures.shared import inputs
from tests.fit.views.figures.looking import assert_readable
from tests.fit.views.figures.tables import study


def test_errors_are_measured_over_predicted(swept):
    table = residuals.numbers(study(None, None, swept.fits))
    assert set(table["panel"]) == {fit["law"] for fit in swept.fits["fits"]}
    for law, own in table.groupby("panel"):
        fits = [fit for fit in swept.fits["fits"] if fit["law"] == law]
        run = own[own["series"] == "run"]
        expected = [np.exp(-p["residual"]) - 1 for fit in fits for p in fit["points"]]
        np.testing.assert_allclose(run["error"], expected, rtol=1e-6, atol=1e-12)
        held = own[own["series"] == "held_out"]
        points = [p for fit in fits for p in fit["held_out"]["points"]]
        inside = (held["low"] <= held["error"]) & (held["error"] <= held["high"])
        assert list(inside) == [p["inside"] for p in points]


@pytest.mark.parametrize("style", ["paper", "talk"])
def test_a_panel_a_law_around_zero(swept, style):
    table = residuals.numbers(study(None, None, swept.fits))
    figure = residuals.draw(table, study(fits=swept.fits), style)
    assert_readable(figure)
    laws = list(dict.fromkeys(table["panel"]))
    for ax, law in zip(figure.axes, laws, strict=True):
        low, high = ax.get_ylim()
        assert low == -high and (ax.get_xscale(), ax.get_yscale()) == ("log", "linear")
        assert "rms" in ax.get_title(loc="left")
        names = table[table["panel"] == law]["fit"].nunique()
        fitted = [line for line in ax.lines if line.get_zorder() == 3]
        assert len(fitted) == names


def test_without_fits_it_is_told():
    for module in (residuals, profiles):
        with pytest.raises(inputs.Missing, match="saescale fit TABLE"):
            module.numbers(study(None, None, {"fits": []}))


def test_profiles_cross_one_at_the_ends_of_the_profile_interval(swept):
    table = profiles.numbers(study(None, None, swept.fits))
    own = table[table["panel"] == "α of L(N)"]
    assert set(own["method"]) == {"profile"} and own["fit"].nunique() == 2
    for name, part in own.groupby("fit"):
        for end, side in (
            ("low", part[: part["rise"].argmin() + 1][::-1]),
            ("high", part[part["rise"].argmin() :]),
        ):
            found = np.interp(1, side["rise"], side["value"])
            assert found == pytest.approx(
                part[end].iloc[0], abs=0.1 * (part["high"] - part["low"]).iloc[0]
            ), name


def test_profiles_begin_at_the_fit_and_never_fall_below_it(swept):
    table = profiles.numbers(study(None, None, swept.fits))
    assert table["ratio"].min() > 1 - 1e-6
    fits = {fit["law"]: fit for fit in swept.fits["fits"]}
    least = table[table["panel"] == "α of L(C)"].set_index("value")["rise"].idxmin()
    assert least == pytest.approx(fits["L_C"]["params"]["alpha"]["value"], rel=1e-2)


@pytest.mark.parametrize("style", ["paper", "talk"])
def test_a_panel_an_exponent_with_the_line_at_one(swept, style):
    table = profiles.numbers(study(None, None, swept.fits))
    figure = profiles.draw(table, study(fits=swept.fits), style)
    assert_readable(figure)
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["α of L(N)", "α of L(C)"]
    for ax, panel in zip(figure.axes, dict.fromkeys(table["panel"]), strict=True):
        own = table[table["panel"] == panel]
        curves = [line for line in ax.lines if len(line.get_xdata()) > 2]
        np.testing.assert_array_equal(np.concatenate([line.get_ydata() for line in curves]), own["rise"])
        assert any(line.get_linestyle() == ":" and set(line.get_ydata()) == {1} for line in ax.lines)


def test_a_fit_by_another_objective_has_no_profile(swept):
    huber = {"fits": [{**fit, "loss": "Huber on log nmse"} for fit in swept.fits["fits"]]}
    with pytest.raises(inputs.Missing, match="least squares on logs"):
        profiles.numbers(study(None, None, huber))
