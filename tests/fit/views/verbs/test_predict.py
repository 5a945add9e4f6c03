"""`saescale predict` as a user runs it: what it prints, what it writes, and how it fails."""

import io
import json
from importlib import resources

import pandas as pd
import pytest

from fit.study import read_json
from fit.views.verbs import fit as fit_verb
from fit.views.verbs.assignments import assignments, number
from fit.views.verbs.command import UsageError
from fit.views.verbs.predict import main

GAO = str(resources.files("fit.datasets") / "gao2024_gpt4_lnk.csv")
MAP = ["--map", "n_latents=n,k=k,nmse=loss"]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A table with the fits of L_N and L_NK beside it, made by the verb itself."""
    folder = tmp_path_factory.mktemp("study")
    pd.read_csv(GAO).query("k in [128, 256]").to_csv(folder / "t.csv", index=False)
    assert fit_verb.main([str(folder / "t.csv"), *MAP, "--law", "L_N", "--law", "L_NK"]) == 0
    return folder


def printed(capsys, *words):
    assert main([str(word) for word in words]) == 0
    return capsys.readouterr().out


def test_folder_file_and_table_beside_give_the_same_answer(study, capsys):
    asked = ("n_latents=2^24", "k=256")
    once = printed(capsys, study, *asked)
    assert once == printed(capsys, study / "fits.json", *asked) == printed(capsys, study / "t.csv", *asked)
    lines = once.splitlines()
    assert lines[0] == "n_latents=16,777,216, k=256"
    assert [line.split()[0] for line in lines[2:4]] == ["L_N", "L_NK"]
    assert all("32 × beyond the largest n_latents (524,288)" in line for line in lines[2:5])
    assert lines[4].startswith("  ! ") and "laws that the rows do not refute say" in lines[4]
    assert lines[5] == "  left out: L_N (k=128): its rows are of another group."


def test_inside_the_rows_there_is_no_caution(study, capsys):
    out = printed(capsys, study, "n_latents=64k", "k=256", "--law", "L_NK")
    assert "inside the rows" in out and "!" not in out


def test_json_has_the_numbers_of_the_screen_in_full(study, capsys):
    content = json.loads(printed(capsys, study, "n_latents=2**24", "k=256", "--law", "L_NK", "--json"))
    (one,) = content["predictions"]
    assert one["at"] == {"n_latents": 2**24, "k": 256} and one["reach"]["factor"] == 32.0
    assert one["low"] < one["value"] < one["high"] and one["new_low"] < one["low"]
    assert one["cautions"][0]["kind"] == "extrapolation"


def test_a_table_of_points_comes_back_as_csv(study, tmp_path, capsys):
    (tmp_path / "p.csv").write_text(
        "name,n_latents,k,low\na,2^20,256,1\nb,16k,128,2\nc,16k,999,3\nd,,128,4\n"
    )
    assert main([str(study), "--points", str(tmp_path / "p.csv"), "--law", "L_N"]) == 0
    said = capsys.readouterr()
    table = pd.read_csv(io.StringIO(said.out))
    assert list(table["name"]) == ["a", "b"] and list(table["group"]) == ["k=256", "k=128"]
    assert list(table["low_of_point"]) == [1, 2] and (table["low"] < table["predicted"]).all()
    assert list(table["beyond"]) == pytest.approx([2.0, 1.0])
    assert "2 of 4 points have no prediction." in said.err
    out = printed(capsys, study, "--points", tmp_path / "p.csv", "--law", "L_N", "--out", tmp_path / "o.csv")
    assert out == f"wrote {tmp_path / 'o.csv'}\n" and (tmp_path / "o.csv").read_text() == said.out


def test_inverse_prints_what_is_needed_and_what_cannot_be_reached(study, capsys):
    out = printed(capsys, study, "k=256", "--inverse", "nmse=25%")
    assert (
        out.startswith("nmse=0.25 needs\n  L_N (k=256)")
        and "n_latents 7.814e+05 [7.151e+05, 8.628e+05]   1.49 ×" in out
    )
    out = printed(capsys, study, "k=256", "--inverse", "nmse=0.02", "--law", "L_N")
    assert "nmse=0.02 is below the floor of L_N (k=256), 0.1298 [0.1105, 0.1464], above the target." in out


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["n_latents=0", "k=256"], 1, "n_latents is 0: give a finite number above 0."),
        (["n_latents=-1"], 1, "n_latents is -1: give a finite number above 0."),
        (["n_latents=inf"], 1, "n_latents is inf: give"),
        (["n_latents=2^9999"], 1, "n_latents is 2^9999: give a finite number above 0."),
        (["n_latents=big"], 1, "n_latents is big: give"),
        (["tokens=1e9"], 1, "No law of these fits has tokens; they have k, n_latents."),
        (["n_latents=9", "--law", "L_X"], 1, "These fits have no law L_X; they have L_N, L_NK."),
        (["n_latents=9", "--law", "nowhere:LAW"], 1, "nowhere:LAW cannot be imported"),
        (["n_latents=9", "n_latents=8"], 1, "n_latents is given twice"),
        (["k=256", "--inverse", "nmse=low"], 1, "'low' is not a number."),
        (["--points", "nowhere.csv"], 1, "There is no file nowhere.csv"),
        ([], 2, "no inputs are given: add some, as n_latents=2^24 k=256."),
        (["n_latents"], 2, "'n_latents' is not NAME=VALUE, as n_latents=2^24."),
        (["k=2", "--inverse", "nmse=1", "--points", "p.csv"], 2, "--points and --inverse are two questions"),
        (["k=2", "--inverze", "nmse=1"], 2, "--inverze is not an option here. Did you mean --inverse?"),
    ],
)
def test_what_is_wrong_is_one_sentence(study, capsys, words, code, sentence):
    assert main([str(study), *words]) == code
    said = capsys.readouterr()
    assert sentence in said.err and said.err.startswith("saescale predict: ") and said.err.count("\n") == 1
    assert not said.out


def test_fits_of_another_table_none_and_old_ones_are_refused(study, tmp_path, capsys):
    other = tmp_path / "other.csv"
    other.write_text((study / "t.csv").read_text())
    assert main([str(other), "n_latents=9"]) == 1
    assert (
        f"There is no fits.json beside {other}: run `saescale fit {other}` first" in capsys.readouterr().err
    )
    other.write_text((study / "t.csv").read_text().replace("256,0.55", "256,0.56"))
    content = read_json(study / "fits.json")
    (tmp_path / "fits.json").write_text(json.dumps(content))
    assert main([str(other), "n_latents=9"]) == 1
    assert "fits.json beside other.csv is of t.csv (18 rows)" in capsys.readouterr().err
    for each in content["fits"]:
        del each["recipe"]
    (tmp_path / "fits.json").write_text(json.dumps(content))
    assert main([str(tmp_path), "n_latents=9", "k=256"]) == 1
    assert "an older saescale wrote it" in capsys.readouterr().err
    assert main([str(tmp_path / "empty"), "n_latents=9"]) == 1
    assert capsys.readouterr().err.startswith("saescale predict: ")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("n_latents", "2^24", 2**24),
        ("n_latents", "2**24", 2**24),
        ("n_latents", "16k", 2**14),
        ("n_latents", "1,024", 1024),
        ("tokens", "1.3B", 1.3e9),
        ("tokens", "1e9", 1e9),
        ("flops", "2 PFLOPs", 2e15),
        ("nmse", "25%", 0.25),
    ],
)
def test_numbers_are_read_as_those_of_tables(name, text, value):
    assert number(text, name) == value and assignments([f"{name}={text}"]) == {name: value}


def test_texts_stay_texts():
    assert number("pile", "data") is None and number("k", "k") is None
    assert assignments(["data=pile"]) == {"data": "pile"}
    with pytest.raises(UsageError):
        assignments(["=3"])
