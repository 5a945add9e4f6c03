"""The rows of L(N) and L(N, K): which runs count, the best run of a cell over lr and seeds, and the cautions."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from fit.converged.runs import best_of_cells, converged
from fit.law.caution import texts
from fit.law.errors import FitError
from fit.law.laws import LAWS
from fit.law.options import FitOptions
from fit.law.result import FitResult
from fit.law.selection import ConvergedSelection
from fit.study import fit_table
from fit.views.lines.text import text

N = 2 ** np.arange(9, 16)
BOTH = ("n_latents", "k")
ALL = np.ones(len(N), dtype=bool)


def runs(ks=(16, 32), lrs=(1e-4, 2e-4, 4e-4)):
    """A table in the shape of runs.parquet: the middle lr is best, 5 % better than the others."""
    rows = []
    rng = np.random.default_rng(0)
    for k in ks:
        for n in N:
            for lr in lrs:
                loss = (
                    (0.2 * k**-0.1 + 2 * n**-0.25)
                    * (1 if lr == 2e-4 else 1.05)
                    * np.exp(0.005 * rng.standard_normal())
                )
                row = {"run_id": f"{k}-{n}-{lr:g}", "state": "done", "converged": True, "epsilon": 0.01}
                rows.append(
                    {
                        **row,
                        "k": k,
                        "n_latents": n,
                        "lr": lr,
                        "seed": 0,
                        "nmse": loss,
                        "nmse_inf": 0.99 * loss,
                        "nmse_inf_se": 0.005 * loss,
                    }
                )
    return pd.DataFrame(rows)


def one(table, per_k=True, unconverged="drop"):
    return next(iter(converged(table, ("n_latents",) if per_k else BOTH, unconverged)))


def test_best_of_each_cell_is_chosen_and_counted():
    chosen = one(runs())
    assert chosen.group == {"k": 16}
    assert set(chosen.rows["lr"]) == {2e-4} and list(chosen.rows["n_latents"]) == list(N)
    assert chosen.selection.used == 7 and chosen.selection.passed_over == 14
    assert chosen.selection.epsilon == 0.01
    assert not chosen.cautions


def test_one_group_a_k_and_all_k_together():
    assert [chosen.group for chosen in converged(runs())] == [{"k": 16}, {"k": 32}]
    (joint,) = converged(runs(), BOTH)
    assert joint.group == {} and len(joint.rows) == 14


@pytest.mark.parametrize("column", ["data_fingerprint", "data", "d_model", "batch_tokens", "activation"])
def test_what_varies_besides_makes_groups_of_its_own(column):
    table = pd.concat([runs().assign(**{column: 1}), runs().assign(**{column: 2})])
    assert [c.group for c in converged(table, BOTH)] == [{column: 1}, {column: 2}]
    assert len(list(converged(table))) == 4
    assert one(runs().assign(**{column: 1})).group == {"k": 16}


def test_the_name_of_the_data_does_not_count_beside_its_fingerprint():
    table = pd.concat([runs().assign(data=1), runs().assign(data=2)]).assign(data_fingerprint="a")
    assert [c.group for c in converged(table, BOTH)] == [{}]


def test_numbers_may_be_texts():
    """As text 1e-1 is above 0.2, and k=128 comes before k=16."""
    table = runs()
    table["nmse"] = [f"{x:e}" if i % 2 else f"{x:f}" for i, x in enumerate(table["nmse"])]
    texts = table.astype({"n_latents": str, "k": str})
    texts["k"] = texts["k"].replace("32", "128")
    first, second = converged(texts)
    assert (first.group, second.group) == ({"k": 16}, {"k": 128})
    assert set(first.rows["lr"]) == {2e-4} and list(first.rows["n_latents"]) == list(N)


@pytest.mark.parametrize("state", ["pending", "running", "failed", "diverged"])
def test_only_done_runs_count(state):
    table = runs()
    table.loc[table["lr"] == 2e-4, ["state", "nmse"]] = [state, 0.001]
    chosen = one(table)
    assert 2e-4 not in set(chosen.rows["lr"]) and chosen.selection.not_done == 7


def test_a_failed_run_may_lack_its_loss_and_a_foreign_row_may_not():
    table = runs()
    table.loc[3, ["state", "nmse"]] = ["failed", np.nan]
    assert len(fit_table(table, laws=["L_N"])) == 2
    with pytest.raises(
        FitError,
        match="1 of 21 rows has no usable nmse: it is missing in the row of index 3 .*--where .nmse is not missing",
    ):
        fit_table(table[["n_latents", "k", "nmse"]], laws=["L_N"])


def test_unconverged_runs_are_left_out_and_counted():
    table = runs()
    table["converged"] = table["converged"].astype(object)
    table.loc[table["n_latents"] == N[-1], "converged"] = False
    table.loc[table["n_latents"] == N[-2], "converged"] = None
    chosen = one(table)
    assert list(chosen.rows["n_latents"]) == list(N[:-2])
    assert chosen.selection.unconverged == 6
    assert list(texts(chosen.cautions)) == [
        "6 runs are not converged (3 of them not known to be) and left out."
    ]


def test_unconverged_runs_can_be_kept():
    table = runs()
    table.loc[table["n_latents"] == N[-1], "converged"] = False
    chosen = one(table, unconverged="keep")
    assert len(chosen.rows) == 7 and "kept" in chosen.cautions[0].text


def test_unconverged_runs_can_be_extrapolated_and_only_they():
    table = runs()
    last = table["n_latents"] == N[-1]
    table.loc[last, "converged"] = False
    table.loc[last & (table["lr"] == 1e-4), "nmse_inf"] = np.nan
    chosen = one(table, unconverged="extrapolate")
    best = table[(table["lr"] == 2e-4) & (table["k"] == 16)]
    expected = np.where(best["n_latents"] == N[-1], best["nmse_inf"], best["nmse"])
    np.testing.assert_array_equal(chosen.rows["nmse"], expected)
    assert list(texts(chosen.cautions)) == [
        "3 runs are not converged: 2 at the L∞ of their tails, by its error, 1 left out because their loss rises or "
        "nothing is known of their tails.",
        "2 of them have no curve with two evaluations in its last doubling of D: their L∞ is known only from the run's "
        "row, and less well.",
    ]
    there = best["n_latents"].to_numpy() == N[-1]
    highest = np.where(there, best["nmse"] * (1 + 1.96e-3), np.nan)
    np.testing.assert_allclose(chosen.rows["nmse_inf_high"], highest)
    # A converged run is within ε = 1 % of its limit.
    np.testing.assert_allclose(chosen.rows["relative_error"][~there], 0.005)
    assert (chosen.rows["shared_low"][~there] < 0).all() and (chosen.rows["shared_high"][~there] == 0).all()
    (last,) = chosen.rows[there].to_dict("records")
    assert last["shared_low"] < 0 < last["shared_high"]


def test_the_last_doubling_of_the_row_or_the_curve_decides_about_a_limit():
    """Half of the fall from D/2 to D is still to come, whatever the trainer's tail says."""
    table = runs(ks=(16,), lrs=(2e-4,))
    last = table["n_latents"] == N[-1]
    table = table.assign(converged=~last, last_doubling=0.04)
    by_row = one(table, unconverged="extrapolate")
    loss = table["nmse"].iloc[-1]
    assert by_row.rows["nmse"].iloc[-1] == pytest.approx(0.98 * loss)
    D = 1e6 * np.array([0.5, 0.6, 0.75, 0.85, 1])
    curve = pd.DataFrame(
        {"run_id": table["run_id"].iloc[-1], "tokens": D, "nmse": loss * (2 - D / 1e6) ** 0.5}
    )
    (by_curve,) = converged(table, unconverged="extrapolate", curves=curve)
    fall = 1.5**0.5 - 1
    assert by_curve.rows["nmse"].iloc[-1] == pytest.approx((1 - fall / 2) * loss)
    assert len(by_row.cautions) > len(by_curve.cautions)


