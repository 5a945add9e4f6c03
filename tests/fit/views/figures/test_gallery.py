"""What all figures share: files, bytes, a sentence where one cannot be made, the command."""

import json
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest

from fit.law.errors import FitError
from fit.study.study_tables import StudyTables
from fit.views import figures
from fit.views.figures import gallery
from fit.views.figures.laws import l_n
from fit.views.figures.shared import labels
from fit.views.figures.shared.style import STYLES
from fit.views.verbs import figures as cli
from tests.fit.views.figures.looking import assert_readable
from tests.fit.views.figures.tables import (
    NS,
    all_curves,
    all_fits,
    curves_table,
    fit_l_c,
    fit_l_n,
    runs_table,
    study,
    written,
)

HERE = ("l_n", "l_nk", "l_c", "curves")


def _drawn():
    return l_n.draw(l_n.numbers(study(runs_table(), None, all_fits())), study(fits=all_fits()))


def test_the_check_for_overlaps_sees_one():
    figure = _drawn()
    figure.axes[0].text(0.5, 0.5, "first", transform=figure.axes[0].transAxes)
    figure.axes[0].text(0.5, 0.5, "second", transform=figure.axes[0].transAxes)
    with pytest.raises(AssertionError, match="'first' overlaps 'second'"):
        assert_readable(figure)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """The four figures in a folder, with the paths and the lines that `make` gave."""
    folder, lines = tmp_path_factory.mktemp("figures"), []
    whole = study(runs_table(), all_curves(), all_fits())
    return folder, figures.make(whole, folder, only=HERE, say=lines.append), lines


def test_make_writes_five_files_a_figure_and_the_csv_holds_the_plotted_numbers(drawn):
    folder, paths, lines = drawn
    assert lines == [f"wrote {path}" for path in paths]
    assert sorted(p.name for p in folder.iterdir()) == sorted(p.name for p in paths)
    assert len(paths) == 5 * len(HERE)
    for name in HERE:
        table = figures.FIGURES[name].numbers(study(runs_table(), all_curves(), all_fits()))
        table = table.replace("", np.nan)  # the name of a fit without a group, empty in a CSV
        pd.testing.assert_frame_equal(written(folder, name), table, check_dtype=False, check_exact=True)


def test_the_same_table_gives_the_same_bytes_and_other_settings_do_not_matter(drawn, tmp_path):
    """On two figures with a colour bar and two without: every figure is drawn by the same shared functions."""
    import matplotlib as mpl

    whole = study(runs_table(), all_curves(), all_fits())
    with mpl.rc_context({"font.size": 30, "pdf.fonttype": 3, "axes.grid": True}):
        figures.make(whole, tmp_path, only=HERE, say=lambda _: None)
        assert mpl.rcParams["font.size"] == 30
    for path in drawn[1]:
        assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name


def test_files_embed_their_fonts_and_carry_no_date():
    content = gallery.rendered(_drawn())
    assert b"/FontFile2" in content["pdf"] and b"/Type3" not in content["pdf"]
    assert b"CreationDate" not in content["pdf"] and b"Software" not in content["png"]


def test_missing_data_skips_a_figure_in_one_line_and_the_others_are_made(tmp_path):
    said = []
    bare = curves_table().drop(columns=["flops_sparse"])
    paths = figures.make(
        study(None, bare, {"fits": [fit_l_n(32), fit_l_c()]}), tmp_path, HERE, say=said.append
    )
    assert {p.stem for p in paths} == {"l_n", "curves"}
    skipped = [line for line in said if "skipped" in line]
    assert skipped == [
        "l_nk skipped: it needs a fit of the law L_NK: run `saescale fit TABLE --law L_NK` first.",
        "l_c skipped: it needs the columns flops_sparse in the table curves.",
    ]


def test_a_figure_that_breaks_is_told_and_stops_no_other(tmp_path):
    said = []
    whole = study(None, curves_table(), {"fits": [fit_l_n(32)]})
    broken = replace(whole, fits=(replace(whole.fits[0], params=None),))
    paths = figures.make(broken, tmp_path, HERE, say=said.append)
    assert {p.stem for p in paths} == {"curves"}
    assert any(line.startswith("l_n skipped: it failed with AttributeError") for line in said)


