"""The law of a transferred lr: exact on tables that obey it, and honest about the rows that it leaves out."""

import numpy as np
import pandas as pd
import pytest

from fit.law.errors import FitError
from fit.law.options import FitOptions
from fit.law.result import FitResult
from fit.study import fit_table
from tests.fit.sweep_tables import Sweep

TRUTH = {"A": 0.06, "alpha": 0.4, "beta": 0.25, "gamma": 0.5}
LRS = 2.0 ** np.arange(-14, -2)


def best(n, D, B):
    return TRUTH["A"] * n ** -TRUTH["alpha"] * D ** -TRUTH["beta"] * B ** TRUTH["gamma"]


def curves(sizes=(16, 32, 64), batches=(256, 1024), noise=0.0, lrs=LRS, **columns) -> pd.DataFrame:
    """Curves whose ln L is a parabola over ln lr about the law's lr at each budget."""
    rng = np.random.default_rng(0)
    parts = []
    for n in sizes:
        for B in batches:
            D = B * np.unique(np.round(np.geomspace(2**14, 2**19, 11) / B))
            for lr in lrs:
                ln_loss = 0.02 * np.log(lr / best(n, D, B)) ** 2 - 0.2 * np.log(n) - 0.1 * np.log(D)
                loss = np.exp(ln_loss + noise * rng.standard_normal(len(D)))
                run = {"run_id": f"{n}-{B}-{lr}", "n_latents": n, "batch_tokens": B, "lr": lr, "k": 4}
                parts.append(pd.DataFrame({**run, "tokens": D, "nmse": loss, **columns}))
    return pd.concat(parts, ignore_index=True)


def fit(table, law="LR_NDB", **how) -> list[FitResult]:
    return fit_table(table, laws=[law], say=str, options=FitOptions(draws=40), **how)


def test_the_law_is_recovered_and_read_back():
    (result,) = fit(curves())
    for name, value in TRUTH.items():
        assert result.params[name].value == pytest.approx(value, rel=1e-3)
    at = {"n_latents": 1024.0, "tokens": 1e7, "batch_tokens": 4096.0}
    assert result.predict(at)[0] == pytest.approx(best(1024, 1e7, 4096), rel=1e-3)
    assert result.group == {"k": 4} and FitResult.from_dict(result.to_dict()) == result
    assert result.rows_used.runs == 6 and result.rows_used.run_columns == ("n_latents", "batch_tokens")


def test_intervals_hold_the_truth_where_losses_scatter():
    (result,) = fit(curves(noise=0.003, sizes=(16, 24, 32, 48, 64)))
    for name in ("alpha", "beta", "gamma"):
        param = result.params[name]
        assert param.low < TRUTH[name] < param.high and param.high - param.low < 0.3


def test_of_one_batch_size_there_is_a_law_that_names_it():
    (result,) = fit(curves(batches=(1024,)), "LR_ND")
    assert result.group == {"k": 4, "batch_tokens": 1024}
    assert result.params["beta"].value == pytest.approx(TRUTH["beta"], rel=1e-3)
    assert {one.group["batch_tokens"] for one in fit(curves(), "LR_ND")} == {256, 1024}
    with pytest.raises(FitError, match="batch_tokens"):
        fit(curves(batches=(1024,)))


def test_budgets_without_an_optimum_and_early_ones_are_left_out_and_counted():
    (result,) = fit(curves(lrs=LRS[LRS > 0.008]))  # the optimum of n = 64 and B = 256 is below the grid
    assert result.selection.used < result.selection.budgets
    assert any("have no best lr" in caution.text for caution in result.cautions)
    assert result.params["gamma"].value == pytest.approx(TRUTH["gamma"], rel=1e-3)
    early = next(part for part in result.rows_used.left_out if "1/16" in part.rule)
    table = curves(lrs=LRS[LRS > 0.008])
    assert (
        early.rows
        == (
            table["tokens"] < table.groupby(["n_latents", "batch_tokens"])["tokens"].transform("max") / 16
        ).sum()
    )
    with pytest.raises(FitError, match="None of 54 budgets has a best lr inside its grid"):
        fit(curves(lrs=8 * LRS[-3:]))


