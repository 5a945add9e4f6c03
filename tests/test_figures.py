"""The figures: judged by their numbers, scales, words and bytes, not by pixels."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fit import figures
from fit.errors import FitError
from fit.figures import cli, curves, l_c, l_n, l_nk, labels, one_panel, save
from fit.fitting import fit_law
from fit.result import write_json
from tests.figures.looking import assert_readable, lines

KS = (16, 32, 64)
NS = tuple(2**e for e in range(9, 16))
GOLDEN = {
    "alpha": -0.42272,
    "beta_k": 0.23977,
    "beta_n": -0.02708,
    "gamma": -0.03829,
    "zeta": -1.31862,
    "eta": -0.09648,
}
STYLES = ("paper", "talk")
HERE = ("l_n", "l_nk", "l_c", "curves")  # every other figure has its test in tests/figures


def _known(value, low=0.95, high=1.05):
    return {
        "value": value,
        "low": min(value * low, value * high),
        "high": max(value * low, value * high),
        "method": "t",
    }


def _l_n(n, k):
    return 0.4 * k**-0.3 + 3.0 * np.asarray(n, float) ** -0.3


def fit_l_n(k, held=True):
    """A fit of L_N in the shape of fits.json: E + A n^-0.3 with 1 % noise, the largest n held out."""
    noise = 1 + 0.01 * np.random.default_rng(k).standard_normal(len(NS))
    grid = np.geomspace(NS[0], NS[-1], 40)
    largest = {
        "n_latents": NS[-1],
        "measured": float(_l_n(NS[-1], k) * 1.01),
        "predicted": float(_l_n(NS[-1], k)),
        "low": float(_l_n(NS[-1], k) * 0.98),
        "high": float(_l_n(NS[-1], k) * 1.03),
        "inside": True,
    }
    return {
        "law": "L_N",
        "formula": "L(N) = E + A·N^−α",
        "regime": "converged",
        "group": {"k": k},
        "rows": len(NS),
        "params": {"E": _known(0.4 * k**-0.3), "A": _known(3.0), "alpha": _known(0.3)},
        "held_out": {"input": "n_latents", **largest, "points": [largest]} if held else None,
        "warnings": [],
        "points": [
            {"n_latents": n, "k": k, "nmse": float(_l_n(n, k) * e), "predicted": float(_l_n(n, k))}
            for n, e in zip(NS, noise, strict=True)
        ],
        "curve": [
            {
                "n_latents": float(n),
                "value": float(_l_n(n, k)),
                "low": float(_l_n(n, k) * 0.98),
                "high": float(_l_n(n, k) * 1.02),
            }
            for n in grid
        ],
    }


def golden_law(n, k):
    p = GOLDEN
    ln_n, ln_k = np.log(n), np.log(k)
    slope = p["alpha"] + p["beta_k"] * ln_k + p["beta_n"] * ln_n + p["gamma"] * ln_k * ln_n
    return np.exp(slope) + np.exp(p["zeta"] + p["eta"] * ln_k)


def _held(n, k):
    law = float(golden_law(n, k))
    return {"n_latents": float(n), "k": float(k), "predicted": law, "low": law * 0.97, "high": law * 1.02}


def gao():
    return pd.read_csv(Path(figures.__file__).parents[1] / "datasets" / "gao2024_gpt4_lnk.csv")


def fit_l_nk():
    """The paper's own joint law on its own 45 points."""
    table = gao()
    grid = [(n, k) for k in sorted(set(table["k"])) for n in np.geomspace(2048, 524288, 30)]
    return {
        "law": "L_NK",
        "formula": "L(N, K) = exp(α + β_k ln K + β_n ln N + γ ln K ln N) + exp(ζ + η ln K)",
        "regime": "converged",
        "group": {},
        "rows": len(table),
        "params": {name: _known(value, 0.8, 1.3) for name, value in GOLDEN.items()},
        "held_out": {"input": "n_latents", "points": [_held(524288, k) for k in (32, 64, 128, 256, 512)]},
        "warnings": [],
        "points": [
            {"n_latents": int(n), "k": int(k), "nmse": loss, "predicted": float(golden_law(n, k))}
            for n, k, loss in zip(table["n"], table["k"], table["loss"], strict=True)
        ],
        "curve": [
            {"n_latents": float(n), "k": int(k), "value": v, "low": v * 0.99, "high": v * 1.01}
            for n, k in grid
            for v in [float(golden_law(n, k))]
        ],
    }