def stopped_early(table, which):
    """Some runs stopped 2 % above the L∞ that they had predicted, to within ±1 %."""
    part = table[which]
    limit = part["nmse"]
    part = part.assign(
        stop="predicted",
        ended_by="predicted",
        converged=False,
        nmse=1.02 * limit,
        nmse_predicted=limit,
        nmse_predicted_low=0.98 * limit,
        nmse_predicted_high=1.0 * limit,
    )
    return pd.concat([table[~which], part]).sort_index()


def test_runs_that_stopped_because_their_limit_was_known_are_at_it_with_its_error_as_their_weight():
    table = runs(lrs=(2e-4,))
    last = table["n_latents"] == N[-1]
    chosen = one(stopped_early(table, last))
    assert list(chosen.rows["n_latents"]) == list(N) and chosen.selection.extrapolated == 1
    np.testing.assert_array_equal(chosen.rows["nmse"], table["nmse"][:7])
    assert list(chosen.rows["extrapolated"]) == [False] * 6 + [True]
    assert list(texts(chosen.cautions))[0] == (
        "1 run is at the L∞ that the trainer predicted, weighted by its interval."
    )
    (row,) = chosen.rows[chosen.rows["extrapolated"]].to_dict("records")
    assert row["nmse_inf_low"] == pytest.approx(0.98 * row["nmse"])
    assert row["relative_error"] == pytest.approx(np.hypot(0.005, np.log(1 / 0.98) / 3.92), rel=1e-6)
    # R is 0.5 here: at 1.2 the gap of 2 % would be 2.4 times as large, at 0.1 a fifth of it.
    assert row["shared_low"] == pytest.approx(np.log(1.02 - 2.4 * 0.02))
    assert row["shared_high"] == pytest.approx(np.log(1.02 - 0.2 * 0.02))


