"""Result tables: reading, mapping names, and choosing rows."""

import pandas as pd
import pytest

from fit.data import tables
from fit.law.errors import FitError

TABLE = pd.DataFrame(
    {"k": [16, 32, 32], "n": [512, 512, 1024], "name": ["a", "b", "c"], "ok": [True, False, True]}
)


def test_where_keeps_the_rows_for_which_a_condition_holds():
    assert tables.where(TABLE, None) is TABLE
    assert list(tables.where(TABLE, "k == 32 and n > 512").index) == [2]
    with pytest.raises(FitError, match="No row has k == 64: 3 rows"):
        tables.where(TABLE, "k == 64")
    with pytest.raises(FitError, match="names lr, which is not a column here"):
        tables.where(TABLE, "lr > 1")


def test_mapping():
    assert tables.parse_mapping("n_latents=n, k=k,nmse=loss") == {"n_latents": "n", "k": "k", "nmse": "loss"}
    assert list(tables.renamed(TABLE, {"n_latents": "n"})["n_latents"]) == [512, 512, 1024]
    for bad in ("n_latents", "n_latents=", "=n"):
        with pytest.raises(FitError, match="is not a mapping"):
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


def test_a_mistyped_column_brings_the_near_ones():
    table = pd.DataFrame({"n_latents": [1], "loss": [0.5]})
    with pytest.raises(
        FitError, match=r"no column 'los' to map; it has n_latents, loss\. Did you mean loss\?$"
    ):
        tables.renamed(table, {"nmse": "los"})
    with pytest.raises(
        FitError, match=r"no column n_latent; .* Did you mean n_latents\? If it is there under"
    ):
        tables.require(table, "n_latent")


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
    with pytest.raises(FitError, match="column name holds a value that is not a number"):
        tables.numbers(TABLE, "name")


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf")])
def test_a_number_without_a_logarithm_is_named_by_its_row(bad):
    table = pd.DataFrame({"nmse": [0.5, bad]})
    with pytest.raises(FitError, match="1 of 2 rows have a nmse that is missing, 0 or negative .row 1"):
        tables.positive(table, "nmse")
    tables.positive(table.iloc[:1], "nmse")
