"""Training curves: a panel a k, a line a run, n on one scale of colours."""

import pytest

from fit.views.figures import curves
from tests.fit.views.figures.looking import WIDTHS, assert_readable_at_its_width, lines
from tests.fit.views.figures.tables import KS, NS, all_curves, curves_table, runs_table, study

READABLE = {
    "three k": lambda style: curves.draw(curves.numbers(study(runs_table(), all_curves())), study(), style),
    "one k": lambda style: curves.draw(curves.numbers(study(None, curves_table())), study(), style),
}


@pytest.mark.parametrize("style", WIDTHS)
@pytest.mark.parametrize("name", READABLE)
def test_no_text_overlaps_or_is_cut_at_the_width_of_a_column_or_a_slide(name, style):
    assert_readable_at_its_width(READABLE[name](style), style)


def test_they_have_a_panel_per_k_and_a_line_per_run():
    table = curves.numbers(study(runs_table(), all_curves()))
    figure = curves.draw(table, study())
    panels = [ax for ax in figure.axes if ax.get_title(loc="left")]
    assert [ax.get_title(loc="left") for ax in panels] == [f"k = {k}" for k in KS]
    for ax in panels:
        assert len(lines(ax, "-")) == 2 * len(NS)
        assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    ends = table.drop_duplicates("run_id")["ended"].value_counts().to_dict()
    assert ends == {"converged": 18, "not converged": 21, "diverged or failed": 3}


@pytest.mark.parametrize(
    ("sizes", "words"),
    [((512, 1024), ["$\\mathdefault{2^{9}}$", "$\\mathdefault{2^{10}}$"]), ((32, 1500), ["32", "1,500"])],
)
def test_the_key_is_in_powers_of_two_only_if_every_n_is_one(sizes, words):
    table = curves.numbers(
        study(
            None,
            all_curves()
            .query("n_latents < 2000")
            .replace({"n_latents": dict(zip((512, 1024), sizes, strict=True))}),
        )
    )
    ax = curves.draw(table, study()).axes[0]
    assert [text.get_text() for text in ax.texts] == [f"n = {words[0]}", words[1]]
