"""N*(C), D*(C), lr*(C), lr*(n), and the two budgets of each n: what the fits say, drawn."""

import numpy as np
import pytest

from fit.regimes.batch import Batch
from fit.regimes.compare import Group, Regimes
from fit.regimes.lr_ratio import Ratio
from fit.study.study_tables import StudyTables
from fit.views.figures import isoflop, optima
from fit.views.figures.regimes import budgets
from fit.views.figures.shared import inputs
from tests.fit.sweep_tables import Sweep
from tests.fit.views.figures.looking import assert_readable
from tests.fit.views.figures.tables import study


@pytest.mark.parametrize("style", ["paper", "talk"])
def test_a_panel_a_law_with_the_points_of_every_way(swept, style):
    table = optima.numbers(study(None, None, swept.fits))
    figure = optima.draw(table, study(fits=swept.fits), style)
    assert_readable(figure)
    assert list(dict.fromkeys(table["panel"])) == ["N_C", "D_C", "LR_C", "LR_N"]
    for ax, law in zip(figure.axes, optima.LAWS, strict=True):
        fits = [fit for fit in swept.fits["fits"] if fit["law"] == law]
        assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
        laws = [line for line in ax.lines if line.get_linestyle() != "None" and line.get_marker() == "None"]
        assert len(laws) == len(fits)
        own = table[(table["panel"] == law) & (table["series"] == "run")]
        expected = np.sort([p[fit["response"]] for fit in fits for p in fit["points"]])
        np.testing.assert_array_equal(np.sort(own["y"]), expected)
        assert ax.get_title(loc="left") == optima.LAWS[law][2]
    words = optima.caption(table, study(fits=swept.fits)).markdown()
    assert "sparse convention" in words
    assert words.count("\n- ") == sum(fit["law"] in optima.LAWS for fit in swept.fits["fits"])


def test_a_missing_law_leaves_the_others(swept):
    some = {"fits": [fit for fit in swept.fits["fits"] if fit["law"] == "LR_N"]}
    table = optima.numbers(study(None, None, some))
    assert set(table["panel"]) == {"LR_N"}
    assert len(optima.draw(table, study(fits=some)).axes) == 1
    with pytest.raises(inputs.Missing, match="one of the laws N_C, D_C, LR_C, LR_N"):
        optima.numbers(study())


@pytest.mark.parametrize("style", ["paper", "talk"])
def test_budgets_are_those_of_the_regimes(swept, style):
    table = budgets.numbers(study(None, None, swept.fits))
    (group,) = swept.fits["regimes"]["groups"]
    for regime in ("compute", "converged"):
        own = table[table["regime"] == regime]
        for key in ("tokens", "nmse"):
            np.testing.assert_array_equal(own[key], [row[regime][key] for row in group["budgets"]])
    figure = budgets.draw(table, study(fits=swept.fits), style)
    assert_readable(figure)
    left, right = figure.axes
    assert [ax.get_title(loc="left") for ax in (left, right)] == ["tokens", "normalized MSE"]
    marked = [line for line in left.lines if line.get_marker() == "o"]
    np.testing.assert_array_equal(marked[0].get_ydata(), table[table["regime"] == "compute"]["tokens"])
    ratios = [row["token_ratio"] for row in group["budgets"]]
    words = budgets.caption(table, study(fits=swept.fits)).text
    assert f"{min(ratios):.2g}–{max(ratios):.2g} times" in words


def test_without_budgets_the_reasons_are_told():
    unknown = Ratio((), None, None, None, None, ())
    batches = Batch("converged", reason=""), Batch("compute", reason="")
    regimes = Regimes((Group({}, unknown, batches, (), ("No run is done and converged.",)),), (), ())
    with pytest.raises(inputs.Missing, match="both budgets.*No run is done and converged"):
        budgets.numbers(StudyTables(regimes=regimes))
    with pytest.raises(inputs.Missing, match="both budgets"):
        budgets.numbers(StudyTables())


@pytest.mark.parametrize("style", ["paper", "talk"])
def test_isoflop_vertices_are_the_fits_and_points_the_lowest_losses(swept, style):
    table = isoflop.numbers(study(*swept))
    (fit,) = [fit for fit in swept.fits["fits"] if fit["law"] == "L_C"]
    known = fit["extra"]["isoflop"]["points"]
    vertices = table[table["series"] == "vertex"]
    assert len(vertices) == min(isoflop.MOST, len(known))
    assert set(vertices["n_latents"]) <= {point["n_latents"] for point in known}
    truth, points = Sweep(b=0.2), table[table["series"] == "point"]
    for C, n, loss in zip(points["flops"], points["n_latents"], points["nmse"], strict=True):
        D = C / truth.flops(n, 1.0)
        lrs = swept.runs["lr"].unique()
        assert loss == pytest.approx(min(truth.loss(n, D, lr, 512) for lr in lrs), rel=0.02)
    figure = isoflop.draw(table, study(fits=swept.fits), style)
    assert_readable(figure)
    ax = figure.axes[0]
    stars = [line for line in ax.lines if line.get_marker() == "*"]
    np.testing.assert_array_equal([line.get_ydata()[0] for line in stars], vertices["nmse"])
    assert ax.texts[0].get_text().startswith("C = ")
    assert "sparse convention" in isoflop.caption(table, study(fits=swept.fits)).text


def test_isoflop_parabolas_touch_their_vertex_and_rise(swept):
    table = isoflop.numbers(study(*swept))
    for C, own in table.groupby("flops"):
        vertex = own[own["series"] == "vertex"].iloc[0]
        parabola = own[own["series"] == "parabola"]
        assert parabola["nmse"].min() == pytest.approx(vertex["nmse"]), C
    with pytest.raises(inputs.Missing, match="parabola with its vertex"):
        isoflop.numbers(study(swept.runs, swept.curves, _without_vertices(swept.fits)))
    with pytest.raises(inputs.Missing, match="fit of the law L_C"):
        isoflop.numbers(study(swept.runs, swept.curves))


def _without_vertices(fits):
    return {"fits": [{**fit, "extra": {}} for fit in fits["fits"]]}
