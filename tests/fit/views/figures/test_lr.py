"""Fig. 3: NMSE over lr, each n's optimum, the law through them, and words that do not collide."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from fit.converged.tails import limits
from fit.views.figures import lr
from fit.views.figures.shared import inputs, labels
from tests.fit.sweep_tables import N, Sweep
from tests.fit.views.figures.conftest import LRS
from tests.fit.views.figures.looking import assert_readable
from tests.fit.views.figures.tables import study


@pytest.fixture(scope="module")
def table(swept):
    return lr.numbers(study(*swept))


def test_a_panel_a_batch_size_and_a_point_an_lr(swept, table):
    assert list(dict.fromkeys(table["panel"])) == ["k = 32, B = 512", "k = 32, B = 2048"]
    own = table[(table["panel"] == "k = 32, B = 512") & (table["series"] == "run")]
    runs = swept.runs[swept.runs["batch_tokens"] == 512].sort_values(["n_latents", "lr"])
    limit, _ = limits(runs, swept.curves)
    np.testing.assert_allclose(own["nmse"], limit["value"])
    assert (own["nmse"] < runs["nmse"].to_numpy()).all() and set(table["loss"]) == {"L∞"}
    assert lr.draw(table, study()).axes[0].get_ylabel() == "L∞, normalized MSE"
    np.testing.assert_array_equal(own["lr"], runs["lr"])


def test_tokens_are_those_to_convergence_not_those_of_the_run():
    truth = Sweep()
    runs, curves = truth.tables(lrs=LRS)
    own = lr.numbers(study(runs, curves)).query("series == 'run'")
    expected = [
        truth.seen() * truth.tokens(n, rate) for n, rate in zip(own["n_latents"], own["lr"], strict=True)
    ]
    np.testing.assert_allclose(own["tokens"], expected, rtol=0.02)


def test_optimum_and_law_are_those_of_the_fits(swept, table):
    fit = next(f for f in swept.fits["fits"] if f["law"] == "LR_N" and f["group"]["batch_tokens"] == 512)
    own = table[table["panel"] == "k = 32, B = 512"]
    best = own[own["series"] == "optimum"].sort_values("n_latents")
    np.testing.assert_allclose(best["lr"], [p["lr"] for p in fit["points"]])
    law = own[own["series"] == "law"].sort_values("n_latents")
    np.testing.assert_allclose(law["lr"], [p["predicted"] for p in fit["points"]], rtol=1e-6)
    assert (law["low"] < law["lr"]).all() and (law["lr"] < law["high"]).all()


@pytest.mark.parametrize("style", ["paper", "talk"])
def test_words_overlap_nothing_and_name_their_tokens(table, style):
    figure = lr.draw(table, study(), style)
    assert_readable(figure)
    ax = figure.axes[0]
    assert (ax.get_xscale(), ax.get_yscale(), ax.get_xlabel()) == ("log", "log", "learning rate")
    assert sum(len(line.get_xdata()) == len(LRS) and line.get_marker() == "." for line in ax.lines) == len(N)
    own = table[(table["panel"] == "k = 32, B = 512") & table["tokens"].notna()]
    said = {labels.short(tokens) for tokens in own["tokens"]}
    words = [word for word in ax.texts if word.get_text() in said]
    assert words and len(words) == len(ax.texts) - 2  # the two ends of the scale of n
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [word.get_window_extent(renderer) for word in words]
    stars = next(line for line in ax.lines if line.get_marker() == "*")
    for x, y in ax.transData.transform(stars.get_xydata()):
        assert not any(box.contains(x, y) for box in boxes)


def test_without_curves_and_fits_there_is_neither_law_nor_word(swept):
    table = lr.numbers(study(swept.runs))
    assert set(table["series"]) == {"run", "optimum"} and table["tokens"].isna().all()
    ends = lr.numbers(study(swept.runs.drop(columns=["nmse_inf", "nmse_inf_se"])))
    assert set(ends["loss"]) == {"last loss"}
    assert len(lr.draw(table, study()).axes[0].texts) == 2


def test_panels_of_limits_and_of_last_losses_say_so_each(swept):
    """Only the runs of one batch size have curves, or of one n."""
    runs = swept.runs.drop(columns=["nmse_inf", "nmse_inf_se"])
    table = lr.numbers(study(runs, swept.curves[swept.curves["batch_tokens"] == 512]))
    kinds = {panel: set(part["loss"]) for panel, part in table.groupby("panel")}
    assert kinds == {"k = 32, B = 512": {"L∞"}, "k = 32, B = 2048": {"last loss"}}
    figure = lr.draw(table, study())
    assert_readable(figure)
    assert [ax.get_title("left") for ax in figure.axes[:2]] == [
        "k = 32, B = 512: L∞",
        "k = 32, B = 2048: last loss",
    ]
    assert figure.axes[0].get_ylabel() == "L∞ or last loss, normalized MSE"
    assert "L∞, or where too few tails are known the last loss" in lr.caption(table, study()).text
    ids = runs["run_id"][(runs["n_latents"] == N[0]) & (runs["lr"] != LRS[0])]
    few = lr.numbers(study(runs, swept.curves[~swept.curves["run_id"].isin(ids)]))
    of_first = few["n_latents"] == N[0]
    assert set(few["loss"][of_first]) == {"last loss"} and set(few["loss"][~of_first]) == {"L∞"}
    assert lr.draw(few, study()).axes[0].get_ylabel() == "L∞ or last loss, normalized MSE"


def test_two_lr_are_too_few(swept):
    few = swept.runs[swept.runs["lr"].isin(LRS[:2])]
    with pytest.raises(inputs.Missing, match="converged runs of one n_latents at three lr"):
        lr.numbers(study(few))
    with pytest.raises(inputs.Missing, match="it needs the columns lr in the table runs"):
        lr.numbers(study(swept.runs.drop(columns="lr")))