def curves_table(k=32, schedule="constant"):
    """Curves that fall to L(N) as tokens^-0.5, two learning rates per n."""
    rows = []
    for n in NS:
        for lr, penalty in ((1e-3, 1.0), (4e-3, 1.08)):
            for tokens in np.geomspace(4096, 4096 * 2**12, 25):
                nmse = penalty * float(_l_n(n, k)) + 20 * n**0.3 * tokens**-0.6
                rows.append(
                    {
                        "run_id": f"k{k}-n{n}-lr{lr:g}",
                        "k": k,
                        "n_latents": n,
                        "lr_schedule": schedule,
                        "tokens": tokens,
                        "nmse": nmse,
                        "flops_sparse": tokens * (2 * n * 256 + 8 * k * 256),
                        "flops_dense": tokens * 12 * n * 256,
                    }
                )
    return pd.DataFrame(rows)


def fit_l_c(flops="sparse", k=32):
    """A law through the lower hull of the curves; the exact numbers do not matter to a figure."""
    table = curves_table(k)
    table["bin"] = np.log2(table[f"flops_{flops}"]).round()
    best = table.loc[table.groupby("bin")["nmse"].idxmin()].iloc[6:]
    slope, intercept = np.polyfit(np.log(best[f"flops_{flops}"]), np.log(best["nmse"]), 1)
    grid = np.geomspace(best[f"flops_{flops}"].min(), best[f"flops_{flops}"].max(), 30)
    law = np.exp(intercept) * grid**slope
    return {
        "law": "L_C",
        "formula": "L(C) = E + A·C^−α",
        "regime": "compute",
        "group": {"k": k},
        "flops": flops,
        "rows": len(best),
        "params": {
            "E": _known(0.01, 0.0, 4.0),
            "A": _known(float(np.exp(intercept))),
            "alpha": _known(-slope),
        },
        "held_out": None,
        "warnings": [],
        "points": [
            {
                "flops": row[f"flops_{flops}"],
                "nmse": row["nmse"],
                "predicted": row["nmse"],
                "run_id": row["run_id"],
                "n_latents": row["n_latents"],
            }
            for _, row in best.iterrows()
        ],
        "curve": [
            {"flops": c, "value": v, "low": v * 0.96, "high": v * 1.05}
            for c, v in zip(grid.tolist(), law.tolist(), strict=True)
        ],
    }


def runs_table(oracle=True):
    rows = []
    for k in KS:
        for n in NS:
            for i, lr in enumerate((1e-3, 4e-3)):
                rows.append(
                    {
                        "run_id": f"k{k}-n{n}-lr{lr:g}",
                        "state": "diverged" if i and n == NS[-1] else "done",
                        "converged": i == 0 and n < NS[-1],
                        "n_latents": n,
                        "k": k,
                        "nmse": float(_l_n(n, k)),
                        "nmse_oracle": float(_l_n(n, k)) * 0.6 if oracle else None,
                    }
                )
    return pd.DataFrame(rows)


def all_curves():
    return pd.concat([curves_table(k) for k in KS], ignore_index=True)


def all_fits():
    return {
        "saescale": "0",
        "table": "runs.parquet",
        "fits": [*(fit_l_n(k) for k in KS), fit_l_nk(), fit_l_c("sparse"), fit_l_c("dense")],
    }