def test_the_header_counts_the_rows_at_an_extrapolated_limit():
    table = runs(ks=(16,), lrs=(2e-4,))
    early = stopped_early(table, table["n_latents"] >= N[-2])
    (fit,) = fit_table(early, laws=["L_N"])
    assert "k=16, 7 runs (ε = 1 %), 2 of them at an extrapolated L∞" in text([fit])
    assert FitResult.from_dict(fit.to_dict()) == fit
    (fit,) = fit_table(stopped_early(table, ALL), laws=["L_N"])
    assert "k=16, 7 runs, 7 of them at an extrapolated L∞" in text([fit])


def test_early_ends_that_cannot_be_used_are_counted():
    table = stopped_early(runs(ks=(16,), lrs=(2e-4,)), ALL)
    table.loc[table["n_latents"] == N[1], ["nmse_predicted", "nmse_predicted_low"]] = np.nan
    table.loc[table["n_latents"] == N[0], "ended_by"] = "budget"
    chosen = one(table)
    assert list(chosen.rows["n_latents"]) == [N[0], *N[2:]]
    assert chosen.selection.unconverged == 1 and chosen.left_out[1].rows == 1
    assert list(texts(chosen.cautions)) == [
        "6 runs are at the L∞ that the trainer predicted, weighted by its interval; 1 of them reached the budget "
        "before it was as narrow as their target.",
        "1 run is not converged and left out.",
        "Every cell was trained at one lr: L may be lower at another, and the exponent another too.",
    ]
    kept = one(table, unconverged="keep")
    assert len(kept.rows) == 7 and kept.rows["nmse"].iloc[0] == table["nmse"].iloc[0]
    assert kept.selection.extrapolated is None


def test_an_interval_of_a_run_that_was_not_asked_to_stop_by_it_is_not_used():
    table = stopped_early(runs(ks=(16,), lrs=(2e-4,)), ALL).assign(stop="budget", converged=True)
    np.testing.assert_array_equal(one(table).rows["nmse"], table["nmse"])


