"""`saescale fit` as a user runs it: what it prints, what it writes, and how it fails."""

import json
import re
import subprocess
import sys
from importlib import resources
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fit.law.laws import LAWS
from fit.law.options import DEFAULT_LAWS
from fit.views.verbs.fit import main
from tests.fit.sweep_tables import LRS, Sweep
from tests.fit.views.figures.tables import GOLDEN

GAO = str(resources.files("fit.datasets") / "gao2024_gpt4_lnk.csv")
MAP = ["--map", "n_latents=n,k=k,nmse=loss"]
KEYS = "law formula rows loss objective rms_log params starts held_out warnings".split()


def fits(folder):
    def refuse(token):
        raise AssertionError(f"{token} is not JSON")

    return json.loads((Path(folder) / "fits.json").read_text(encoding="utf-8"), parse_constant=refuse)


def runs_table(oracle=False):
    rows = []
    rng = np.random.default_rng(0)
    for k in (16, 32, 64):
        for n in 2 ** np.arange(9, 16):
            loss = (0.2 * k**-0.1 + 2 * n**-0.25) * np.exp(0.005 * rng.standard_normal())
            row = {
                "run_id": f"{k}-{n}",
                "state": "done",
                "converged": True,
                "epsilon": 0.01,
                "lr": 1e-3,
                "seed": 0,
            }
            row |= {
                "k": k,
                "n_latents": n,
                "nmse": loss,
                "flops_sparse": 1e6 * n**2.0,
                "flops_dense": 6e6 * n**2.0,
            }
            rows.append(row | ({"nmse_oracle": 0.9 * loss} if oracle else {}))
    return pd.DataFrame(rows)


def curves_table():
    parts = []
    for _, run in runs_table().iterrows():
        share = np.geomspace(1e-3, 1, 40)
        part = {
            "run_id": run["run_id"],
            "k": run["k"],
            "n_latents": run["n_latents"],
            "lr_schedule": "constant",
        }
        part |= {"step": range(40), "nmse": run["nmse"] + 0.02 * (share**-0.3 - 1)}
        part |= {"flops_sparse": run["flops_sparse"] * share, "flops_dense": run["flops_dense"] * share}
        parts.append(pd.DataFrame(part))
    return pd.concat(parts, ignore_index=True)


@pytest.fixture
def study(tmp_path):
    runs_table().to_parquet(tmp_path / "runs.parquet")
    curves_table().to_parquet(tmp_path / "curves.parquet")
    return tmp_path


def test_golden_joint_law(tmp_path, capsys):
    assert main([GAO, *MAP, "--law", "L_NK", "-v", "--out", str(tmp_path)]) == 0
    content = fits(tmp_path)
    assert (
        content["table"] == GAO
        and set(content) == {"saescale", "table", "made_from", "fits", "regimes"}
        and content["regimes"] is None
    )
    (fit,) = content["fits"]
    found = {name: param["value"] for name, param in fit["params"].items()}
    assert found == pytest.approx(GOLDEN, abs=1e-3)
    assert fit["rms_log"] == pytest.approx(0.00958, abs=5e-6)
    error = [np.log(point["predicted"] / point["nmse"]) for point in fit["points"]]
    assert np.abs(error).max() == pytest.approx(0.0184, abs=5e-5)
    assert fit["held_out"]["rms_log"] == pytest.approx(0.0180, abs=1e-4) and fit["held_out"]["rows"] == 40
    printed = capsys.readouterr().out
    assert "held out n > 262,144: 5 points, rms 1.80 %, 4 inside the intervals" in printed
    assert printed.endswith(f"wrote {tmp_path / 'fits.json'}\n")


def test_json_has_the_agreed_keys_and_shapes(tmp_path):
    main([GAO, *MAP, "--out", str(tmp_path)])
    every = fits(tmp_path)["fits"]
    assert [fit["law"] for fit in every] == ["L_N"] * 5 + ["L_NK"]
    for fit in every:
        assert list(fit)[: len(KEYS)] == KEYS
        assert all(set(param) == {"value", "low", "high", "method", "se"} for param in fit["params"].values())
        assert fit["regime"] == "converged" and fit["flops"] is None
        assert len(fit["points"]) == fit["rows"] and fit["curve"][-1]["n_latents"] == pytest.approx(2**20)
        assert {"n_latents", "value", "low", "high"} <= set(fit["curve"][0])
        assert {"n_latents", "nmse", "predicted"} <= set(fit["points"][0])
    assert every[0]["group"] == {"k": 32} and every[0]["held_out"]["n_latents"] == 2**19
    assert len(every[5]["curve"]) == 5 * 40 and every[5]["group"] == {}


