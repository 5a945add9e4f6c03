"""Files as tables: compression, encoding and format by what they hold; and what is said of those that hold none."""

import bz2
import gzip
import io
import json
import lzma
import pickle
import zipfile

import numpy as np
import pandas as pd
import pytest
import zstandard

from fit.data.reading.table_file import holds_results, read_file
from fit.law.errors import FitError

TABLE = pd.DataFrame({"n_latents": [512, 1024, 2048], "nmse": [0.4394850931571798, 1e-4, 0.3090638521127372]})
CSV = TABLE.to_csv(index=False).encode()


def zipped(**members):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in members.items():
            archive.writestr(name.replace("__", "."), text)
    return content.getvalue()


def test_a_plain_table_is_read_without_a_word(tmp_path):
    (tmp_path / "t.csv").write_bytes(CSV)
    TABLE.to_parquet(tmp_path / "t.parquet")
    for name in ("t.csv", "t.parquet"):
        got = read_file(tmp_path / name)
        pd.testing.assert_frame_equal(got.table, TABLE, check_exact=True)
        assert got.notes == ()


@pytest.mark.parametrize(
    ("content", "note"),
    [
        (gzip.compress(CSV, mtime=0), "t was unpacked (gzip)."),
        (zstandard.ZstdCompressor().compress(CSV), "t was unpacked (Zstandard)."),
        (bz2.compress(CSV), "t was unpacked (bzip2)."),
        (lzma.compress(CSV), "t was unpacked (xz)."),
        (zipped(t__csv=CSV), "t was unpacked (zip, t.csv)."),
        (b"\xef\xbb\xbf" + CSV, None),
        (CSV.decode().encode("utf-16"), "t was read as text in UTF-16."),
        (CSV.decode().encode("utf-16-le"), "t was read as text in UTF-16."),
        (CSV.decode().encode("utf-16-be"), "t was read as text in UTF-16."),
        (CSV.decode().encode("utf-32"), "t was read as text in UTF-32."),
        (CSV.replace(b",", b"\t"), "t was read as text with tabs between columns."),
        (
            json.dumps(TABLE.to_dict("list")).encode(),
            "t was read as an object of columns: 3 rows, 2 columns.",
        ),
    ],
)
def test_a_file_is_known_by_what_it_holds_whatever_it_is_called(content, note, tmp_path):
    (tmp_path / "t").write_bytes(content)
    got = read_file(tmp_path / "t")
    pd.testing.assert_frame_equal(got.table, TABLE, check_exact=True)
    assert got.notes == (() if note is None else (note,))


def test_compressed_lines_of_json_say_both(tmp_path):
    (tmp_path / "t.jsonl.zst").write_bytes(
        zstandard.ZstdCompressor().compress(TABLE.to_json(orient="records", lines=True).encode())
    )
    assert [note.split(" (")[0] for note in read_file(tmp_path / "t.jsonl.zst").notes] == [
        "t.jsonl.zst was unpacked",
        "t.jsonl.zst was read as lines of JSON, a row each: 3 rows, 2 columns.",
    ]


def test_an_encoding_of_western_europe(tmp_path):
    (tmp_path / "t.csv").write_bytes("Größe,nmse\n512,0.5\n".encode("latin-1"))
    got = read_file(tmp_path / "t.csv")
    assert list(got.table.columns) == ["Größe", "nmse"]
    assert got.notes == ("t.csv was read as text in Windows-1252 (Latin-1).",)


def test_a_workbook_gives_its_first_sheet_with_rows_and_names_the_others(tmp_path):
    with pd.ExcelWriter(tmp_path / "t.xlsx") as book:
        pd.DataFrame().to_excel(book, sheet_name="cover")
        TABLE.rename(columns={"nmse": " nmse"}).to_excel(book, sheet_name="runs", index=False)
        TABLE.to_excel(book, sheet_name="old", index=False)
    got = read_file(tmp_path / "t.xlsx")
    pd.testing.assert_frame_equal(got.table, TABLE)
    assert "sheet runs. Left out were old: --sheet NAME takes another." in got.notes[0]
    assert list(read_file(tmp_path / "t.xlsx", "old").table.columns) == list(TABLE.columns)
    with pytest.raises(
        FitError, match=r"has no sheet 'olt' with rows; it has runs, old\. Did you mean old\?"
    ):
        read_file(tmp_path / "t.xlsx", "olt")
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    with pytest.raises(
        FitError, match=r"t\.csv is no Excel workbook and has no sheet runs: leave --sheet out\."
    ):
        read_file(tmp_path / "t.csv", "runs")