def test_an_unconverged_run_that_is_already_lower_is_told():
    table = runs()
    lower = (table["n_latents"] == 1024) & (table["lr"] == 2e-4)
    table.loc[lower, "converged"] = False
    others = (table["n_latents"] == 1024) & ~lower
    table.loc[others, "nmse"] = 1.005 * table.loc[lower, "nmse"].iloc[0]  # within ε of the unconverged run
    words = "In 1 of 7 cells (n_latents=1,024, k=16 first) an unconverged run is already lower"
    assert words in one(table).cautions[-1].text


def test_a_cell_that_converged_far_above_an_unconverged_run_is_left_out():
    """An lr that kills most latents converges at once, at a loss that is not that of n latents."""
    table = runs(ks=(16,), lrs=(1e-4, 2e-4))
    bad = (table["n_latents"] == 1024) & (table["lr"] == 2e-4)
    table.loc[bad, "nmse"] *= 2
    table["converged"] = (table["n_latents"] != 1024) | bad
    chosen = one(table)
    assert 1024 not in set(chosen.rows["n_latents"]) and len(chosen.rows) == 6
    assert chosen.selection.used == 6
    assert [(rule.rows, rule.rule) for rule in chosen.left_out][-1] == (
        1,
        "converged above a run that has not converged",
    )
    assert sum(rule.rows for rule in chosen.left_out) + len(chosen.rows) == len(table)
    words = "In 1 of 7 cells (n_latents=1,024, k=16 first) an unconverged run is lower than the best converged one by"
    assert any(text.startswith(words) for text in texts(chosen.cautions))


def test_truths_may_be_texts_of_a_csv(tmp_path):
    table = runs()
    table["converged"] = table["converged"].astype(object)
    table.loc[0, "converged"] = None
    table.to_csv(tmp_path / "runs.csv", index=False)
    assert one(pd.read_csv(tmp_path / "runs.csv")).selection.unconverged == 1
    with pytest.raises(FitError, match="holds 'maybe'"):
        one(table.assign(converged="maybe"))


def test_a_foreign_table_is_used_whole_and_the_result_says_so():
    table = runs()[["n_latents", "k", "nmse"]]
    chosen = one(table)
    assert len(chosen.rows) == 21 and chosen.selection.rule == "all rows"
    assert "every row was taken" in chosen.cautions[0].text


def test_training_curves_are_no_converged_runs():
    columns = ["n_latents", "k", "lr", "seed", "nmse"]
    table = pd.concat([runs()[columns].assign(tokens=t) for t in (1e6, 2e6)])
    with pytest.raises(FitError, match="look like training curves"):
        fit_table(table, laws=["L_N"])


def test_ends_of_runs_with_budgets_of_their_own_are_no_curves():
    table = runs().drop(columns=["state", "converged"]).assign(tokens=lambda t: 1e9 * t["lr"])
    assert len(fit_table(table, laws=["L_N"])) == 2


def test_nothing_converged_is_told():
    with pytest.raises(FitError, match="None of 21 runs is done and converged"):
        fit_table(runs().assign(converged=False), laws=["L_N"])


def test_results_record_how_rows_were_chosen():
    first, second = fit_table(runs(), laws=["L_N"])
    assert (first.group, second.group) == ({"k": 16}, {"k": 32})
    assert first.regime == "converged" and first.rows == 7
    assert first.selection.rule == "best lr of each (n_latents, k) by its nmse"
    assert {point.run.run_id for point in first.points} == {f"16-{n}-0.0002" for n in N}


def test_group_that_cannot_be_fitted_is_skipped_with_its_reason():
    table = runs()
    said = []
    table = table[(table["k"] == 16) | (table["n_latents"] < 2000)]
    (fit,) = fit_table(table, laws=["L_N"], say=said.append)
    assert fit.group == {"k": 16}
    assert len(said) == 1 and said[0].startswith("L_N skipped in part: k=32: L_N needs at least 3")


