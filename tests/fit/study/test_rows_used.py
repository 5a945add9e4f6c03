"""What a fit says about the rows of its table, and that lr sweeps, curves and columns that follow n are not pooled."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fit.law.caution import Kind
from fit.law.errors import FitError
from fit.law.laws import named
from fit.law.options import FitOptions
from fit.law.result import FitResult
from fit.law.selection import LeftOut, RunsBy
from fit.study import fit_table
from fit.views.lines.rows import row_lines
from tests.fit.compute_sweeps import sweep
from tests.fit.laws_under_test import TRUTH
from tests.fit.sweep_tables import LRS, Sweep

DRAWS = 40
CASES = Path(__file__).parents[1] / "cases"


def case(name, law="L_ND", mapping=None, where=None, say=str, **options):
    table = pd.read_csv(CASES / f"{name}.csv")
    options = FitOptions(draws=DRAWS, **options)
    return fit_table(table, laws=[law], mapping=mapping, where=where, options=options, say=say)


def value(fit, name):
    return fit.params[name].value


def holds(fit, name, truth):
    param = fit.params[name]
    return param.low is not None and param.low <= truth <= param.high


def test_the_lowest_lr_of_each_scale_is_taken_and_said():
    (fit,) = case("lr_mix")
    assert [value(fit, name) for name in ("alpha", "beta", "E")] == pytest.approx([0.34, 0.36, 1.7], abs=1e-3)
    assert (fit.rows_used.used, fit.rows_used.rows) == (16, 80)
    assert fit.rows_used.left_out == (
        LeftOut(64, "not at the lr with the lowest loss of each (n_latents, tokens)"),
    )
    assert "rows: 16 of 80 rows of the table used; left out: 64 not at the lr" in next(
        row_lines(fit.rows_used)
    )


@pytest.mark.parametrize("columns", [["name"], []])
def test_curves_are_clustered_by_themselves_as_with_the_option(columns):
    """By the column that names runs, or without it by 20 rising tokens at each of 12 n."""
    table = pd.read_csv(CASES / "curves_no_cluster.csv")
    table = table[[*columns, "n_latents", "tokens", "nmse"]]
    options = FitOptions(draws=DRAWS)
    (fit,) = fit_table(table, laws=["L_ND"], options=options)
    asked = "name" if columns else "n_latents"
    (same,) = fit_table(table, laws=["L_ND"], options=FitOptions(draws=DRAWS, cluster=asked))
    assert fit.params == same.params and holds(fit, "alpha", 0.34)
    assert (fit.rows_used.runs, fit.rows_used.runs_by) == (12, RunsBy.COLUMN if columns else RunsBy.CURVES)
    assert same.rows_used.runs_by is RunsBy.ASKED
    assert "12, rows of " in list(row_lines(fit.rows_used))[1]


def test_rows_of_curves_that_are_counted_apart_have_correlated_residuals_and_a_caution():
    (fit,) = case("curves_no_cluster", cluster="none")
    assert not holds(fit, "alpha", 0.34) and fit.rows_used.runs == 240
    (caution,) = [c for c in fit.cautions if c.text.startswith("Residuals of neighbours in tokens")]
    assert "--cluster n_latents" in caution.text and "(r = " in caution.text


def test_a_column_that_follows_the_size_does_not_split_the_rows():
    (fit,) = case("dmodel_groups", mapping={"n_latents": "N"})
    assert fit.rows == 20 and holds(fit, "alpha", 0.34) and fit.group == {}
    assert fit.rows_used.not_split_by == ("d_model",)
    assert any(c.text.startswith("d_model follows n_latents and does not split") for c in fit.cautions)
    with pytest.raises(FitError, match="needs at least 3 different values of n_latents"):
        case("dmodel_groups", mapping={"n_latents": "N"}, group=("d_model",))


def test_a_grid_of_runs_at_shared_budgets_is_no_curve():
    (fit,) = case("dmodel_groups", mapping={"n_latents": "N"})
    assert fit.rows_used.runs_by is RunsBy.ROWS and fit.params["alpha"].method == "profile"


def test_conditions_on_compute_keep_the_rows_that_exact_numbers_keep():
    mapping = {"n_latents": "N", "tokens": "D", "nmse": "loss"}
    sentences = []
    for condition in ("6 * N * D > 2e20", "6.0 * N * D > 2e20"):
        with pytest.raises(FitError) as error:
            case("where_overflow", "L_N", mapping, condition)
        sentences.append(str(error.value))
    assert "there are 4" in sentences[0] and sentences[0] == sentences[1]


def curves_of(ns, lrs, evaluations=13, noise=0.0, seed=0):
    """Runs of L = 1.7 + 400 N^-.34 + 1500 D^-.36, worse by 2 % for each factor of 3 in lr from 1e-3."""
    rng, parts = np.random.default_rng(seed), []
    for n in ns:
        for lr in lrs:
            D = np.geomspace(1e9, 1e11, evaluations)
            loss = (1.7 + 400 * n**-0.34 + 1500 * D**-0.36) * (1 + 0.02 * np.log(lr / 1e-3) ** 2)
            loss *= np.exp(noise * rng.standard_normal())
            parts.append(pd.DataFrame({"n_latents": n, "lr": lr, "tokens": D, "nmse": loss}))
    return pd.concat(parts, ignore_index=True)


def test_of_curves_with_an_lr_sweep_one_run_of_each_size_counts():
    table = curves_of(np.geomspace(5e7, 2e9, 10), (1e-4, 3e-4, 1e-3, 3e-3, 1e-2))
    (fit,) = fit_table(table, laws=["L_ND"], options=FitOptions(draws=DRAWS))
    assert value(fit, "alpha") == pytest.approx(0.34, abs=1e-3)
    assert (fit.rows_used.used, fit.rows_used.rows, fit.rows_used.runs) == (130, 650, 10)
    assert "lowest loss of each (n_latents) at the tokens that its runs share" in fit.selection.rule


def test_a_run_that_diverged_early_is_no_candidate_for_the_best_lr():
    table = curves_of(np.geomspace(5e7, 2e9, 10), (3e-4, 1e-3, 3e-3))
    early = (table["lr"] == 3e-3) & (table["tokens"] > 1e10)
    table = table[~early].assign(nmse=lambda t: t["nmse"].where(t["lr"] != 3e-3, t["nmse"] * 0.5))
    (fit,) = fit_table(table, laws=["L_ND"], options=FitOptions(draws=DRAWS))
    assert fit.rows_used.runs == 10 and value(fit, "E") == pytest.approx(1.7, abs=0.01)


def converged_runs(active_effect=1.5):
    """L(N) at two values of a column `active`."""
    rng, rows = np.random.default_rng(1), []
    for n in 2.0 ** np.arange(9, 17):
        for active in (16, 32):
            loss = (
                (0.1 + 2 * n**-0.3) * active_effect ** (active == 16) * np.exp(0.003 * rng.standard_normal())
            )
            rows.append({"n_latents": n, "active": active, "nmse": loss})
    return pd.DataFrame(rows)


def test_another_column_that_rides_on_the_loss_is_refused_with_its_options():
    with pytest.raises(FitError) as error:
        fit_table(converged_runs(), laws=["L_N"])
    assert "with active (2 values), which explains" in str(error.value)
    for option in ('--where "active == 16"', "--group active", "--map k=active"):
        assert option in str(error.value)


def test_each_of_these_options_gives_a_fit():
    table = converged_runs()
    assert len(fit_table(table, laws=["L_N"], where="active == 16")) == 1
    apart = fit_table(table, laws=["L_N"], options=FitOptions(group=("active",)))
    assert [fit.group for fit in apart] == [{"active": 16}, {"active": 32}]
    by_name = fit_table(table.rename(columns={"active": "topk"}), laws=["L_N"], say=str)
    assert [fit.group for fit in by_name] == [{"k": 16}, {"k": 32}]
    assert [fit.group for fit in fit_table(table, laws=["L_N"], mapping={"k": "active"})] == [
        {"k": 16},
        {"k": 32},
    ]
    (fit,) = fit_table(table, laws=["L_N"], options=FitOptions(group=()))
    assert fit.rows == 16 and any("with active" in text for text in fit.warnings)


def test_a_small_effect_of_another_column_is_a_caution_and_none_is_nothing():
    (fit,) = fit_table(converged_runs(1.03), laws=["L_N"])
    assert any(re.search(r"differ by ±1\.\d % with active", text) for text in fit.warnings)
    (fit,) = fit_table(converged_runs(1.0), laws=["L_N"])
    assert not any("active" in text for text in fit.warnings)


def test_every_count_sums_to_the_rows_of_its_table(sweep_fits):
    for fit in sweep_fits:
        used = fit.rows_used
        assert used.used + sum(left.rows for left in used.left_out) == used.rows, fit.law
        assert used.runs is not None and used.why
        assert FitResult.from_dict(fit.to_dict()) == fit
        assert len(list(row_lines(used))) == 2


@pytest.fixture(scope="module")
def sweep_fits():
    runs, curves = Sweep(noise=0.003).tables(lrs=LRS[3:8], ks=(16, 32), seeds=1)
    runs.loc[3, "state"] = "failed"
    runs["converged"] = runs["converged"] & (np.arange(len(runs)) % 17 > 0)
    laws = ["L_C", "L_N", "L_NK", "L_ND", "L_NDK", "T_N", "LR_N"]
    fits = fit_table(runs, curves, laws, where="n_latents < 8000", options=FitOptions(draws=20), say=str)
    assert {fit.law for fit in fits} >= set(laws)
    return fits


def test_fits_of_the_same_table_name_the_rows_they_read(sweep_fits):
    tables = {fit.law: fit.rows_used.table for fit in sweep_fits}
    assert tables["L_N"] == "rows of the table" and tables["L_ND"] == tables["L_C"] == "evaluations"
    rules = [left.rule for left in next(f for f in sweep_fits if f.law == "L_N").rows_used.left_out]
    assert rules[0] == "not n_latents < 8000" and "of another k" in rules and "not converged" in rules


def test_a_condition_on_tokens_changes_the_rows_of_the_law_of_curves():
    runs, curves = Sweep(noise=0.003).tables(lrs=LRS[4:7])
    every, late = (
        fit_table(runs, curves, ["L_ND"], where=where, options=FitOptions(draws=DRAWS), say=str)[0]
        for where in (None, "tokens > 1e6")
    )
    assert late.rows < every.rows and min(point.inputs["tokens"] for point in late.points) > 1e6
    first = late.rows_used.left_out[0]
    assert first == LeftOut(int((curves["tokens"] <= 1e6).sum()), "not tokens > 1e6") and first.rows > 0


def of_trials(law, rows=4, seed=0, between=0.02, within=0.004):
    """Runs whose rows share an error, named by `trial`; the rows have no tokens."""
    rng = np.random.default_rng(seed)
    n = np.repeat(2.0 ** np.arange(9, 17), 2)
    trial = np.repeat([f"t{i}" for i in range(len(n))], rows)
    e = np.repeat(between * rng.standard_normal(len(n)), rows) + within * rng.standard_normal(len(trial))
    x = {"n_latents": np.repeat(n, rows), "unique_tokens": np.repeat(2.0**20, len(trial))}
    loss = (0.1 + 2 * x["n_latents"] ** -0.3) * np.exp(e)
    return pd.DataFrame(
        {**({"flops_sparse": x["n_latents"] ** 2} if law == "L_C_pure" else x), "trial": trial, "nmse": loss}
    )


def test_rows_of_runs_without_an_order_are_clustered_where_their_residuals_are_correlated():
    table = of_trials("L_N")
    (fit,) = fit_table(table, laws=["L_N"], say=str)
    (caution,) = [c for c in fit.cautions if c.kind is Kind.CORRELATED]
    assert "Residuals within one trial correlate by 0.9" in caution.text and caution.of == ("trial",)
    assert "counted each by itself, the intervals would be 1.9 times too narrow." in caution.text
    assert not fit.lack_of_fit.refuted
    assert (fit.rows_used.runs, fit.rows_used.runs_by, fit.rows_used.run_columns) == (
        16,
        RunsBy.COLUMN,
        ("trial",),
    )
    assert fit.params["alpha"].method == "sandwich over runs"
    (apart,) = fit_table(table, laws=["L_N"], options=FitOptions(cluster="none"), say=str)
    (caution,) = [c for c in apart.cautions if c.kind is Kind.CORRELATED]
    assert apart.lack_of_fit.refuted  # by the scatter within trials, where each row counts as a seed
    assert "tests and intervals need --cluster trial." in caution.text and apart.rows_used.runs == 64


def test_independent_rows_of_runs_are_not_clustered():
    (fit,) = fit_table(of_trials("L_N", between=0.0, within=0.01), laws=["L_N"], say=str)
    assert fit.rows_used.runs == 64 and not [c for c in fit.cautions if c.kind is Kind.CORRELATED]


def test_a_batch_of_runs_at_several_sizes_that_shares_an_error_is_found_in_a_law_of_n_and_k():
    rng = np.random.default_rng(1)
    n, k = (v.ravel() for v in np.meshgrid(2.0 ** np.arange(9, 15), [8.0, 32, 128, 512], indexing="ij"))
    batch = rng.permutation(np.repeat(np.arange(8), 3))
    loss = named("L_NK").loss(TRUTH["L_NK"], {"n_latents": n, "k": k})
    loss *= np.exp(0.03 * rng.standard_normal(8)[batch] + 0.003 * rng.standard_normal(24))
    (fit,) = fit_table(
        pd.DataFrame({"n_latents": n, "k": k, "experiment": batch, "nmse": loss}), laws=["L_NK"], say=str
    )
    (caution,) = [c for c in fit.cautions if c.kind is Kind.CORRELATED]
    assert caution.of == ("experiment",) and "so its rows are clustered" in caution.text
    assert fit.rows_used.runs == 8


def test_a_table_of_curves_by_run_and_compute_alone_is_no_table_of_independent_rows():
    C = np.geomspace(1e15, 1e18, 20)
    parts = [
        pd.DataFrame(
            {
                "run": f"r{i}",
                "flops_sparse": C,
                "nmse": 0.1 + 30 * C**-0.12 * (1 + (np.log10(C) - 15 - i / 2) ** 2 / 20),
            }
        )
        for i in range(7)
    ]
    (fit,) = fit_table(pd.concat(parts), laws=["L_C"], options=FitOptions(draws=DRAWS), say=str)[:1]
    assert fit.rows_used.runs == 7 and fit.params["alpha"].method == "bootstrap over runs"


def test_a_column_that_decides_the_frontier_is_named_with_the_columns_its_runs_differ_in():
    table = sweep(noise=0.002, seeds=2)
    other = table.assign(run_id=table["run_id"] + "b", nmse=table["nmse"] * 1.06, optimizer="sgd")
    both = pd.concat([table.assign(optimizer="adam"), other], ignore_index=True)
    fit = fit_table(both, laws=["L_C"], options=FitOptions(draws=DRAWS), say=str)[0]
    (caution,) = [c for c in fit.cautions if c.of == ("optimizer",)]
    assert caution.text.startswith("At equal C, n_latents and lr, runs differ by ±2.9 % with optimizer (")
    assert "is of optimizer adam: choose one value (--where \"optimizer == 'adam'\")" in caution.text
    assert (
        fit.selection.differ == ("n_latents", "lr")
        and FitResult.from_dict(fit.to_dict()).selection == fit.selection
    )
    alone = fit_table(table.assign(optimizer="adam"), laws=["L_C"], options=FitOptions(draws=DRAWS), say=str)[
        0
    ]
    assert not [c for c in alone.cautions if c.of == ("optimizer",)]


def test_curves_of_one_size_and_several_lr_are_several_runs_of_the_frontier():
    """Without names of runs, and under the names of another tool."""
    table = sweep(noise=0.003, rates=(0.5, 1.0, 2.0), rows=20)
    unnamed = table[["n_latents", "lr", "flops_sparse", "nmse"]]
    unnamed = unnamed.rename(columns={"lr": "peak_lr", "flops_sparse": "Total FLOPs"})
    options = FitOptions(draws=DRAWS)
    named, found = (fit_table(rows, laws=["L_C"], options=options, say=str)[0] for rows in (table, unnamed))
    assert found.rows_used.runs == found.selection.runs == 21
    assert [point.response for point in found.points] == pytest.approx(
        [point.response for point in named.points]
    )