def test_of_a_run_whose_lr_decays_only_the_end_counts():
    decayed = curves(lr_schedule="linear")
    with pytest.raises(FitError):  # one budget for each size and batch size: D is not varied
        fit(decayed)
    mixed = pd.concat([curves(lr_schedule="constant"), decayed.assign(run_id="d" + decayed["run_id"])])
    groups = {one.group["lr_schedule"] for one in fit(mixed)}
    assert groups == {"constant"}


def test_the_two_parametrisations_are_never_pooled_and_say_which_they_are():
    standard, mup = curves(), curves(parametrization="mup")
    mup = mup.assign(lr=10 * mup["lr"], run_id="m" + mup["run_id"])
    both = pd.concat([standard.assign(parametrization="standard"), mup], ignore_index=True)
    found = {one.group["parametrization"]: one.params["A"].value for one in fit(both)}
    assert found["mup"] == pytest.approx(10 * found["standard"], rel=1e-3)
    assert fit(mup)[0].group["parametrization"] == "mup"
    assert "parametrization" not in fit(standard.assign(parametrization="standard"))[0].group
    assert "parametrization" not in fit(standard.assign(parametrization=pd.NA))[0].group


def test_on_sweeps_of_another_shape_whose_runs_end_at_other_tokens_it_transfers():
    sweep = Sweep()
    _, table = sweep.tables(ks=(32,))
    largest = table["n_latents"].max()
    (result,) = fit(table[table["n_latents"] <= largest / 4], "LR_ND")
    D = float(table.loc[table["n_latents"] == largest, "tokens"].median())
    lr = result.predict({"n_latents": float(largest), "tokens": D})[0]
    regret = sweep.loss(largest, D, lr) / sweep.loss(largest, D, sweep.lr_at(largest, D)) - 1
    assert regret < 0.01


@pytest.mark.parametrize("with_runs", [True, False])
def test_sizes_with_fewer_than_three_lr_or_no_best_lr_are_left_out_and_counted(with_runs):
    """n = 24 has two lr, and lr* of n = 48 is below its lr; the other sizes give the law alone."""
    sizes = (16, 32, 64)
    two = curves(sizes=(24,), lrs=LRS[4:6])
    edge = curves(sizes=(48,), lrs=LRS[LRS > 0.03])
    table, alone = pd.concat([curves(sizes=sizes), two, edge], ignore_index=True), curves(sizes=sizes)
    if not with_runs:
        table, alone = table.drop(columns="run_id"), alone.drop(columns="run_id")
    (result,), (expected,) = fit(table), fit(alone)
    used = result.rows_used
    by_rule = {part.rule: part.rows for part in used.left_out}
    assert by_rule["of a (n_latents, batch_tokens) with fewer than three lr"] == len(two)
    assert used.used + sum(by_rule.values()) == used.rows == len(table)
    assert used.used == expected.rows_used.used and used.runs == expected.rows_used.runs == 6
    assert result.params == expected.params
    with pytest.raises(
        FitError, match=r"lr\* needs three lr at each \(n_latents, batch_tokens\), and none has"
    ):
        fit(two)


@pytest.mark.parametrize("column", ["lr", "n_latents", "nmse", "tokens"])
def test_rows_that_lack_a_number_are_left_out_for_that_reason(column):
    """Rows of new runs at a size that is used, so that only the missing number can leave them out."""
    table = curves()
    more = table.iloc[::9].assign(run_id=lambda rows: rows["run_id"] + "x")
    more[column] = np.nan
    (result,), (expected,) = fit(pd.concat([table, more], ignore_index=True)), fit(table)
    by_rule = {part.rule: part.rows for part in result.rows_used.left_out}
    assert by_rule["without a loss, tokens, n_latents, batch_tokens or lr"] == len(more)
    assert "of a (n_latents, batch_tokens) with fewer than three lr" not in {
        part.rule for part in result.rows_used.left_out if part.rows
    }
    assert result.rows_used.used == expected.rows_used.used and result.params == expected.params
    with pytest.raises(FitError, match=f"None of {len(table)} evaluations has a positive number in each of"):
        fit(table.assign(**{column: np.nan}))