def test_numbers_are_written_in_full(tmp_path):
    main([GAO, *MAP, "--law", "L_N", "--where", "k == 256", "--out", str(tmp_path)])
    (fit,) = fits(tmp_path)["fits"]
    E, A, alpha = (fit["params"][name]["value"] for name in ("E", "A", "alpha"))
    for point in fit["points"]:
        assert E + A * point["n_latents"] ** -alpha == pytest.approx(point["predicted"], rel=1e-13)


def test_own_tables_give_every_law(study, capsys):
    assert main([str(study / "runs.parquet"), "-v"]) == 0
    every = fits(study)["fits"]
    laws = [fit["law"] for fit in every]
    assert [law for law in laws if law.startswith("L_")] == ["L_C"] * 3 + ["L_N"] * 3 + ["L_NK"]
    assert set(laws) == {"L_C", "N_C", "L_N", "L_NK"}
    first = every[0]
    assert (first["regime"], first["flops"], first["group"]) == ("compute", "sparse", {"k": 16})
    assert {"flops", "nmse", "predicted", "run_id", "n_latents"} <= set(first["points"][0])
    assert first["selection"]["source"] == "curves"
    assert {param["method"] for param in first["params"].values()} == {"bootstrap over runs"}
    out = capsys.readouterr().out
    assert "7 converged runs (ε = 1 %)" in out and "k=16" in out and "16/16 starts agree" in out


def test_convention_of_flops_is_a_factor_here(study):
    main([str(study / "runs.parquet"), "--law", "L_C", "--out", str(study / "sparse")])
    main([str(study / "runs.parquet"), "--law", "L_C", "--flops", "dense", "--out", str(study / "dense")])
    sparse, dense = (fits(study / name)["fits"][0] for name in ("sparse", "dense"))
    assert dense["flops"] == "dense"
    assert dense["points"][0]["flops"] > 4 * sparse["points"][0]["flops"]


def test_without_curves_the_frontier_is_of_last_rows(study):
    (study / "curves.parquet").unlink()
    assert main([str(study / "runs.parquet"), "--law", "L_C"]) == 0
    fit = fits(study)["fits"][0]
    assert fit["selection"]["source"] == "rows of the table" and fit["selection"]["draws"] == 0
    # Each point is then a run of its own, an independent measurement.
    assert {param["method"] for param in fit["params"].values()} == {"profile"}


def test_condition_on_runs_chooses_their_curves(study):
    main([str(study / "runs.parquet"), "--law", "L_C", "--where", "epsilon == 0.01 and k == 32"])
    assert [fit["group"] for fit in fits(study)["fits"]] == [{"k": 32}]


def test_oracle_is_printed_beside_the_law(tmp_path, capsys):
    table = runs_table(oracle=True)
    table.loc[0, "nmse_oracle"] = np.nan
    table.to_csv(tmp_path / "runs.csv", index=False)
    main([str(tmp_path / "runs.csv"), "--law", "L_N", "--where", "k == 16", "-v"])
    lines = capsys.readouterr().out.splitlines()
    start = next(i for i, line in enumerate(lines) if "oracle" in line)
    assert lines[start].split() == ["n", "measured", "law", "[95", "%]", "oracle"]
    assert lines[start + 1].split()[-1] == "?"
    assert float(lines[start + 2].split()[-1]) == pytest.approx(table["nmse_oracle"][1], abs=1e-4)
    assert fits(tmp_path)["fits"][0]["points"][0]["oracle"] is None