def test_unknown_choice():
    with pytest.raises(FitError, match="keep, drop, extrapolate"):
        fit_table(runs(), laws=["L_N"], options=FitOptions(unconverged="ignore"))


def test_an_input_of_a_law_does_not_part_its_rows(monkeypatch):
    """A law of d_model, whose rows are else split by d_model; its cells are (n, k, d_model)."""
    monkeypatch.setattr("fit.law.laws.LAWS", dict(LAWS))
    parts = [
        runs(ks=(16,)).assign(d_model=d, run_id=lambda t, d=d: t["run_id"] + f"-{d}")
        for d in (256, 512, 1024)
    ]
    table = pd.concat(parts, ignore_index=True)
    table["nmse"] *= (table["d_model"] / 256) ** 0.1
    (fit,) = fit_table(table, laws=["tests.fit.own_laws:WIDTH"])
    assert fit.rows == 21 and fit.params["beta"].value == pytest.approx(0.1, abs=0.03)
    assert fit.group == {"k": 16}
    assert [f.group for f in fit_table(table, laws=["L_N"])] == [
        {"k": 16, "d_model": d} for d in (256, 512, 1024)
    ]


def test_only_a_run_that_is_not_converged_is_lower_before_its_end():
    table = runs(ks=(16,), lrs=(1e-4, 2e-4, 4e-4))
    seeds = pd.concat([table.assign(seed=s, nmse=table["nmse"] * (1 + 0.01 * s)) for s in range(3)])
    assert not any("already lower" in w for w in texts(one(seeds).cautions))
    last = (seeds["seed"] == 0) & (seeds["n_latents"] == 512)
    said = texts(one(seeds.assign(converged=~last)).cautions)
    assert any(
        w.startswith("In 1 of 7 cells (n_latents=512, k=16 first) an unconverged run is already")
        for w in said
    )


BEFORE = ConvergedSelection(9, "all rows")

SEEDS = {"a": (0.30, 0.31, 0.32), "b": (0.28, 0.33, 0.335), "c": (0.40, 0.41, 0.42)}


def cell(n=512, lrs=(1e-4, 2e-4, 4e-4), losses=SEEDS):
    rows = [
        {"n_latents": n, "k": 16, "lr": lr, "seed": seed, "run_id": f"{n}-{name}{seed}", "nmse": loss}
        for lr, (name, values) in zip(lrs, losses.items(), strict=True)
        for seed, loss in enumerate(values)
    ]
    return pd.DataFrame(rows)


def chosen(table, tried=None):
    names = [name for name in ("n_latents", "k") if name in table.columns]
    best, selection, cautions = best_of_cells(table, table if tried is None else tried, BEFORE, names)
    return best, list(texts(cautions)), selection


def test_lr_is_chosen_by_the_mean_over_seeds_not_by_the_luckiest_seed():
    best, _, selection = chosen(cell())
    assert list(best["lr"]) == [1e-4]
    assert best["nmse"].item() == pytest.approx(np.exp(np.mean(np.log([0.30, 0.31, 0.32]))), rel=1e-14)
    assert best["run_id"].item() == "512-a1"
    rule = "best lr of each (n_latents, k) by its nmse, averaged over up to 3 seeds"
    assert selection == replace(BEFORE, rule=rule, chosen_from=9, passed_over=6, seeds=3)


def test_lowest_of_three_seeds_would_be_low_by_most_of_a_standard_deviation():
    """The number in the docstring: E[min of 3] = −0.85 σ; the mean has no bias."""
    rng = np.random.default_rng(0)
    draws = 0.005 * rng.standard_normal((4000, 3))
    assert draws.min(axis=1).mean() == pytest.approx(-0.85 * 0.005, rel=0.03)
    table = pd.concat(
        [
            cell(n=i, lrs=(1e-4,), losses={"a": tuple(0.3 * np.exp(row))})
            for i, row in enumerate(draws[:400], start=1)
        ]
    )
    best, _, _ = chosen(table)
    assert np.log(best["nmse"] / 0.3).mean() == pytest.approx(0, abs=3 * 0.005 / np.sqrt(1200))


