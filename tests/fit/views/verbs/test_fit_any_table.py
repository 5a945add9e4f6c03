"""`saescale fit` on tables in the forms in which the field has them: the same law, and a line on what was converted."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from fit.views.verbs import figures, fit, report

CASES = Path(__file__).parents[2] / "cases"
FORMATS = CASES / "formats"
BASE = pd.read_csv(FORMATS / "base.csv")


def ran(capsys, *arguments, verb=fit.main):
    """The exit code of a verb, what it printed, and its error."""
    code = verb(list(map(str, arguments)))
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err and printed.err.count("\n") == (code != 0)
    return code, printed.out, printed.err


def read_fit(folder):
    return json.loads((folder / "fits.json").read_text(encoding="utf-8"))["fits"][0]


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("base.csv", None),
        ("n_pow.csv", "n_latents: 9 values such as 2^9 were read as powers: 2^9 is 512."),
        (
            "n_thousands.csv",
            "n_latents: 8 values such as 1,024 were read with a mark between thousands: 1,024 is 1024.",
        ),
        ("loss_percent.csv", "nmse: 9 values such as 43.95% were read as percent: 43.95% is 0.4395."),
        ("semicolon.csv", "semicolon.csv was read as text with semicolons between columns."),
        ("tab.tsv", "tab.tsv was read as text with tabs between columns."),
        ("utf16.csv", "utf16.csv was read as text in UTF-16."),
        ("x.jsonl", "x.jsonl was read as lines of JSON, a row each: 9 rows, 2 columns."),
        ("gz.csv.gz", "gz.csv.gz was unpacked (gzip)."),
    ],
)
def test_the_same_law_after_one_line_on_what_was_read_as_what(name, note, tmp_path, capsys):
    code, out, _ = ran(capsys, FORMATS / name, "--law", "L_N", "-v", "--out", tmp_path)
    assert code == 0
    before = out.split("L(N) = ")[0].splitlines()
    assert [line for line in before if line.strip()] == ([] if note is None else [note])
    got = read_fit(tmp_path)
    rounding = 3e-4 if "percent" in name else 1e-4  # four digits of the loss
    want = {"E": (0.1025, 0.0933, 0.1107), "alpha": (0.357, 0.332, 0.382)}
    for parameter, values in want.items():
        found = got["params"][parameter]
        assert (found["value"], found["low"], found["high"]) == pytest.approx(values, abs=5e-4 + rounding)
    assert got["rows"] == 9


def test_a_foreign_loss_keeps_its_own_name(tmp_path, capsys):
    table = BASE.rename(columns={"nmse": "C4 Eval Loss"})
    path = tmp_path / "t.csv"
    table.to_csv(path, index=False)
    code, out, _ = ran(capsys, path, "--law", "L_N", "--map", "nmse=C4 Eval Loss")
    assert code == 0 and "squares on log C4 Eval Loss; 95 %" in out and "NMSE" not in out
    assert read_fit(tmp_path)["loss_name"] == "C4 Eval Loss"
    assert ran(capsys, path, "--only", "l_n", verb=figures.main)[0] == 0
    assert fit.main([str(path), "--law", "L_N", "--map", "nmse=C4 Eval Loss", "--as", "text"]) == 0
    card = capsys.readouterr().out
    assert "C4 Eval Loss" in card and "NMSE" not in card


def test_a_blank_loss_is_named_by_its_row_and_the_advice_leaves_it_out(tmp_path, capsys):
    arguments = (FORMATS / "loss_nan.csv", "--law", "L_N", "--out", tmp_path)
    code, _, error = ran(capsys, *arguments)
    assert code == 1 and "1 of 9 rows has no usable nmse: it is missing in row 4 (n_latents 4096)" in error
    condition = error.partition('--where "')[2].partition('"')[0]
    assert condition == "nmse is not missing"
    code, _, _ = ran(capsys, *arguments, "--where", condition)
    assert code == 0 and read_fit(tmp_path)["rows"] == 8


@pytest.mark.parametrize("six", ["6", "6.0"])
def test_a_product_of_whole_numbers_does_not_overflow(six, tmp_path, capsys):
    """Four rows have C > 2e20; L_N cannot be fitted to four, and says that it got four."""
    options = ("--map", "n_latents=N,tokens=D,nmse=loss", "--where", f"{six} * N * D > 2e20", "--law", "L_N")
    code, _, error = ran(capsys, CASES / "where_overflow.csv", *options, "--out", tmp_path)
    assert code == 1 and "there are 4." in error


@pytest.mark.slow
def test_figures_and_report_take_the_fits_of_a_converted_table(tmp_path, capsys):
    table = tmp_path / "t.csv"
    rows = BASE.assign(
        N=[f"{n / 1024:g}k" for n in BASE["n_latents"]], loss=[f"{100 * x:.9f} %" for x in BASE["nmse"]]
    )
    rows[["N", "loss"]].to_csv(table, index=False, sep=";", encoding="utf-16")
    options = ("--map", "n_latents=N,nmse=loss")
    assert ran(capsys, table, *options, "--law", "L_N")[0] == 0
    code, out, _ = ran(capsys, table, *options, "--only", "l_n", verb=figures.main)
    assert code == 0 and "n_latents (your column N): 9 values such as 0.5k were read with k for 1,024" in out
    assert ran(capsys, table, verb=report.main)[0] == 0  # its names are those of fits.json
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "were read as percent: 43.948509316 % is 0.439485" in page and "have changed" not in page
    plain = BASE.rename(columns={"n_latents": "N", "nmse": "loss"}).assign(loss=BASE["nmse"].round(11))
    plain.to_parquet(tmp_path / "t.parquet")
    shutil.move(tmp_path / "t.csv", tmp_path / "old.csv")
    content = json.loads((tmp_path / "fits.json").read_text())
    (tmp_path / "fits.json").write_text(json.dumps({**content, "table": "t.parquet"}))
    assert ran(capsys, tmp_path / "t.parquet", "--only", "l_n", verb=figures.main)[0] == 0


def test_curves_are_read_by_the_same_reader(tmp_path, capsys):
    share = [0.1, 0.2, 0.4, 0.6, 0.8, 1]
    runs = BASE.assign(run_id=[f"r{i}" for i in range(9)], k=32)
    parts = [
        runs.assign(
            flops_sparse=[f"{s * n * n / 1e9:.12g} PFLOPs" for n in runs["n_latents"]],
            nmse=runs["nmse"] + 0.02 / s,
        )
        for s in share
    ]
    runs.to_json(tmp_path / "runs.jsonl", orient="records", lines=True)
    pd.concat(parts).to_csv(tmp_path / "c.tsv", sep="\t", index=False)
    options = ("--curves", tmp_path / "c.tsv", "--law", "L_C", "--draws", "20", "--out", tmp_path)
    code, out, _ = ran(capsys, tmp_path / "runs.jsonl", *options)
    assert code == 0
    assert "c.tsv was read as text with tabs between columns." in out
    assert (
        "Curves: flops_sparse: 54 values such as 2.62144e-05 PFLOPs were read in PFLOPs of 1e+15 FLOPs" in out
    )
    # The frontier is cut where one n is best only because the grid ends there, so it ends with the second largest n.
    assert max(point["flops"] for point in read_fit(tmp_path)["points"]) == pytest.approx(65536.0**2 * 1e6)


def test_the_runs_and_a_chart_of_weights_and_biases_are_joined_by_their_names(tmp_path, capsys):
    names = [f"calm-sun-{i} - a" for i in range(9)]
    runs = pd.DataFrame(
        {"Name": names, "State": "finished", "sae.n": BASE["n_latents"], "nmse": BASE["nmse"]}
    )
    runs.to_csv(tmp_path / "export.csv", index=False, quoting=1)
    columns = {"tokens": [1e6 * 2**i for i in range(6)]}
    for name, loss in zip(names, BASE["nmse"], strict=True):
        for end in ("", "__MIN", "__MAX"):
            columns[f"{name} - nmse{end}"] = [loss * (1 + 2.0**-i) for i in range(6)]
    pd.DataFrame(columns).to_csv(tmp_path / "chart.csv", index=False, quoting=1)
    options = ("--map", "run_id=Name,n_latents=sae.n", "--law", "L_ND", "--draws", "20", "--out", tmp_path)
    code, out, _ = ran(capsys, tmp_path / "export.csv", "--curves", tmp_path / "chart.csv", "-v", *options)
    assert code == 0 and "its 9 runs were made into 54 rows with the columns Name, tokens, nmse." in out
    assert {point["run_id"] for point in read_fit(tmp_path)["points"]} == set(names)


def table(folder, **columns):
    BASE.assign(**columns).to_csv(folder / "t.csv", index=False)
    return folder / "t.csv"


@pytest.mark.parametrize(
    ("columns", "options", "words"),
    [
        (
            {"nmse": list("abcdefghi")},
            (),
            "The column nmse holds no numbers ('a', 'b', 'c'): map another column",
        ),
        ({"n_latents": [f"{n} apples" for n in range(1, 10)]}, (), "'apples' is not a unit of this column"),
        ({"C": ["3 PFLOP/s"] * 9}, ("--law", "L_C", "--map", "flops_sparse=C"), "'PFLOP/s' is a rate"),
        ({"n_latents": 512}, (), "these rows have 1 (512). Add runs at other values."),
        ({}, ("--where", "n_latents > 1e9"), "No row has n_latents > 1e9: 9 rows were looked at."),
        (
            {},
            ("--cluster", "run"),
            "The table has no column run; it has n_latents, nmse. Give --cluster one of",
        ),
        ({}, ("--weights", "nmsee"), "Did you mean nmse? Give --weights one of these columns."),
        ({"nmse": ["43.95%", *BASE["nmse"][1:]]}, (), "it has no unit, where '43.95%' has one"),
        (
            {"nmse": [float("inf"), *BASE["nmse"][1:]]},
            (),
            "it is inf in row 1 (n_latents 512). Correct it, or leave the",
        ),
        (
            {"loss": [0.0, *BASE["nmse"][1:]]},
            ("--map", "nmse=loss"),
            "1 of 9 rows has no usable nmse (your column loss): it is 0 or negative in row 1",
        ),
    ],
)
def test_bad_columns_are_one_sentence_and_exit_code_1(columns, options, words, tmp_path, capsys):
    law = () if "--law" in options else ("--law", "L_N")
    code, _, error = ran(capsys, table(tmp_path, **columns), *law, *options, "--out", tmp_path / "out")
    assert code == 1 and words in error
    assert not (tmp_path / "out").exists()


def test_names_with_spaces_are_columns_in_backticks(tmp_path, capsys):
    rows = BASE.rename(columns={"nmse": "C4 Eval Loss"})
    rows.to_csv(tmp_path / "t.csv", index=False)
    options = ("--map", "nmse=C4 Eval Loss", "--where", "`C4 Eval Loss` < 0.4", "--law", "L_N")
    assert ran(capsys, tmp_path / "t.csv", *options)[0] == 0
    assert read_fit(tmp_path)["rows"] == 8


def test_results_of_sae_bench_in_a_folder_are_fitted(tmp_path, capsys):
    folder = tmp_path / "core"
    folder.mkdir()
    for n, nmse in zip(BASE["n_latents"], BASE["nmse"], strict=True):
        metrics = {"reconstruction_quality": {"mse": nmse, "explained_variance": 1 - nmse}}
        content = {
            "eval_type_id": "core",
            "eval_result_metrics": metrics,
            "eval_result_details": [{"index": 0, "feature_density": 0.1}],
            "sae_cfg_dict": {"d_sae": n, "d_in": 768},
        }
        (folder / f"sae_{n}_eval_results.json").write_text(json.dumps(content, default=int))
    mapping = "n_latents=sae_cfg_dict.d_sae,nmse=eval_result_metrics.reconstruction_quality.mse"
    code, out, _ = ran(capsys, folder, "--law", "L_N", "--map", mapping, "--out", tmp_path / "out")
    assert code == 0 and "core was read as 9 results of SAEs, a row each." in out
    assert read_fit(tmp_path / "out")["params"]["alpha"]["value"] == pytest.approx(0.357, abs=5e-4)


def test_a_folder_without_a_table_says_what_it_has(tmp_path, capsys):
    (tmp_path / "a.csv").write_text("n,k\n1,2\n")
    code, _, error = ran(capsys, tmp_path, "--law", "L_N")
    assert (
        code == 1 and "`saescale collect` writes it, or name a table of runs; the folder has a.csv." in error
    )