def test_laws_that_the_table_does_not_support_are_skipped_with_a_reason(tmp_path, capsys):
    table = runs_table()[["n_latents", "nmse"]][:7]
    table.to_csv(tmp_path / "t.csv", index=False)
    assert main([str(tmp_path / "t.csv"), "-v"]) == 0
    out = capsys.readouterr().out
    assert "L_C skipped: The table has no column flops_sparse" in out
    assert "L_NK skipped: The table has no column k" in out
    assert [fit["group"] for fit in fits(tmp_path)["fits"]] == [{}]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([*MAP, "--law", "L_X"], "There is no law 'L_X': choose among L_N, L_C, L_N_pure,"),
        ([*MAP, "--law", "L_NKK"], "as mylaws.py:LAW. Did you mean L_NK"),
        (["--law", "L_N"], "no column n_latents; it has n, k, loss, paper_fit, nmse"),
        ([*MAP, "--law", "L_C"], "L_C cannot be fitted. The table has no column flops_sparse"),
        ([*MAP, "--law", "L_N", "--where", "n < 16000"], "needs at least 5 rows; there are 3"),
        ([*MAP, "--law", "L_N", "--where", "n == 2048"], "at least 3 different values of n_latents"),
        ([*MAP, "--where", "n.max() == 3"], "write columns, numbers, texts in quotes"),
        (["--map", "n_latents=N"], "no column 'N' to map"),
        ([*MAP, "--curves", "nowhere.parquet"], "There is no file nowhere.parquet"),
        ([*MAP, "--law", "L_N", "--weights", "w"], "The table has no column w; it has n, k,"),
        ([*MAP, "--law", "L_N", "--cluster", "c"], "The table has no column c; it has n, k,"),
        ([*MAP, "--law", "LR_NR"], "LR_NR takes the optima of both regimes, which no table has as a column"),
        (
            [*MAP, "--law", "tests.fit.own_laws:WIDTH"],
            "L_D cannot be fitted. The table has no column d_model",
        ),
        ([*MAP, "--law", "L_ND,T_N"], "T_N cannot be fitted."),
        ([*MAP, "--group", "kk"], "The table has no column kk; it has n, k,"),
        ([*MAP, "--weights", "los"], "Did you mean loss? Give --weights one of these columns."),
        ([*MAP, "--objective", "hubr"], "There is no objective 'hubr'"),
        ([*MAP, "--objective", "hubr:0.1"], "Did you mean huber?"),
        (
            ["--map", "n_laents=n,nmse=loss"],
            "--map: n_laents is not one of our columns. Did you mean n_latents",
        ),
    ],
)
def test_failures_are_one_sentence_exit_code_1_and_no_file(tmp_path, capsys, monkeypatch, options, words):
    monkeypatch.setattr("fit.law.laws.LAWS", dict(LAWS))
    assert main([GAO, *options, "--out", str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert words in said.err and said.err.startswith("saescale fit: ")
    assert said.err.count("\n") == 1 and "Traceback" not in said.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "required: TABLE"),
        (["t.csv", "--flops", "cheap"], "--flops: 'cheap' is not among the choices sparse, dense."),
        (["t.csv", "--flops", "spars"], "Did you mean sparse?"),
        (["t.csv", "--min-flops", "-1"], "--min-flops: must be a positive number of FLOPs, got -1."),
        (["t.csv", "--min-flops", "x"], "must be a positive number of FLOPs, got x."),
        (["t.csv", "--waights", "w"], "--waights is not an option here. Did you mean --weights?"),
        (["t.csv", "u.csv"], "u.csv is one argument too many."),
        (["t.csv", "--seed", "-1", "--intervals", "bootstrap"], "--seed: must be an integer >= 0, got -1."),
        (["t.csv", "--draws", "19"], "--draws: must be an integer >= 20, got 19."),
    ],
)
def test_wrong_usage_is_exit_code_2(capsys, options, words):
    assert main(options) == 2
    error = capsys.readouterr().err
    assert error.startswith("saescale fit: ") and words in error
    assert error.endswith(" See saescale fit --help.\n") and error.count("\n") == 1


@pytest.mark.parametrize("options", [["-q"], ["--json", "-q"], ["-v"], []])
def test_what_can_fit_nothing_says_why_once(tmp_path, capsys, options):
    runs_table()[["n_latents", "nmse"]].assign(nmse=np.nan).to_csv(tmp_path / "t.csv", index=False)
    assert main([str(tmp_path / "t.csv"), *options]) == 1
    printed = capsys.readouterr()
    assert "L_N skipped: 21 of 21 rows have no usable nmse" in printed.err and "skipped" not in printed.out


