"""What is read beside a table: its own curves, latents and fits, and never those of another."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from fit.law.errors import FitError
from fit.study import fit_study
from fit.study.study_tables import RawTables, StudyTables
from fit.views.figures import gallery
from fit.views.verbs import figures, fit, report
from tests.fit.views.page.page_cases import GPT4, SMOLLM2

MAP = "n_latents=n,k=k,nmse=loss"


def runs_table():
    """Seven n at two k, and what a fit of L_N takes."""
    rng, rows = np.random.default_rng(0), []
    for k in (16, 32):
        for n in 2 ** np.arange(9, 16):
            nmse = (0.2 * k**-0.1 + 2 * n**-0.25) * np.exp(0.005 * rng.standard_normal())
            rows.append(
                {
                    "run_id": f"{k}-{n}",
                    "state": "done",
                    "converged": True,
                    "k": k,
                    "n_latents": n,
                    "nmse": nmse,
                }
            )
    return pd.DataFrame(rows)


def curves_table(runs):
    """Three evaluations of each run."""
    parts = [
        runs[["run_id", "k", "n_latents"]].assign(tokens=1000 * 2**i, nmse=runs["nmse"] * 1.1 ** (2 - i))
        for i in range(3)
    ]
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def collected_and_fitted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    runs = runs_table()
    runs.to_parquet(folder / "runs.parquet")
    curves_table(runs).to_parquet(folder / "curves.parquet")
    assert fit.main([str(folder / "runs.parquet"), "--law", "L_N"]) == 0
    return folder


@pytest.fixture
def study(collected_and_fitted, tmp_path):
    """A folder as `saescale collect` and `saescale fit` leave it."""
    return shutil.copytree(collected_and_fitted, tmp_path / "study")


def edit(path, **changes):
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, **changes}))


@pytest.mark.parametrize("command", [report.main, figures.main])
def test_laws_of_another_table_are_refused_and_nothing_is_written(command, study, capsys):
    shutil.copy(GPT4, study / "gpt4.csv")
    before = sorted(study.rglob("*"))
    capsys.readouterr()
    assert command([str(study / "gpt4.csv"), "--map", MAP, "--out", str(study / "out")]) == 1
    error = capsys.readouterr().err
    assert "fits.json beside gpt4.csv is of runs.parquet (14 rows), not of gpt4.csv" in error
    assert "--out FOLDER" in error and "--fits" in error and error.count("\n") == 1
    assert sorted(study.rglob("*")) == before


def test_fits_of_another_table_are_refused_when_they_are_named_too(study, tmp_path_factory):
    folder = tmp_path_factory.mktemp("other")
    runs_table().assign(nmse=0.5).to_parquet(folder / "runs.parquet")
    with pytest.raises(
        FitError, match=r"runs.parquet has changed since fits.json was made \(14 rows then, 14 now\)"
    ):
        StudyTables.read(folder / "runs.parquet", fits=study / "fits.json")


def test_a_table_without_run_id_takes_no_curves_that_lie_beside_it(study):
    shutil.copy(GPT4, study / "gpt4.csv")
    found = StudyTables.read(study / "gpt4.csv", with_fits=False)
    assert found.curves is None and not found.files
    assert found.notes == ("Taken by their names: nmse from loss (--map chooses other columns).",)


def test_curves_of_other_runs_are_left_out_with_a_note_and_taken_where_they_are_named(study):
    runs = runs_table().assign(run_id=[f"new-{i}" for i in range(14)])
    runs.to_csv(study / "new.csv", index=False)
    found = StudyTables.read(study / "new.csv", with_fits=False)
    assert found.curves is None
    assert found.notes == ("curves.parquet was left out: it has no run_id in common with new.csv.",)
    named = StudyTables.read(study / "new.csv", curves=study / "curves.parquet", with_fits=False)
    assert named.curves is not None and named.files["curves"] == study / "curves.parquet"


def test_a_part_of_the_runs_takes_its_own_part_of_the_curves(study):
    runs_table().query("k == 32").to_csv(study / "k32.csv", index=False)
    found = StudyTables.read(study / "k32.csv", with_fits=False)
    assert set(found.curves["run_id"]) == set(found.runs["run_id"]) and len(found.curves) == 21


def test_the_fits_are_of_the_table_in_any_format_and_order_and_through_their_mapping(study):
    theirs = runs_table().rename(columns={"n_latents": "width", "nmse": "loss"}).drop(columns="run_id")
    theirs.to_csv(study / "table.csv", index=False)
    arguments = [
        str(study / "table.csv"),
        "--map",
        "n_latents=width,nmse=loss",
        "--where",
        "k == 32",
        "--law",
        "L_N",
    ]
    assert fit.main([*arguments, "--out", str(study)]) == 0
    made = json.loads((study / "fits.json").read_text())["made_from"]
    assert made["mapping"] == {"n_latents": "width", "nmse": "loss"} and made["where"] == "k == 32"
    assert made["runs"]["rows"] == 7 and made["curves"] is None
    for suffix in (".csv", ".parquet"):
        other = study / f"table{suffix}"
        mixed = theirs.sample(frac=1, random_state=0)
        mixed.to_csv(other, index=False) if suffix == ".csv" else mixed.to_parquet(other)
        edit(study / "fits.json", table=other.name)
        for mapping in (None, {"nmse": "loss"}, {"n_latents": "width", "nmse": "loss"}):
            found = StudyTables.read(other, mapping)
            assert found.fits and found.outdated is None
            assert found.mapping == made["mapping"] and len(found.runs) == 14
    with pytest.raises(FitError, match="was made with other columns of table.parquet: give the same mapping"):
        StudyTables.read(study / "table.parquet", {"nmse": "width"}, fits=study / "fits.json")


def test_rows_that_a_condition_leaves_out_do_not_matter(study):
    assert fit.main([str(study / "runs.parquet"), "--where", "k == 32", "--law", "L_N"]) == 0
    runs = runs_table()
    runs.loc[runs["k"] == 16, "nmse"] *= 2
    runs.to_parquet(study / "runs.parquet")
    assert StudyTables.read(study).outdated is None
    runs.loc[runs["k"] == 32, "nmse"] *= 2
    runs.to_parquet(study / "runs.parquet")
    assert "(7 rows where k == 32 then, 7 now)" in StudyTables.read(study).outdated


@pytest.mark.parametrize("which", ["runs", "curves"])
def test_a_table_that_has_grown_since_makes_its_fits_outdated(which, study, capsys, monkeypatch):
    monkeypatch.setattr(gallery, "FIGURES", {"curves": gallery.FIGURES["curves"]})
    path = study / f"{which}.parquet"
    table = pd.read_parquet(path)
    pd.concat([table, table.tail(1).assign(nmse=0.1)]).to_parquet(path)
    found = StudyTables.read(study)
    assert not found.fits and "fits" not in found.files
    then = {"runs": "runs.parquet has changed since fits.json was made (14 rows then, 15 now)"}
    then["curves"] = (
        "The curves of runs.parquet have changed since fits.json was made (42 evaluations then, 43"
    )
    assert then[which] in found.outdated and f"saescale fit {study / 'runs.parquet'}" in found.outdated
    assert figures.main([str(study / "runs.parquet")]) == 1
    assert then[which] in capsys.readouterr().err and not (study / "figures").exists()
    assert report.main([str(study)]) == 0
    page = (study / "report.html").read_text(encoding="utf-8")
    assert (
        then[which] in page and str(study) not in page and "The laws on this page were fitted for it" in page
    )


def test_fits_without_a_fingerprint_are_taken_by_the_name_of_their_table(study):
    edit(study / "fits.json", made_from=None)
    found = StudyTables.read(study)
    assert found.fits
    (note,) = found.notes
    assert "fits.json does not say which rows it was made from" in note
    shutil.copy(study / "runs.parquet", study / "other.parquet")
    with pytest.raises(FitError, match="fits.json beside other.parquet is of runs.parquet"):
        StudyTables.read(study / "other.parquet")
    assert StudyTables.read(study / "other.parquet", fits=study / "fits.json").fits


def test_what_cannot_be_read_is_an_error_or_a_note(study):
    (study / "curves.parquet").write_text("not a table")
    edit(study / "fits.json", made_from={"rows": 3})
    with pytest.raises(FitError, match="fits.json cannot be read .KeyError"):
        StudyTables.read(study)
    (study / "fits.json").write_text("{}")
    with pytest.raises(FitError, match=r"fits.json .* no list"):
        StudyTables.read(study)
    found = StudyTables.read(study, lenient=True)
    assert found.curves is None and not found.fits and not found.files
    assert [note.split()[0] for note in found.notes] == ["fits.json", "curves.parquet"]
    with pytest.raises(FitError, match=r"curves.parquet cannot be read"):
        StudyTables.read(study, curves=study / "curves.parquet", with_fits=False, lenient=True)
    with pytest.raises(FitError, match="There is no file"):
        StudyTables.read(study, fits=study / "absent.json", lenient=True)


def test_the_committed_studies_have_the_fits_of_their_tables():
    assert StudyTables.read(SMOLLM2).fits and not StudyTables.read(SMOLLM2).notes
    gpt4 = SMOLLM2.parent / "gpt4" / "fits.json"
    assert not StudyTables.read(GPT4, fits=gpt4).notes


def test_a_condition_on_what_changes_along_a_curve_chooses_evaluations(study):
    """Curves have evaluations at 1,000, 2,000 and 4,000 tokens; the table of runs has no tokens."""
    found = StudyTables.read(study, where="tokens > 1500", with_fits=False)
    assert len(found.curves) == 28 and found.curves["tokens"].min() == 2000 and len(found.runs) == 14
    assert found.notes == (
        "tokens > 1500: tokens changes along the curves, so the condition chooses 28 of 42 evaluations for the laws of "
        "curves, and 14 of 14 runs, by their own row, for the others.",
    )


def test_a_condition_on_evaluations_knows_the_columns_of_their_run(study):
    found = StudyTables.read(study, where="tokens < 1500 and state == 'done' and k == 16", with_fits=False)
    assert len(found.curves) == 7 and set(found.curves["tokens"]) == {1000} and set(found.runs["k"]) == {16}


def test_a_condition_that_no_run_meets_by_its_own_row_leaves_the_laws_of_curves(study):
    runs = runs_table().assign(tokens=4000)
    raw = RawTables(runs, curves_table(runs))
    chosen = raw.select({}, "tokens < 1500")
    assert chosen.runs.empty and len(chosen.curves) == 14
    with pytest.raises(FitError, match="No row has tokens < 10: 14 rows were looked at"):
        raw.select({}, "tokens < 10")
    with pytest.raises(FitError, match="No run has tokens < 1500 in its own row"):
        fit_study(runs, raw.curves, ["L_N"], where="tokens < 1500", say=str)


def test_a_condition_on_runs_chooses_all_evaluations_of_these_runs(study):
    found = StudyTables.read(study, where="k == 16", with_fits=False)
    assert len(found.runs) == 7 and len(found.curves) == 21 and not found.notes


def test_fits_of_chosen_evaluations_are_of_the_same_table_and_condition(study):
    """made_from has the fingerprint of the evaluations that the condition chose."""
    where = ["--where", "tokens > 1500"]
    assert fit.main([str(study / "runs.parquet"), "--law", "L_N", *where]) == 0
    made = json.loads((study / "fits.json").read_text())["made_from"]
    assert made["where"] == "tokens > 1500" and made["curves"]["rows"] == 28 and made["runs"]["rows"] == 14
    assert StudyTables.read(study).outdated is None
    changed = curves_table(runs_table())
    changed.loc[changed["tokens"] < 1500, "nmse"] *= 2
    changed.to_parquet(study / "curves.parquet")
    assert StudyTables.read(study).outdated is None
    changed.loc[changed["tokens"] > 1500, "nmse"] *= 2
    changed.to_parquet(study / "curves.parquet")
    assert "The curves of runs.parquet have changed" in StudyTables.read(study).outdated
