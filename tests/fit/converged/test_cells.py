"""The run that stands for a cell: best lr by the mean over seeds, edges of the lr grid, and what is said of them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from fit.converged.runs import best_of_cells
from fit.law.caution import texts
from fit.law.selection import ConvergedSelection

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
