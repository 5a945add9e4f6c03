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
        "broken.parquet": "is Parquet and cannot be read",
        "empty.csv": "is empty",
        "header.csv": "has no rows",
        "table.xlsx": "is empty",
    }.items():
        with pytest.raises(FitError, match=words):
            tables.read(tmp_path / name)


def test_words_are_no_numbers():
    with pytest.raises(FitError, match=r"column name holds no numbers \('a', 'b', 'c'\): map another column"):
        tables.numbers(TABLE, "name")
    with pytest.raises(FitError, match="column ok holds true and false instead of numbers"):
        tables.numbers(TABLE, "ok")
    with pytest.raises(FitError, match="column when holds dates or times instead of numbers"):
        tables.numbers(pd.DataFrame({"when": [pd.Timestamp("2026-01-01")]}), "when")


@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        ([0.0], "0 or negative"),
        ([-1.0], "0 or negative"),
        ([float("nan")], "missing"),
        ([float("inf")], "inf"),
        (
            [float("inf"), float("nan"), -1.0],
            "missing in the row of index 2 and inf in the row of index 1 and 0 or negative",
        ),
    ],
)
def test_a_number_without_a_logarithm_is_named_by_its_row_and_the_condition_leaves_it_out(bad, kind):
    table = pd.DataFrame({"nmse": [0.5, *bad]})
    with pytest.raises(
        FitError,
        match=f"{len(bad)} of {len(table)} rows ha.* no usable nmse: it is {kind} in the row of index ",
    ) as caught:
        tables.positive(table, "nmse")
    condition = str(caught.value).partition('--where "')[2].partition('"')[0]
    kept = tables.where(table, condition)
    assert list(kept["nmse"]) == [0.5]
    tables.positive(kept, "nmse")


def test_a_text_among_numbers_is_named_by_its_row_and_the_condition_leaves_it_out(tmp_path):
    table, notes = tables.in_numbers(
        _read("nmse,n_latents\n0.5,512\ndiverged,1024\n0.4,2048\n", tmp_path), {}
    )
    assert not notes
    with pytest.raises(
        FitError, match=r"holds 'diverged' in row 2 \(n_latents 1024\): it is not a number"
    ) as caught:
        tables.numbers(table, "nmse")
    condition = str(caught.value).partition('--where "')[2].partition('"')[0]
    assert list(tables.numbers(tables.where(table, condition), "nmse")) == [0.5, 0.4]


def _read(text, folder):
    (folder / "t.csv").write_text(text)
    return tables.read(folder / "t.csv", str)


def test_a_mapped_column_is_called_by_its_own_name_too(tmp_path):
    """A row of a file is counted from 1; one of a DataFrame has its index."""
    table = tables.renamed(_read("loss,n\n0.5,1\n0,2\n", tmp_path), {"nmse": "loss"})
    with pytest.raises(
        FitError, match=r"no usable nmse \(your column loss\): it is 0 or negative in row 2\."
    ):
        tables.positive(table[table["n"] > 0].sort_values("n"), "nmse")


def test_a_column_for_an_option_is_not_to_be_mapped():
    with pytest.raises(
        FitError, match=r"no column nam; it has .* Did you mean name\? Give --cluster one of these"
    ) as caught:
        tables.require(TABLE, "nam", option="--cluster")
    assert "--map" not in str(caught.value)


def test_both_names_of_a_mapped_column_are_in_numbers_and_names_of_runs_are_not_touched():
    raw = pd.DataFrame(
        {"N": ["2^9", "1,024"], "C (PFLOPs)": [1.0, 2.0], "run": ["16k", "32k"], "loss": ["50%", "40 %"]}
    )
    mapping = {"n_latents": "N", "flops_sparse": "C (PFLOPs)", "nmse": "loss", "run_id": "run"}
    table, notes = tables.in_numbers(tables.renamed(raw, mapping), mapping)
    assert list(table["n_latents"]) == list(table["N"]) == [512, 1024]
    assert list(table["nmse"]) == list(table["loss"]) == [0.5, 0.4]
    assert list(table["flops_sparse"]) == [1e15, 2e15] and list(table["C (PFLOPs)"]) == [1, 2]
    assert list(table["run_id"]) == list(table["run"]) == ["16k", "32k"]
    assert notes == [
        "n_latents (your column N): 1 value, 2^9, was read as a power: 2^9 is 512.",
        "n_latents (your column N): 1 value, 1,024, was read with a mark between thousands: 1,024 is 1024.",
        "flops_sparse (your column C (PFLOPs)): every value was multiplied by 1e+15, for PFLOPs in its name.",
        "nmse (your column loss): 2 values such as 50% were read as percent: 50% is 0.5.",
    ]
    assert tables.in_numbers(table, {})[1] == []
