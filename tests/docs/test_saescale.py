"""`import saescale as ss`: its examples run, importing it is light, and every result is short and escapes its HTML."""

import doctest
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import saescale as ss
from fit.datasets import load
from fit.law.errors import FitError

ROOT = Path(__file__).parents[2]


def gpt4():
    return load("gao2024_gpt4_lnk").rename(columns={"n": "n_latents"})


@pytest.fixture(scope="module")
def fits():
    return ss.fit(gpt4(), "L_NK", intervals="delta")


@pytest.mark.slow
def test_every_example_does_what_it_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for example in doctest.DocTestFinder().find(ss, extraglobs={"ss": ss}):
        runner.run(example)
    assert (runner.failures, runner.tries > 10) == (0, True)


def test_importing_it_loads_no_package():
    heavy = ("numpy", "pandas", "torch", "hydra", "matplotlib", "scipy", "fit", "sweeps")
    code = f"import sys, saescale; print(sorted(set({heavy}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_every_result_is_short_and_has_html(fits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for result in (
        ss.plan("study=demo_phases"), fits, fits.predict(n_latents=2**20, k=[32][0]), fits.plot(),
    ):  # fmt: skip
        assert len(repr(result)) < 1500 and "object at" not in repr(result)
        assert result._repr_html_().startswith(("<p>", "<table>", "<pre>", "<img"))


def test_html_escapes_names_of_the_table():
    table = gpt4().assign(model="<b>gpt</b>")
    html = ss.fit(table, "L_NK", intervals="delta", group=("model",))._repr_html_()
    assert "&lt;b&gt;gpt" in html and "<b>" not in html


def test_a_path_a_string_and_a_frame_give_the_same_fit(fits):
    path = ROOT / "fit" / "datasets" / "gao2024_gpt4_lnk.csv"
    for table in (path, str(path)):
        pd.testing.assert_frame_equal(
            ss.fit(table, "L_NK", mapping={"n_latents": "n"}, intervals="delta").params, fits.params
        )


def test_saved_fits_are_those_of_the_file_for_the_other_verbs(fits, tmp_path):
    """`saescale figures` and `predict` take them: the fingerprint is that of the table."""
    from fit.study.study_tables import StudyTables

    gpt4().to_csv(tmp_path / "table.csv", index=False)
    again = ss.fit(tmp_path / "table.csv", "L_NK", intervals="delta", where="k > 32")
    again.save(tmp_path)
    read = StudyTables.read(tmp_path / "table.csv")
    assert read.outdated is None and read.fits == again.results
    names = sorted(path.suffix for path in again.plot().save(tmp_path))
    assert names == [".csv", ".md", ".pdf", ".png", ".tex"]


def test_a_mapping_and_a_condition_are_those_of_the_command_line():
    table = load("gao2024_gpt4_lnk").rename(columns={"n": "width", "loss": "error"})
    asked = ss.fit(
        table, "L_N", mapping={"n_latents": "width", "nmse": "error"}, where="k == 32", intervals="delta"
    )
    assert [(one.law, one.rows) for one in asked.results] == [("L_N", 9)]
    used = asked.results[0].rows_used
    assert (used.rows, used.used, [part.rows for part in used.left_out]) == (45, 9, [36])


def test_what_was_skipped_is_among_the_notes(fits):
    every = ss.fit(gpt4(), "L_NK", "L_C", intervals="delta")
    assert any("L_C" in note for note in every.notes) and f"{len(every.notes)} notes" in repr(every)


def test_an_unknown_figure_names_those_there_are(fits):
    with pytest.raises(FitError, match="l_nk"):
        fits.plot("l_kn")


def test_a_table_of_two_columns_is_fitted_and_drawn():
    table = pd.DataFrame({"n_latents": [64, 128, 256, 512, 1024], "nmse": [0.5, 0.4, 0.33, 0.29, 0.26]})
    plot = ss.fit(table, "L_N", intervals="delta").plot()
    assert plot.name == "l_n" and len(plot.figure.axes[0].lines) + len(plot.figure.axes[0].collections) > 1


@pytest.mark.parametrize(
    ("laws", "more", "says"),
    [
        (("L_NN",), {}, "There is no law 'L_NN'.* Did you mean L_N"),
        (("L_NK", "L_NN"), {}, "Did you mean L_N"),
        (
            ("L_N",),
            {"mapping": {"nmsee": "nmse"}},
            "^mapping: nmsee is not one of our columns. Did you mean nmse",
        ),
    ],
)
def test_a_mistyped_name_is_answered_with_the_near_ones(laws, more, says):
    with pytest.raises(FitError, match=says):
        ss.fit(gpt4(), *laws, **more)


def test_laws_may_stand_between_commas_or_in_a_list(fits):
    for laws in ("L_NK, L_ND",), (["L_NK", "L_ND"],), ("L_NK", ["L_ND"]):
        asked = ss.fit(gpt4(), *laws, intervals="delta")
        assert asked.results == fits.results and any(note.startswith("L_ND cannot") for note in asked.notes)


def test_what_can_fit_nothing_says_why():
    with pytest.raises(FitError, match=r"(?s)^No law could be fitted.*L_N skipped: .* have no usable nmse"):
        ss.fit(gpt4().assign(nmse=float("nan")))
    with pytest.raises(FitError, match=r"^L_N cannot be fitted. The table has no rows.$"):
        ss.fit(gpt4()[:0], "L_N")


def test_a_figure_is_found_in_any_case_and_near_its_name(fits):
    assert fits.plot("L_NK").name == "l_nk"
    with pytest.raises(FitError, match=r"There is no figure 'l_nn'.* Did you mean l_n"):
        fits.plot("l_nn")