def test_a_named_index_becomes_a_column_and_feather_is_read(tmp_path):
    TABLE.set_index("n_latents").to_parquet(tmp_path / "t.parquet")
    got = read_file(tmp_path / "t.parquet")
    pd.testing.assert_frame_equal(got.table, TABLE)
    assert got.notes == ("t.parquet: its index became the column n_latents.",)
    TABLE.to_feather(tmp_path / "t.feather")
    pd.testing.assert_frame_equal(read_file(tmp_path / "t.feather").table, TABLE)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", r"is empty \(0 bytes\)"),
        (b" \n\n", r"holds only spaces \(3 bytes\)"),
        (b"n,k\n", "has no rows"),
        (
            np.random.default_rng(0).bytes(3000),
            "is binary and in no format that is read here: save the table as CSV",
        ),
        (b"<!DOCTYPE html>\n<html><body>", "is a web page, not a table"),
        (b"<html><head><title>x", "is a web page, not a table"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 9\n",
            "pointer of Git LFS.*`git lfs pull`",
        ),
        (b"/annex/objects/SHA256E-s1--ab.csv\n", "pointer of git-annex.*`git annex get`"),
        (pickle.dumps(TABLE), "is a pickle, which can run code when it is opened"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "an Excel workbook with a password"),
        (b"PAR1 not really", "is Parquet and cannot be read .*: is it complete"),
        (b"PARE" + bytes(20), "is an encrypted Parquet file"),
        (b"-----BEGIN PGP MESSAGE-----", r"is encrypted \(PGP\): decrypt it first"),
        (b"SQLite format 3\x00", "is an SQLite database"),
        (b"%PDF-1.7", "is a PDF"),
        (gzip.compress(CSV, mtime=0)[:30], "is compressed and cannot be unpacked .*: is it complete"),
        (gzip.compress(b"", mtime=0), "is empty"),
        (zipped(a__csv=CSV, b__csv=CSV), r"is an archive of 2 files \(a.csv, b.csv\)"),
        (zipped(mimetype="x", content__xml="<x/>"), "is a spreadsheet of OpenDocument"),
        (zipped(**{"archive/data__pkl": "x"}), "is a checkpoint or an archive of several files"),
        (b"\\begin{tabular}", "is LaTeX: save its table as CSV"),
    ],
)
def test_a_file_without_a_table_says_what_it_looks_like_and_what_to_do(content, words, tmp_path):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(FitError, match=words) as caught:
        read_file(tmp_path / "t.csv")
    assert "\n" not in str(caught.value)


def test_paths_that_are_no_file(tmp_path):
    with pytest.raises(FitError, match="There is no file .*none.csv: give the path of a table"):
        read_file(tmp_path / "none.csv")
    with pytest.raises(FitError, match="An address is not read: download the table first"):
        read_file(type(tmp_path)("https://example.org/t.csv"))
    with pytest.raises(FitError, match="is a folder without results of SAEBench or SAELens"):
        read_file(tmp_path)


def test_a_folder_of_results_of_saes_has_a_row_for_each(tmp_path):
    for n in (4096, 16384):
        folder = tmp_path / f"sae_{n}"
        folder.mkdir()
        result = {"eval_result_metrics": {"sparsity": {"l0": 40}}, "sae_cfg_dict": None, "eval_id": str(n)}
        (folder / "x_eval_results.json").write_text(json.dumps(result))
        (folder / "cfg.json").write_text(json.dumps({"d_sae": n}))
    (tmp_path / "other.json").write_text("[1]")
    assert holds_results(tmp_path)
    got = read_file(tmp_path)
    assert list(got.table["cfg.d_sae"]) == [16384, 4096]
    assert list(got.table["file"]) == ["sae_16384/x_eval_results.json", "sae_4096/x_eval_results.json"]
    assert got.notes == (
        f"{tmp_path.name} was read as 2 results of SAEs, a row each; 1 other JSON file was left out.",
    )