def test_of_runs_of_one_lr_and_seed_the_lowest_counts():
    table = pd.concat([cell(), cell().assign(nmse=lambda t: t["nmse"] * 0.9)])
    best, _, _ = chosen(table)
    assert best["nmse"].item() == pytest.approx(0.9 * np.exp(np.mean(np.log([0.30, 0.31, 0.32]))))


def test_a_single_run_keeps_its_loss_to_the_last_bit():
    best, _, _ = chosen(cell(losses={"a": (0.1 + 0.2,), "b": (0.4,), "c": (0.5,)}))
    assert best["nmse"].item() == 0.1 + 0.2


@pytest.mark.parametrize(
    ("order", "words"),
    [
        (
            ("a", "b", "c"),
            "In 1 of 2 cells the best lr is the smallest that was tried (n_latents=512, k=16: 0.0001 first)",
        ),
        (
            ("c", "b", "a"),
            "In 1 of 2 cells the best lr is the largest that was tried (n_latents=512, k=16: 0.0004 first)",
        ),
    ],
)
def test_an_edge_of_the_lr_grid_is_named(order, words):
    inside = cell(1024, losses={"b": SEEDS["c"], "a": SEEDS["a"], "c": SEEDS["b"]})
    _, (warning,), _ = chosen(pd.concat([cell(losses={name: SEEDS[name] for name in order}), inside]))
    assert warning.startswith(words)


def test_edges_are_those_of_what_was_tried_not_of_what_converged():
    table = cell()
    _, warnings, _ = chosen(table, pd.concat([table, cell(lrs=(5e-5, 1e-5, 1e-6))]))
    assert warnings == []


def test_one_lr_is_no_choice():
    _, (warning,), _ = chosen(cell(lrs=(1e-4,), losses={"a": SEEDS["a"]}))
    assert warning.startswith("Every cell was trained at one lr")


def test_a_table_of_losses_alone_is_used_row_by_row():
    table = cell().drop(columns=["lr", "seed"])
    best, warnings, selection = chosen(table)
    assert len(best) == 9 and not warnings and selection == BEFORE


def test_copies_of_rows_count_once_and_are_said():
    n = np.repeat(2.0 ** np.arange(9, 15), 2)
    table = pd.DataFrame(
        {"n_latents": n, "seed": np.tile([0, 1], 6), "nmse": 0.1 + n**-0.3 + 1e-3 * np.tile([0, 1], 6)}
    )
    (once,), (twice,) = (
        list(converged(rows)) for rows in (table, pd.concat([table, table], ignore_index=True))
    )
    assert list(twice.rows["nmse"]) == list(once.rows["nmse"])
    assert [(used.rows, used.rule) for used in twice.left_out if used.rows] == [(12, "copies of another row")]
    assert any("12 rows repeat others in every column and count once" in each.text for each in twice.cautions)


def test_a_k_that_no_run_of_a_group_has_is_no_part_of_its_cells():
    """The trainer's table has the column k also where the activation is ReLU; the law is that of a table without it."""
    table = runs(ks=(16,))
    (absent,), (missing,) = converged(table.drop(columns="k")), converged(table.assign(k=np.nan))
    assert absent.group == {} and missing.group == {"k": None}
    assert missing.selection == absent.selection and missing.selection.rule.startswith(
        "best lr of each (n_latents) by"
    )
    assert list(missing.rows["nmse"]) == list(absent.rows["nmse"])
    some = table.assign(k=table["k"].where(table["n_latents"] > 512))
    with pytest.raises(FitError, match="3 of 21 rows have no usable k"):
        list(converged(some, asked=[]))
    with pytest.raises(FitError, match="no usable k"):
        list(converged(table.assign(k=np.nan), BOTH))
