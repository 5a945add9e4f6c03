"""A figure in one's own layout and look: a panel on any axes, widths, texts, a style file; colours that stay."""

import json

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from fit.law.errors import FitError
from fit.views import figures
from fit.views.figures.laws import l_n, l_nk
from fit.views.figures.shared import direct, identity, layout, style
from fit.views.verbs import figures as cli
from tests.fit.views.figures.tables import KS, all_fits, runs_table, study


@pytest.fixture
def made():
    return study(runs_table(), None, all_fits())


def test_a_panel_is_drawn_on_any_axes(made):
    figure = Figure()
    left, right = figure.subplots(1, 2)
    table = figures.on(left, "l_n", made)
    pd.testing.assert_frame_equal(table, l_n.numbers(made))
    figures.on(right, "l_nk", made, named=False)
    assert left.get_xlabel() == "number of latents n" and len(left.texts) >= len(KS) and not right.texts
    with pytest.raises(FitError, match="no figure 'l_x'"):
        figures.on(left, "l_x", made)


def test_one_k_has_one_colour_in_every_figure_and_steps_in_lightness(made):
    single = identity.marks([{"k": k} for k in KS], made)
    alone = [identity.marks([{"k": k}], made)[0].colour for k in KS]
    assert [mark.colour for mark in single] == alone
    # The joint law of these fits has no k = 16.
    lines = [line for line in l_n.draw(l_n.numbers(made), made).axes[0].lines if line.get_linestyle() == "-"]
    assert [line.get_color() for line in lines] == alone
    assert set(alone[1:]) <= {line.get_color() for line in l_nk.draw(l_nk.numbers(made), made).axes[0].lines}
    for quantity in identity.MAPS:
        grey = [np.dot(to_rgb(c), (0.299, 0.587, 0.114)) for c in identity.spread(5, quantity)]
        assert (np.diff(grey) > 0.05).all(), quantity


def test_marks_of_one_colour_differ_in_line_and_marker(made):
    marks = identity.marks([{"k": 16, "way": "a"}, {"k": 16, "way": "b"}, {"k": 32, "way": "a"}], made)
    assert marks[0].colour == marks[1].colour != marks[2].colour
    assert (
        (marks[0].line, marks[0].marker)
        == (marks[2].line, marks[2].marker)
        != (marks[1].line, marks[1].marker)
    )


def test_names_at_the_ends_are_moved_as_little_as_needed():
    assert direct.spread([10, 30], [8, 8], 0, 40) == [10, 30]
    np.testing.assert_allclose(direct.spread([20, 21, 3], [8, 8, 8], 0, 40), [16.5, 24.5, 4])
    np.testing.assert_allclose(direct.spread([39, 39], [8, 8], 0, 40), [28, 36])


@pytest.mark.parametrize(
    "count, shape", [(1, (3.25, 1, 1)), (2, (3.25, 1, 2)), (4, (6.75, 1, 4)), (6, (6.75, 2, 3))]
)
def test_panels_stand_in_one_row_where_they_fit(count, shape):
    panels = [layout.Panel(str(i), lambda ax: ax.plot([1, 2])) for i in range(count)]
    figure = layout.sheet(panels)
    grid = figure.axes[0].get_gridspec()
    assert (figure.get_size_inches()[0], grid.nrows, grid.ncols) == shape
    assert layout.sheet(panels, style.changed("paper", columns=2)).get_size_inches()[0] == 6.75


def test_the_command_sets_texts_sizes_and_a_style_file(made, tmp_path, capsys):
    runs_table().to_csv(tmp_path / "runs.csv", index=False)
    (tmp_path / "fits.json").write_text(json.dumps(all_fits()))
    (tmp_path / "mine.mplstyle").write_text("axes.facecolor: ff0000\n")
    given = [str(tmp_path / "runs.csv"), "--fits", str(tmp_path / "fits.json"), "--only", "l_n"]
    settings = ["--set", "title=Mine = ours", "--set", "width=4", "--rc", str(tmp_path / "mine.mplstyle")]
    assert cli.main([*given, *settings]) == 0
    from matplotlib.image import imread

    picture = imread(tmp_path / "figures" / "l_n.png")
    assert picture.shape[1] == 1200 and (picture[..., :3] == (1, 0, 0)).all(axis=-1).mean() > 0.5
    assert b"Mine" not in (tmp_path / "figures" / "l_n.tex").read_bytes()
    capsys.readouterr()
    for wrong, sentence in (
        (["--set", "titel=x"], "Did you mean title"),
        (["--set", "width=wide"], "width is a number of inches"),
        (["--rc", "absent.mplstyle"], "There is no style file absent.mplstyle"),
    ):
        assert cli.main([*given, *wrong]) == 1
        assert sentence in capsys.readouterr().err
    (tmp_path / "wrong.mplstyle").write_text("no.such.parameter: 1\n")
    assert cli.main([*given, "--rc", str(tmp_path / "wrong.mplstyle")]) == 1
    assert "is not matplotlib's" in capsys.readouterr().err
