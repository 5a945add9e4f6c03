"""Result tables: reading, mapping names, and conditions that are data and never code."""

import pandas as pd
import pytest

from fit.data import tables
from fit.law.errors import FitError

TABLE = pd.DataFrame(
    {"k": [16, 32, 32], "n": [512, 512, 1024], "name": ["a", "b", "c"], "ok": [True, False, True]}
)


@pytest.mark.parametrize(
    ("condition", "left"),
    [
        ("k == 32", [1, 2]),
        ("k == 32 and n > 512", [2]),
        ("not (k == 32) or n == 1024", [0, 2]),
        ("name in ['a', 'c']", [0, 2]),
        ("512 < n <= 2048 / 2", [2]),
        ("ok", [0, 2]),
        ("k == -1 or name == 'b'", [1]),
    ],
)
def test_conditions(condition, left):
    assert list(tables.where(TABLE, condition).index) == left


@pytest.mark.parametrize(
    "condition",
    [
        "__import__('os').system('true')",
        "k.max() == 32",
        "name.str.contains('a')",
        "@pd.read_pickle('x')",
        "k == @k",
        "(lambda: True)()",
        "[x for x in k]",
        "k[0] == 1",
        "f'{k}' == '16'",
        "k := 3",
        "k = 3",
        "k == 32; n == 1",
        "2 ** 9999999999 > k",
        "",
        "(" * 5000,
    ],
)
def test_conditions_run_no_code(condition):
    with pytest.raises(FitError):
        tables.where(TABLE, condition)


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("lr > 1", "names lr, which is no column"),
        ("name == a", "text needs quotes"),
        ("k + 1", "not true or false"),
        ("k == 64", "No row has k == 64: 3 rows"),
    ],
)
def test_conditions_that_make_no_sense_are_told(condition, words):
    with pytest.raises(FitError, match=words):
        tables.where(TABLE, condition)


def test_missing_counts_as_not():
    table = pd.DataFrame({"converged": pd.array([True, None, False], dtype="boolean")})
    assert list(tables.where(table, "converged == True").index) == [0]


def test_mapping():
    assert tables.parse_mapping("n_latents=n, k=k,nmse=loss") == {"n_latents": "n", "k": "k", "nmse": "loss"}
    assert list(tables.renamed(TABLE, {"n_latents": "n"})["n_latents"]) == [512, 512, 1024]
    for bad in ("n_latents", "n_latents=", "=n"):
        with pytest.raises(FitError, match="is no mapping"):
            tables.parse_mapping(bad)
    with pytest.raises(FitError, match="maps k twice"):
        tables.parse_mapping("k=a,k=b")
    with pytest.raises(FitError, match="no column 'N' to map; it has k, n, name, ok"):
        tables.renamed(TABLE, {"n_latents": "N"})


def test_missing_columns_are_named_with_a_way_out():
    with pytest.raises(
        FitError, match=r"no column n_latents, nmse; it has k, n, name, ok.*--map n_latents=COLUMN,nmse="
    ):
        tables.require(TABLE, "n_latents", "k", "nmse")


def test_unreadable_files_are_told(tmp_path):
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 not really")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "header.csv").write_text("n,k\n")
    (tmp_path / "table.xlsx").write_text("")
    for name, words in {
        "none.csv": "There is no file",
        "broken.parquet": "cannot be read",
        "empty.csv": "cannot be read",
        "header.csv": "has no rows",
        "table.xlsx": "neither .csv nor .parquet",
    }.items():
        with pytest.raises(FitError, match=words):
            tables.read(tmp_path / name)


def test_words_are_no_numbers():
    with pytest.raises(FitError, match="column name holds something that is no number"):
        tables.numbers(TABLE, "name")