def test_a_folder_that_cannot_be_written_is_told(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main([GAO, *MAP, "--law", "L_N", "--out", str(tmp_path / "file")]) == 1
    said = capsys.readouterr()
    assert (
        said.err
        == f"saescale fit: {tmp_path / 'file'} takes no fits.json (File exists): name another folder with --out.\n"
    )
    assert not said.out


def test_missing_values_of_nullable_columns_are_null(tmp_path):
    table = runs_table().astype({"run_id": "string", "n_latents": "Int64", "converged": "boolean"})
    table.loc[0, "run_id"] = pd.NA
    table.assign(batch_tokens=pd.array([None] * 7 + [1024] * 14, dtype="Int64")).to_parquet(
        tmp_path / "t.parquet"
    )
    assert main([str(tmp_path / "t.parquet"), "--law", "L_N"]) == 0
    first = fits(tmp_path)["fits"][0]
    assert first["points"][0]["run_id"] is None and first["group"] == {"k": 16, "batch_tokens": None}


@pytest.mark.parametrize("objective", ["log", pytest.param("huber:1e-12", marks=pytest.mark.slow)])
def test_an_unbounded_held_out_interval_is_written_and_printed(tmp_path, capsys, objective):
    options = [
        "--law",
        "L_N_broken",
        "--where",
        "k == 256",
        "--objective",
        objective,
        "-v",
        "--out",
        str(tmp_path),
    ]
    assert main([GAO, *MAP, *options]) == 0
    held = fits(tmp_path)["fits"][0]["held_out"]
    assert None in (held["low"], held["high"]) and "∞" in capsys.readouterr().out.split("held out")[1][:80]


def test_a_law_that_fails_costs_no_other(tmp_path, capsys):
    assert main([GAO, *MAP, "--law", "L_N", "--law", "L_C", "--out", str(tmp_path)]) == 0
    assert [fit["law"] for fit in fits(tmp_path)["fits"]] == ["L_N"] * 5
    assert "L_C cannot be fitted. The table has no column flops_sparse" in capsys.readouterr().out


def test_only_the_laws_asked_for_are_spoken_of(study, capsys):
    main([str(study / "runs.parquet"), "--law", "L_C", "--where", "k == 32", "--out", str(study / "out")])
    out = capsys.readouterr().out
    assert (
        "D_C" not in out and "LR_C" not in out and [f["law"] for f in fits(study / "out")["fits"]] == ["L_C"]
    )


def test_draws_and_intervals_of_the_frontier(study, capsys):
    options = ["--law", "L_C", "--where", "k == 32", "--intervals", "delta", "--draws", "50", "-v"]
    main([str(study / "runs.parquet"), *options])
    (fit,) = fits(study)["fits"]
    assert fit["selection"]["draws"] <= 50 and fit["params"]["E"]["method"] == "bootstrap over runs"
    assert "! Its intervals resample whole runs, not by delta" in capsys.readouterr().out


@pytest.mark.parametrize("choice", ["drop", "keep", "extrapolate"])
def test_unconverged_runs_are_never_mixed_in_silence(tmp_path, capsys, choice):
    runs, curves = Sweep(noise=0.002).tables(ns=2 ** np.arange(7, 14), lrs=LRS[1:9], seeds=2)
    runs["converged"] = runs["n_latents"] < 4096
    runs.to_parquet(tmp_path / "runs.parquet")
    curves.to_parquet(tmp_path / "curves.parquet")
    options = ["--law", "L_N", "--law", "T_N", "--law", "LR_N", "--unconverged", choice]
    assert main([str(tmp_path / "runs.parquet"), *options]) == 0
    left_out, kept = "32 runs are not converged and left out", "32 runs are not converged and kept"
    said = {
        "drop": left_out,
        "keep": kept,
        "extrapolate": "32 runs are not converged: 32 at the L∞ of their tails",
    }
    warnings = {fit["law"]: " ".join(fit["warnings"]) for fit in fits(tmp_path)["fits"]}
    assert (
        said[choice] in warnings["L_N"] and said[choice] in warnings["T_N"] and left_out in warnings["LR_N"]
    )
    points = fits(tmp_path)["fits"][0]["points"]
    marked = [point.get("extrapolated") for point in points]
    assert marked == {"drop": [None] * 5, "keep": [None] * 7, "extrapolate": [False] * 5 + [True] * 2}[choice]


def test_schedules_that_contradict_each_other_are_refused(study, capsys):
    runs_table().assign(lr_schedule="cosine").to_parquet(study / "runs.parquet")
    assert main([str(study / "runs.parquet")]) == 1
    assert (
        "21 runs have another lr_schedule in the curves, as 16-512 (constant, and cosine"
        in capsys.readouterr().err
    )


def test_running_runs_whose_lr_decays_have_no_loss_yet(study, capsys):
    runs_table().assign(lr_schedule="cosine", state="running").to_parquet(study / "runs.parquet")
    curves_table().drop(columns="lr_schedule").to_parquet(study / "curves.parquet")
    assert main([str(study / "runs.parquet"), "--law", "L_C"]) == 1
    assert "The lr of all 21 runs with a loss decays and none is done" in capsys.readouterr().err


def test_a_long_table_is_refused_what_would_take_hours_or_gigabytes(tmp_path, capsys):
    n = np.geomspace(2**8, 2**18, 20_001)
    pd.DataFrame({"n_latents": n, "nmse": 0.1 + 2 * n**-0.25}).to_csv(tmp_path / "t.csv")
    for method in ("profile", "bootstrap"):
        assert main([str(tmp_path / "t.csv"), "--law", "L_N", "--intervals", method]) == 1
        said = capsys.readouterr().err
        assert (
            f"Intervals by {method} refit all 20,001 rows hundreds of times" in said
            and "choose delta" in said
        )


def test_true_and_false_are_no_losses(tmp_path, capsys):
    runs_table().assign(nmse=True).to_parquet(tmp_path / "t.parquet")
    assert main([str(tmp_path / "t.parquet"), "--law", "L_N"]) == 1
    assert "The column nmse holds true and false instead of numbers" in capsys.readouterr().err


def test_runs_as_a_module_in_a_fresh_process(tmp_path):
    command = [sys.executable, "-m", "fit.views.verbs.fit", GAO, *MAP, "--law", "L_N", "--out", str(tmp_path)]
    done = subprocess.run(
        command, capture_output=True, text=True, encoding="utf-8", cwd=Path(__file__).parents[4]
    )
    assert done.returncode == 0 and not done.stderr
    assert len(fits(tmp_path)["fits"]) == 5


def test_fit_imports_no_other_package_of_ours():
    code = "import sys, fit.views.verbs.fit, fit.datasets; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[4]
    )
    assert not {"torch", "sweeps", "sae_core", "kernels", "matplotlib"} & set(done.stdout.split())
    assert "fit.views.verbs.fit" in done.stdout.split()