@pytest.mark.parametrize("wrong", [{"only": ["l_x"]}, {"style": "poster"}])
def test_an_unknown_figure_or_style_is_a_sentence(wrong, tmp_path):
    with pytest.raises(FitError, match="choose"):
        figures.make(study(), tmp_path, **wrong)


def test_groups_are_told_apart_by_what_differs():
    groups = [{"k": 32, "data": d, "d_model": 768} for d in ("a", "b")]
    assert labels.group_names(groups) == ["k = 32, data = a", "k = 32, data = b"]


@pytest.fixture
def folder(tmp_path):
    """A folder as `saescale collect` and `saescale fit` leave it."""
    runs_table().to_parquet(tmp_path / "runs.parquet")
    all_curves().to_parquet(tmp_path / "curves.parquet")
    made_from = asdict(StudyTables.read(tmp_path).made_from)
    (tmp_path / "fits.json").write_text(json.dumps({**all_fits(), "made_from": made_from}))
    return tmp_path


def test_command_finds_the_curves_and_the_fits_beside_the_table(folder, capsys):
    assert cli.main([str(folder / "runs.parquet"), "--only", "l_n", "curves", "--style", "talk"]) == 0
    out = capsys.readouterr().out.split()
    assert len(list((folder / "figures").iterdir())) == 10
    assert f"{folder / 'figures' / 'l_n.pdf'}" in out and out.count("wrote") == 10


def test_command_reads_a_foreign_table_through_a_mapping(folder, capsys):
    foreign = all_curves().rename(columns={"n_latents": "width", "tokens": "seen"})[
        ["run_id", "width", "seen", "nmse"]
    ]
    foreign.to_csv(folder / "mine.csv", index=False)
    runs_table().rename(columns={"n_latents": "width"}).to_csv(folder / "results.csv", index=False)
    (folder / "fits_of_results.json").write_text(json.dumps(all_fits()))
    given = [
        str(folder / "results.csv"),
        "--map",
        "n_latents=width,tokens=seen",
        "--curves",
        str(folder / "mine.csv"),
        "--fits",
        str(folder / "fits_of_results.json"),
    ]
    assert cli.main([*given, "--out", str(folder / "out")]) == 0
    assert set(written(folder / "out", "curves")["n_latents"]) == set(NS)
    assert "l_c skipped: it needs the column" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["absent.parquet"], "absent.parquet"),
        (["runs.parquet", "--fits", "absent.json"], "There is no file"),
        (["runs.parquet", "--curves", "absent.csv"], "absent.csv"),
        (["runs.parquet", "--fits", "runs.parquet"], "cannot be read as JSON"),
        (["runs.parquet", "--map", "nmse=losss"], "no column 'losss'"),
        (["fits.json"], "fits.json"),
    ],
)
def test_command_tells_what_is_wrong_in_one_sentence(arguments, sentence, folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    assert cli.main(arguments) == 1
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1 and "Traceback" not in error
    assert not (folder / "figures").exists()


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["--only", "l_x"], "'l_x' is not among the choices fig1, l_n, l_nk,"),
        (["--only", "activatons"], "Did you mean activations"),
        (["--style", "poster"], "'poster' is not among the choices paper, talk."),
    ],
)
def test_unknown_figures_and_styles_are_wrong_usage(arguments, sentence, folder, capsys):
    assert cli.main([str(folder / "runs.parquet"), *arguments]) == 2
    assert sentence in capsys.readouterr().err and not (folder / "figures").exists()


def test_the_help_knows_every_figure_and_style():
    assert list(figures.FIGURES) == figures.FIGURE_NAMES and tuple(STYLES) == figures.STYLE_NAMES


def test_command_without_any_figure_fails_in_a_sentence(tmp_path, capsys):
    runs_table().to_parquet(tmp_path / "runs.parquet")
    assert cli.main([str(tmp_path / "runs.parquet")]) == 1
    told = capsys.readouterr()
    assert (
        told.out.count("skipped: it needs") == len(figures.FIGURES) and "No figure could be made" in told.err
    )