def written(path: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(path / f"{name}.csv")


def many_ks():
    """Five k with four-digit intervals: the longest legend that the paper's own grid would give."""
    fits = [fit_l_n(k) for k in (32, 64, 128, 256, 512)]
    for fit in fits:
        fit["params"] = {name: _known(p["value"], 0.9997, 1.0004) for name, p in fit["params"].items()}
    return {"fits": fits}


READABLE = {
    "l_n": lambda style: l_n.draw(l_n.numbers(runs_table(), None, all_fits()), all_fits(), style),
    "l_n of five k": lambda style: l_n.draw(l_n.numbers(None, None, many_ks()), many_ks(), style),
    "l_nk": lambda style: l_nk.draw(l_nk.numbers(None, None, all_fits()), all_fits(), style),
    "l_nk of two": lambda style: _two_joint(style),
    "l_c": lambda style: _l_c(style, fit_l_c()),
    "l_c in both conventions": lambda style: _l_c(style, fit_l_c(), fit_l_c("dense")),
    "l_c of three k": lambda style: _l_c(style, *(fit_l_c(k=k) for k in KS)),
    "curves": lambda style: curves.draw(curves.numbers(runs_table(), all_curves(), None), None, style),
    "curves of one k": lambda style: curves.draw(curves.numbers(None, curves_table(), None), None, style),
}


def _l_c(style, *fits):
    content = {"fits": list(fits)}
    return l_c.draw(l_c.numbers(None, all_curves(), content), content, style)


def _two_joint(style):
    content = {"fits": [{**fit_l_nk(), "group": {"data": data}} for data in ("gpt2_small", "toy")]}
    return l_nk.draw(l_nk.numbers(None, None, content), content, style)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", READABLE)
def test_no_text_overlaps_or_is_cut_at_the_width_of_a_column_or_a_slide(name, style):
    figure = READABLE[name](style)
    assert figure.get_size_inches()[0] == {"paper": 3.25, "talk": 10.0}[style]
    assert_readable(figure)


def test_the_check_for_overlaps_sees_one():
    figure = READABLE["l_n"]("paper")
    figure.axes[0].text(0.5, 0.5, "first", transform=figure.axes[0].transAxes)
    figure.axes[0].text(0.5, 0.5, "second", transform=figure.axes[0].transAxes)
    with pytest.raises(AssertionError, match="'first' overlaps 'second'"):
        assert_readable(figure)


def test_l_n_plots_runs_law_band_held_out_and_oracle():
    fits = all_fits()
    table = l_n.numbers(runs_table(), None, fits)
    ax = l_n.draw(table, fits).axes[0]
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert ax.get_xlabel() == "number of latents n" and ax.get_ylabel() == "converged normalized MSE"
    assert len(lines(ax, "-")) == len(KS) and len(lines(ax, "--")) == len(KS)
    for line, k in zip(lines(ax, "-"), KS, strict=True):
        np.testing.assert_allclose(line.get_ydata(), _l_n(line.get_xdata(), k))
    held = table[table["series"] == "held_out"]
    assert list(held["n_latents"]) == [NS[-1]] * len(KS)
    np.testing.assert_allclose(held["high"] / held["nmse"], 1.03)


def test_l_n_draws_an_oracle_that_every_k_shares_once_and_in_grey():
    runs = runs_table().assign(nmse_oracle=lambda t: t["n_latents"] ** -0.3)
    ax = l_n.draw(l_n.numbers(runs, None, all_fits()), all_fits()).axes[0]
    (oracle,) = lines(ax, "--")
    assert oracle.get_color() == one_panel.GREY
    np.testing.assert_array_equal(oracle.get_xdata(), NS)
    np.testing.assert_allclose(oracle.get_ydata(), np.array(NS) ** -0.3)


def test_y_axis_shows_the_band_and_any_unit_of_loss():
    fits = all_fits()
    fits["fits"][2]["curve"][-1]["low"] *= 0.8
    assert (
        l_n.draw(l_n.numbers(None, None, fits), fits).axes[0].get_ylim()[0]
        < fits["fits"][2]["curve"][-1]["low"]
    )
    for point in fits["fits"][0]["points"]:
        point["nmse"] *= 100
    fits["fits"] = [
        {**fits["fits"][0], "curve": [{**c, "value": 100 * c["value"]} for c in fits["fits"][0]["curve"]]}
    ]
    table = l_n.numbers(None, None, fits).query("series != 'held_out'")
    low, high = l_n.draw(table, fits).axes[0].get_ylim()
    assert low < table["nmse"].min() and table["nmse"].max() < high


@pytest.mark.parametrize(
    ("sizes", "words"),
    [((512, 1024), ["$\\mathdefault{2^{9}}$", "$\\mathdefault{2^{10}}$"]), ((32, 1500), ["32", "1,500"])],
)
def test_colour_bar_is_in_powers_of_two_only_if_every_n_is_one(sizes, words):
    table = curves.numbers(
        None,
        all_curves()
        .query("n_latents < 2000")
        .replace({"n_latents": dict(zip((512, 1024), sizes, strict=True))}),
        None,
    )
    bar = curves.draw(table).axes[-1]
    bar.figure.draw_without_rendering()
    assert [label.get_text() for label in bar.get_yticklabels()] == words


def test_l_n_legend_gives_formula_and_parameters_with_intervals():
    figure = READABLE["l_n"]("paper")
    (legend,) = figure.legends
    assert legend.get_title().get_text() == "L(N) = E + A·$\\mathregular{N^{−α}}$, with 95 % intervals"
    words = [text.get_text() for text in legend.get_texts()]
    assert words[1] == "k = 32  E 0.141 [0.134, 0.148]  A 3.00 [2.85, 3.15]  α 0.300 [0.285, 0.315]"
    assert words[-2:] == ["held out: predicted from the smaller n", "oracle: the n most frequent features"]


def test_l_n_without_oracle_or_held_out_has_neither_line_nor_words():
    fits = {"fits": [fit_l_n(32, held=False)]}
    table = l_n.numbers(runs_table(oracle=False), None, fits)
    assert set(table["series"]) == {"run", "law"}
    assert len(l_n.draw(table, fits).legends[0].get_texts()) == 1


def test_l_nk_plots_the_published_points_and_their_law():
    fits = all_fits()
    table = l_nk.numbers(None, None, fits)
    ax = l_nk.draw(table, fits).axes[0]
    paper = gao().sort_values(["k", "n"])
    dots, laws = lines(ax, "None", "o"), lines(ax, "--")
    np.testing.assert_allclose(np.concatenate([d.get_ydata() for d in dots]), paper["loss"])
    for line, k in zip(laws, sorted(set(paper["k"])), strict=True):
        drawn = np.exp(
            np.interp(np.log(paper["n"][paper["k"] == k]), np.log(line.get_xdata()), np.log(line.get_ydata()))
        )
        # paper_fit is the dashed line of the published figure; 30 points a line are straight within 0.1 %.
        np.testing.assert_allclose(drawn, paper["paper_fit"][paper["k"] == k], rtol=1e-3)
    assert len({line.get_color() for line in laws}) == 5
    words = [text.get_text() for text in ax.figure.legends[0].get_texts()]
    assert words == ["k = 32", "k = 64", "k = 128", "k = 256", "k = 512"]


def test_what_the_fitter_returns_is_what_the_figures_take(tmp_path):
    paper, said = gao(), []
    joint = fit_law("L_NK", {"n_latents": paper["n"], "k": paper["k"]}, paper["loss"])
    of_32 = paper[paper["k"] == 32]
    single = dataclasses.replace(
        fit_law("L_N", of_32["n"].to_numpy(), of_32["loss"].to_numpy()), group={"k": 32}
    )
    write_json([joint, single], "paper", tmp_path / "fits.json")
    fits = json.loads((tmp_path / "fits.json").read_text())
    paths = figures.make(None, None, fits, tmp_path, only=["l_n", "l_nk"], say=said.append)
    assert len(paths) == 6, said
    held = written(tmp_path, "l_nk").query("series == 'held_out'")
    assert list(held["k"]) == [32, 64, 128, 256, 512] and set(held["n_latents"]) == {2**19}
    for figure in (l_n, l_nk):
        assert_readable(figure.draw(figure.numbers(None, None, fits), fits))


@pytest.mark.parametrize("flops, words", [("sparse", "2nd + 8kd a token"), ("dense", "12nd a token")])
def test_l_c_plots_every_curve_of_its_group_the_frontier_and_the_law(flops, words):
    fits = {"fits": [fit_l_c(flops)]}
    table = l_c.numbers(None, all_curves(), fits)
    ax = l_c.draw(table, fits).axes[0]
    assert words in ax.get_xlabel() and flops in ax.get_xlabel()
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    own = curves_table(32)
    assert len(lines(ax, "-")) == own["run_id"].nunique() == 2 * len(NS)
    drawn = np.sort(np.concatenate([line.get_xdata() for line in lines(ax, "-")]))
    np.testing.assert_allclose(drawn, np.sort(own[f"flops_{flops}"]))
    (frontier,) = lines(ax, "None", "o")
    np.testing.assert_allclose(frontier.get_ydata(), [p["nmse"] for p in fits["fits"][0]["points"]])
    (law,) = lines(ax, "--")
    np.testing.assert_allclose(law.get_ydata(), [c["value"] for c in fits["fits"][0]["curve"]])


def test_fits_of_another_table_are_told(tmp_path):
    said = []
    figures.make(None, curves_table(64), {"fits": [fit_l_c(k=32)]}, tmp_path, only=["l_c"], say=said.append)
    assert said == ["l_c skipped: no row of the table curves belongs to its fit: is fits.json another's?"]


def test_l_c_keeps_only_the_end_of_a_curve_whose_learning_rate_decays():
    table = l_c.numbers(None, curves_table(schedule="cosine"), {"fits": [fit_l_c()]})
    kept = table[table["series"] == "curve"]
    assert len(kept) == 2 * len(NS)
    assert kept["flops"].min() == curves_table().groupby("run_id")["flops_sparse"].max().min()


def test_l_c_finds_in_the_runs_what_the_curves_do_not_know_of_their_group():
    fits = {"fits": [{**fit_l_c(), "group": {"k": 32, "activation": "topk"}}]}
    runs = runs_table().assign(activation=lambda t: np.where(t["n_latents"] < 2**12, "relu", "topk"))
    table = l_c.numbers(runs, all_curves(), fits)
    assert table[table["series"] == "curve"]["n_latents"].min() == 2**12


def test_l_c_without_curves_draws_the_rows_of_the_runs():
    rows = curves_table().drop(columns="run_id")
    table = l_c.numbers(rows, None, {"fits": [fit_l_c()]})
    drawn = table[table["series"] == "curve"]
    assert len(drawn) == len(rows) and drawn["run_id"].nunique() == len(NS)


def test_curves_have_a_panel_per_k_and_a_line_per_run():
    table = curves.numbers(runs_table(), all_curves(), None)
    figure = curves.draw(table)
    panels = [ax for ax in figure.axes if ax.get_title(loc="left")]
    assert [ax.get_title(loc="left") for ax in panels] == [f"k = {k}" for k in KS]
    for ax in panels:
        assert len(lines(ax, "-")) == 2 * len(NS)
        assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    ends = table.drop_duplicates("run_id")["ended"].value_counts().to_dict()
    assert ends == {"converged": 18, "not converged": 21, "diverged or failed": 3}


def test_make_writes_three_files_a_figure_and_the_csv_holds_the_plotted_numbers(tmp_path):
    said = []
    paths = figures.make(runs_table(), all_curves(), all_fits(), tmp_path, only=HERE, say=said.append)
    assert said == [f"wrote {path}" for path in paths]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(p.name for p in paths)
    assert len(paths) == 3 * len(HERE)
    for name in HERE:
        table = figures.FIGURES[name].numbers(runs_table(), all_curves(), all_fits())
        table = table.replace("", np.nan)  # the name of a fit without a group, empty in a CSV
        pd.testing.assert_frame_equal(written(tmp_path, name), table, check_dtype=False, check_exact=True)


def test_the_same_table_gives_the_same_bytes_and_other_settings_do_not_matter(tmp_path):
    import matplotlib as mpl

    figures.make(runs_table(), all_curves(), all_fits(), tmp_path / "a", say=lambda _: None)
    with mpl.rc_context({"font.size": 30, "pdf.fonttype": 3, "axes.grid": True}):
        figures.make(runs_table(), all_curves(), all_fits(), tmp_path / "b", say=lambda _: None)
        assert mpl.rcParams["font.size"] == 30
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_files_embed_their_fonts_and_carry_no_date():
    content = save.rendered(READABLE["l_n"]("paper"))
    assert b"/FontFile2" in content["pdf"] and b"/Type3" not in content["pdf"]
    assert b"CreationDate" not in content["pdf"] and b"Software" not in content["png"]


def test_missing_data_skips_a_figure_in_one_line_and_the_others_are_made(tmp_path):
    said = []
    bare = curves_table().drop(columns=["flops_sparse"])
    paths = figures.make(None, bare, {"fits": [fit_l_n(32), fit_l_c()]}, tmp_path, HERE, say=said.append)
    assert {p.stem for p in paths} == {"l_n", "curves"}
    skipped = [line for line in said if "skipped" in line]
    assert skipped == [
        "l_nk skipped: it needs a fit of the law L_NK: run `saescale fit TABLE --law L_NK` first.",
        "l_c skipped: it needs the columns flops_sparse in the table curves.",
    ]


def test_a_figure_that_breaks_is_told_and_stops_no_other(tmp_path):
    said = []
    broken = {**fit_l_n(32), "params": None}
    paths = figures.make(None, curves_table(), {"fits": [broken]}, tmp_path, HERE, say=said.append)
    assert {p.stem for p in paths} == {"curves"}
    assert any(line.startswith("l_n skipped: it failed with AttributeError") for line in said)


@pytest.mark.parametrize("wrong", [{"only": ["l_x"]}, {"style": "poster"}])
def test_an_unknown_figure_or_style_is_a_sentence(wrong, tmp_path):
    with pytest.raises(FitError, match="choose"):
        figures.make(None, None, None, tmp_path, **wrong)


def test_groups_are_told_apart_by_what_differs():
    fits = [{"group": {"k": 32, "data": d, "d_model": 768}} for d in ("a", "b")]
    assert labels.group_names(fits) == ["k = 32, data = a", "k = 32, data = b"]


@pytest.fixture
def folder(tmp_path):
    """A folder as `saescale collect` and `saescale fit` leave it."""
    runs_table().to_parquet(tmp_path / "runs.parquet")
    all_curves().to_parquet(tmp_path / "curves.parquet")
    (tmp_path / "fits.json").write_text(json.dumps(all_fits()))
    return tmp_path


def test_command_finds_the_curves_and_the_fits_beside_the_table(folder, capsys):
    assert cli.main([str(folder / "runs.parquet"), "--only", "l_n", "curves", "--style", "talk"]) == 0
    out = capsys.readouterr().out.split()
    assert len(list((folder / "figures").iterdir())) == 6
    assert f"{folder / 'figures' / 'l_n.pdf'}" in out and out.count("wrote") == 6


def test_command_reads_a_foreign_table_through_a_mapping(folder, capsys):
    foreign = all_curves().rename(columns={"n_latents": "width", "tokens": "seen"})[
        ["run_id", "width", "seen", "nmse"]
    ]
    foreign.to_csv(folder / "mine.csv", index=False)
    runs_table().rename(columns={"n_latents": "width"}).to_csv(folder / "results.csv", index=False)
    given = [
        str(folder / "results.csv"),
        "--map",
        "n_latents=width,tokens=seen",
        "--curves",
        str(folder / "mine.csv"),
    ]
    assert cli.main([*given, "--out", str(folder / "out")]) == 0
    assert set(written(folder / "out", "curves")["n_latents"]) == set(NS)
    assert "l_c skipped: it needs the column" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["absent.parquet"], "absent.parquet"),
        (["runs.parquet", "--fits", "absent.json"], "There is no file"),
        (["runs.parquet", "--curves", "absent.csv"], "absent.csv"),
        (["runs.parquet", "--fits", "runs.parquet"], "cannot be read as JSON"),
        (["runs.parquet", "--only", "l_x"], "There is no figure 'l_x'"),
        (["runs.parquet", "--map", "nmse=losss"], "no column 'losss'"),
        (["runs.parquet", "--style", "poster"], "There is no style 'poster'"),
        (["fits.json"], "fits.json"),
    ],
)
def test_command_tells_what_is_wrong_in_one_sentence(arguments, sentence, folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    assert cli.main(arguments) == 1
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1 and "Traceback" not in error
    assert not (folder / "figures").exists()


def test_command_without_any_figure_fails_in_a_sentence(tmp_path, capsys):
    runs_table().to_parquet(tmp_path / "runs.parquet")
    assert cli.main([str(tmp_path / "runs.parquet")]) == 1
    told = capsys.readouterr()
    assert (
        told.out.count("skipped: it needs") == len(figures.FIGURES) and "no figure could be made" in told.err
    )