def test_a_screen_by_default_and_every_fit_in_full_with_v(study, capsys):
    options = [str(study / "runs.parquet"), "--law", "L_N,L_NK", "--intervals", "delta"]
    assert main(options) == 0
    screen = capsys.readouterr().out.splitlines()
    assert len(screen) < 50 and max(map(len, screen[:-1])) <= 100  # the last line names a file
    assert {line.split(":")[0] for line in screen} >= {"L_N", "L_NK"}
    written = (study / "fits.json").read_bytes()
    assert main([*options, "-v"]) == 0
    full = capsys.readouterr().out
    assert full.count("L(N) = E + A·N^−α      k=") == 3 and "16/16 starts agree" in full
    expected = "L_NK: not fitted; without -q a sentence says why.\n"
    assert main([*options, "--where", "k == 32", "-q"]) == 0 and capsys.readouterr() == ("", expected)
    assert main([*options, "--json"]) == 0
    answer = capsys.readouterr()
    assert json.loads(answer.out) == fits(study) and answer.err.endswith(f"wrote {study / 'fits.json'}\n")
    assert (study / "fits.json").read_bytes() == written


def test_a_law_asked_for_that_has_no_fit_is_told_with_q_and_no_width_is_no_traceback(
    tmp_path, capsys, monkeypatch
):
    table = pd.DataFrame({"n_latents": 2 ** np.arange(6, 12), "nmse": [0.5, 0.4, 0.33, 0.29, 0.26, 0.24]})
    table.to_csv(tmp_path / "good.csv", index=False)
    assert main([str(tmp_path / "good.csv"), "--law", "L_N,L_NK", "-q"]) == 0
    printed = capsys.readouterr()
    assert not printed.out and printed.err.startswith("L_NK: not fitted")
    monkeypatch.setenv("COLUMNS", "0")
    assert main([str(tmp_path / "good.csv"), "--law", "L_N"]) == 0
    assert "E" in capsys.readouterr().out


def test_the_screen_has_the_width_and_the_colours_of_the_terminal(study, capsys, monkeypatch):
    options = [str(study / "runs.parquet"), "--law", "L_NK"]
    monkeypatch.setenv("COLUMNS", "70")
    main(options)
    plain = capsys.readouterr().out
    assert "\x1b" not in plain and max(map(len, plain.splitlines()[:-1])) <= 70
    monkeypatch.setenv("FORCE_COLOR", "1")
    main(options)
    assert "\x1b[1mL_NK: " in capsys.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")
    main(options)
    assert "\x1b[3" not in capsys.readouterr().out


def test_a_table_without_n_has_the_reasons_of_every_law_in_the_error(tmp_path, capsys):
    runs_table()[["k", "nmse"]].to_csv(tmp_path / "t.csv", index=False)
    assert main([str(tmp_path / "t.csv")]) == 1
    printed = capsys.readouterr()
    for law in DEFAULT_LAWS:
        assert re.search(rf"^{law} skipped: .*The table has no column ", printed.err, re.M)
