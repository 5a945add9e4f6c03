"""Separated text in its dialects, and what is said about it."""

import numpy as np
import pandas as pd
import pytest

from fit.data.reading.separated import read_separated
from fit.law.errors import FitError

N, NMSE = [512, 1024, 2048], [0.4394850931571798, 1e-4, 0.3090638521127372]
TABLE = pd.DataFrame({"n": N, "nmse": NMSE})
CSV = TABLE.to_csv(index=False)
ROWS = CSV.split("\n", 1)[1]


def check(text, dialect=(), notes=(), table=TABLE):
    got = read_separated(text, "t.csv")
    pd.testing.assert_frame_equal(got.table, table, check_exact=True)
    assert got.dialect == tuple(dialect)
    assert got.notes == tuple(f"t.csv: {note}" for note in notes)


@pytest.mark.parametrize(
    ("text", "dialect"),
    [
        (CSV, []),
        (CSV.replace("\n", "\r\n"), []),
        (CSV.replace("\n", "\r"), []),
        (CSV.replace(",", ";"), ["semicolons between columns"]),
        (CSV.replace(",", "\t"), ["tabs between columns"]),
        (CSV.replace(",", "|"), ["bars between columns"]),
        (CSV.replace(",", "   "), ["spaces between columns"]),
        (" " + CSV.replace(",", "      ").replace("\n", "  \n "), ["spaces between columns"]),
        ("sep=;\n" + CSV.replace(",", ";"), ["semicolons between columns"]),
        (TABLE.to_csv(index=False, sep=";", decimal=","), ["semicolons between columns", "decimal commas"]),
        (TABLE.to_csv(index=False, sep="\t", decimal=","), ["tabs between columns", "decimal commas"]),
        (TABLE.to_csv(index=False, decimal=",", quoting=2), ["decimal commas"]),
        (
            "n;nmse\n512;0,4394850931571798\n1.024;0,0001\n2.048;0,3090638521127372\n",
            ["semicolons between columns", "decimal commas and points between thousands"],
        ),
        ("# n nmse\n" + ROWS.replace(",", " "), ["spaces between columns", "the header behind a #"]),
        ("#n,nmse\n" + ROWS, ["the header behind a #"]),
        (CSV.replace("\n", ",\n"), []),
        ("n,nmse\n" + ROWS.replace("\n", ",\n"), []),
    ],
)
def test_dialects(text, dialect):
    check(text, dialect)


def test_a_markdown_table():
    rows = "".join(f"| {n} | {nmse!r} |\n" for n, nmse in zip(N, NMSE, strict=True))
    got = read_separated("| n | nmse |\n|--:|:---|\n" + rows, "t.md")
    pd.testing.assert_frame_equal(got.table, TABLE)


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("# a\n" + CSV.replace("1024", "# b\n1024") + "#c", "3 lines of comments (#) left out."),
        (CSV + ",\n", "1 line without a value left out."),
        (" n , nmse\n" + ROWS, "the spaces around names of columns were removed."),
        (TABLE.to_csv(), "the first column has no name and only numbers the rows, so it was left out."),
    ],
)
def test_what_is_left_out_is_said(text, note):
    check(text, notes=[note])


def test_names_of_rows_without_a_header_are_said_and_kept_unless_they_count():
    text = "n,nmse\n" + "".join(f"sae_{i},{line}\n" for i, line in enumerate(ROWS.splitlines()))
    got = read_separated(text, "t.csv")
    assert (
        list(got.table["row"]) == ["sae_0", "sae_1", "sae_2"]
        and "one value more than its header" in got.notes[0]
    )
    assert list(read_separated(TABLE.to_string(), "t").table.columns) == ["n", "nmse"]


def test_a_hash_or_a_separator_inside_a_value_is_no_comment_and_no_separator():
    table = TABLE.assign(run=["run #1; a", "b,c", "x\n# no comment"])
    got = read_separated(table.to_csv(index=False), "t.csv")
    pd.testing.assert_frame_equal(got.table, table)
    assert got.dialect == got.notes == ()


def test_a_comma_between_thousands_is_no_decimal_comma():
    got = read_separated("n\tnmse\n512\t0.43\n1,024\t0.36\n", "t.tsv")
    assert list(got.table["n"]) == ["512", "1,024"] and list(got.table["nmse"]) == [0.43, 0.36]
    got = read_separated("n;nmse\n1,024;0.43\n", "t.csv")
    assert list(got.table["n"]) == ["1,024"] and "decimal commas" not in got.dialect


def test_a_column_that_numbers_other_things_than_rows_stays():
    got = read_separated(",n,nmse\n3,512,0.4\n7,1024,0.3\n", "t.csv")
    assert list(got.table.columns) == ["Unnamed: 0", "n", "nmse"] and got.notes == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            CSV.replace("1024,", "1024,7,"),
            r"Line 3 of t.csv has 3 values where the header has 2 \('1024,7,0.0001'\)",
        ),
        ("# c\n\n" + CSV.replace("1024,", "1024,7,"), "Line 5 of t.csv has 3 values"),
        (CSV.rsplit(",", 1)[0], "Line 4 of t.csv has 1 value where the header has 2"),
        ("My results\n\n" + CSV, "Line 3 of t.csv has 2 values where the header has 1 .*a # before it"),
        (ROWS, "first line of t.csv holds numbers .* add a line of names above it"),
        (CSV.replace("1024", '"1024'), "A double quote below line 2 of t.csv is never closed"),
        ("- n: 512\n  nmse: 0.4\n- n: 1024\n", "holds lines of text .*: it is no table"),
        ("# only\n# comments\n", "holds no table: all its lines are empty or comments"),
    ],
)
def test_rows_and_headers_that_are_no_table_are_refused_by_their_line(text, words):
    with pytest.raises(FitError, match=words):
        read_separated(text, "t.csv")


def test_a_second_column_of_one_name_gets_another_and_that_is_said():
    for text in ("n, n,nmse\n1,2,3\n", "n,n,nmse\n1,2,3\n", "n;n ;nmse\n1;2;3\n"):
        got = read_separated(text, "t.csv")
        assert got.table.to_dict("records") == [{"n": 1, "n.1": 2, "nmse": 3}]
        assert "t.csv: several columns are called n: the later ones are n.1 here." in got.notes


def test_a_quoted_line_break_does_not_shift_the_numbers_of_lines():
    with pytest.raises(FitError, match="Line 4 of t.csv has 1 value"):
        read_separated('n,run\n1,"a\nb"\n2\n', "t.csv")


def test_random_floats_come_out_to_the_last_bit_with_decimal_commas():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"a": np.exp(40 * rng.standard_normal(5000)), "b": np.arange(5000)})
    got = read_separated(table.to_csv(index=False, sep=";", decimal=","), "t.csv")
    pd.testing.assert_frame_equal(got.table, table, check_exact=True)
