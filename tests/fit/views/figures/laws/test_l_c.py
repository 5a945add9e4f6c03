"""L(C): every curve, the frontier and the law, in either count of FLOPs."""

import numpy as np
import pytest

from fit.views import figures
from fit.views.figures.laws import l_c
from tests.fit.views.figures.looking import WIDTHS, assert_readable_at_its_width, lines
from tests.fit.views.figures.tables import KS, NS, all_curves, curves_table, fit_l_c, runs_table, study


def _l_c(style, *fits):
    content = {"fits": list(fits)}
    return l_c.draw(l_c.numbers(study(None, all_curves(), content)), study(fits=content), style)


READABLE = {
    "one": lambda style: _l_c(style, fit_l_c()),
    "both conventions": lambda style: _l_c(style, fit_l_c(), fit_l_c("dense")),
    "three k": lambda style: _l_c(style, *(fit_l_c(k=k) for k in KS)),
}


@pytest.mark.parametrize("style", WIDTHS)
@pytest.mark.parametrize("name", READABLE)
def test_no_text_overlaps_or_is_cut_at_the_width_of_a_column_or_a_slide(name, style):
    assert_readable_at_its_width(READABLE[name](style), style)


@pytest.mark.parametrize("flops, words", [("sparse", "2nd + 8kd a token"), ("dense", "12nd a token")])
def test_plots_every_curve_of_its_group_the_frontier_and_the_law(flops, words):
    fits = {"fits": [fit_l_c(flops)]}
    table = l_c.numbers(study(None, all_curves(), fits))
    ax = l_c.draw(table, study(fits=fits)).axes[0]
    assert flops in ax.get_xlabel() and words in l_c.caption(table, study(fits=fits)).text
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    own = curves_table(32)
    assert len(lines(ax, "-")) == own["run_id"].nunique() == 2 * len(NS)
    drawn = np.sort(np.concatenate([line.get_xdata() for line in lines(ax, "-")]))
    np.testing.assert_allclose(drawn, np.sort(own[f"flops_{flops}"]))
    (frontier,) = lines(ax, "None", "o")
    np.testing.assert_allclose(frontier.get_ydata(), [p["nmse"] for p in fits["fits"][0]["points"]])
    (law,) = lines(ax, "--")
    np.testing.assert_allclose(law.get_ydata(), [c["value"] for c in fits["fits"][0]["curve"]])


def test_keeps_only_the_end_of_a_curve_whose_learning_rate_decays():
    table = l_c.numbers(study(None, curves_table(schedule="cosine"), {"fits": [fit_l_c()]}))
    kept = table[table["series"] == "curve"]
    assert len(kept) == 2 * len(NS)
    assert kept["flops"].min() == curves_table().groupby("run_id")["flops_sparse"].max().min()


def test_finds_in_the_runs_what_the_curves_do_not_know_of_their_group():
    fits = {"fits": [{**fit_l_c(), "group": {"k": 32, "activation": "topk"}}]}
    runs = runs_table().assign(activation=lambda t: np.where(t["n_latents"] < 2**12, "relu", "topk"))
    table = l_c.numbers(study(runs, all_curves(), fits))
    assert table[table["series"] == "curve"]["n_latents"].min() == 2**12


def test_without_curves_draws_the_rows_of_the_runs():
    rows = curves_table().drop(columns="run_id")
    table = l_c.numbers(study(rows, None, {"fits": [fit_l_c()]}))
    drawn = table[table["series"] == "curve"]
    assert len(drawn) == len(rows) and drawn["run_id"].nunique() == len(NS)


def test_fits_of_another_table_are_told(tmp_path):
    said = []
    figures.make(
        study(None, curves_table(64), {"fits": [fit_l_c(k=32)]}), tmp_path, only=["l_c"], say=said.append
    )
    assert said == ["l_c skipped: no row of the table curves belongs to its fit: is fits.json another's?"]
