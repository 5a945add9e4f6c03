"""L(N, K): the published points under their law, and whatever `fit` returns."""

import dataclasses
import json

import numpy as np
import pytest

from fit.law.fit import fit_law
from fit.study.fits_file import write_json
from fit.views import figures
from fit.views.figures.laws import l_n, l_nk
from tests.fit.views.figures.looking import WIDTHS, assert_readable, assert_readable_at_its_width, lines
from tests.fit.views.figures.tables import all_fits, fit_l_nk, gao, study, written


def _two_joint(style):
    content = {"fits": [{**fit_l_nk(), "group": {"data": data}} for data in ("gpt2_small", "toy")]}
    return l_nk.draw(l_nk.numbers(study(None, None, content)), study(fits=content), style)


READABLE = {
    "one": lambda style: l_nk.draw(
        l_nk.numbers(study(None, None, all_fits())), study(fits=all_fits()), style
    ),
    "two": _two_joint,
}


@pytest.mark.parametrize("style", WIDTHS)
@pytest.mark.parametrize("name", READABLE)
def test_no_text_overlaps_or_is_cut_at_the_width_of_a_column_or_a_slide(name, style):
    assert_readable_at_its_width(READABLE[name](style), style)


def test_plots_the_published_points_and_their_law():
    fits = all_fits()
    table = l_nk.numbers(study(None, None, fits))
    ax = l_nk.draw(table, study(fits=fits)).axes[0]
    paper = gao().sort_values(["k", "n"])
    dots, laws = lines(ax, "None", "o"), lines(ax, "--")
    np.testing.assert_allclose(np.concatenate([d.get_ydata() for d in dots]), paper["loss"])
    for line, k in zip(laws, sorted(set(paper["k"])), strict=True):
        drawn = np.exp(
            np.interp(np.log(paper["n"][paper["k"] == k]), np.log(line.get_xdata()), np.log(line.get_ydata()))
        )
        # paper_fit is the dashed line of the published figure; 30 points a line are straight within 0.1 %.
        np.testing.assert_allclose(drawn, paper["paper_fit"][paper["k"] == k], rtol=1e-3)
    assert len({line.get_color() for line in laws}) == 5
    assert [text.get_text() for text in ax.texts][:5] == ["k = 32", "k = 64", "k = 128", "k = 256", "k = 512"]


def test_what_the_fitter_returns_is_what_the_figures_take(tmp_path):
    paper, said = gao(), []
    joint = fit_law("L_NK", {"n_latents": paper["n"], "k": paper["k"]}, paper["loss"])
    of_32 = paper[paper["k"] == 32]
    single = dataclasses.replace(
        fit_law("L_N", of_32["n"].to_numpy(), of_32["loss"].to_numpy()), group={"k": 32}
    )
    write_json([joint, single], "paper", tmp_path / "fits.json")
    fits = json.loads((tmp_path / "fits.json").read_text())
    paths = figures.make(study(None, None, fits), tmp_path, only=["l_n", "l_nk"], say=said.append)
    assert len(paths) == 10, said
    held = written(tmp_path, "l_nk").query("series == 'held_out'")
    assert list(held["k"]) == [32, 64, 128, 256, 512] and set(held["n_latents"]) == {2**19}
    for figure in (l_n, l_nk):
        assert_readable(figure.draw(figure.numbers(study(None, None, fits)), study(fits=fits)))
