"""What is taken as one training run: columns that name runs, the shape of curves, and grids that look like curves."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fit.data.training_runs import names_runs, training_runs, with_run_ids
from fit.law.errors import FitError
from fit.law.selection import RunsBy

INPUTS = ("n_latents", "tokens")


def grid(budgets, sizes=4):
    """Each of some n at each of some budgets."""
    n, D = np.repeat(1e8 * 2.0 ** np.arange(sizes), len(budgets)), np.tile(budgets, sizes)
    return pd.DataFrame({"n_latents": n, "tokens": D, "nmse": 1 + n**-0.3 + D**-0.3})


GRID = grid(1e9 * 2.0 ** np.arange(6))
CURVES = grid(1e9 * np.arange(1, 31))
LABELS = [f"{n / 1e6:g}M" for n in GRID["n_latents"]]


def taken(table, asked=None, inputs=INPUTS):
    return training_runs(table, inputs, "nmse", asked)


@pytest.mark.parametrize(
    ("table", "why"),
    [
        (GRID, "6 tokens at each n_latents are too few for curves"),
        (GRID.assign(name=LABELS), "6 tokens at each n_latents are too few for curves"),
        (GRID.assign(run=[f"r{i}" for i in range(24)]), "each has a run of its own"),
        (GRID.assign(lr=1e-3 * GRID["tokens"] ** -0.3), "no two agree in n_latents, lr and differ in tokens"),
        (grid(1e9 * 2.0 ** np.arange(10)), "10 values of tokens are shared by all runs, as in a grid"),
        (
            grid(1e9 * 2.0 ** np.arange(10)).assign(tokens=lambda t: t["tokens"] * t["n_latents"]),
            "10 values of tokens per latent are shared by all runs, as in a grid",
        ),
        (
            grid(1e18 * 3.0 ** np.arange(10)).assign(tokens=lambda t: t["tokens"] / t["n_latents"]),
            "10 values of compute n·D are shared by all runs, as in a grid",
        ),
        (pd.concat([GRID, GRID]), "several have the same n_latents and tokens"),
    ],
)
def test_rows_of_a_grid_are_runs_of_their_own(table, why):
    runs = taken(table.reset_index(drop=True))
    assert runs.by is RunsBy.ROWS and runs.of_row is None and why in runs.why


@pytest.mark.parametrize(
    "extra", [{}, {"id": range(120)}, {"step": CURVES["tokens"] / 1e6}, {"train_loss": CURVES["nmse"]}]
)
def test_many_rising_tokens_at_equal_settings_are_a_curve(extra):
    """Evaluations every 1e9 tokens are shared by all runs too; nobody trains 30 runs a size at budgets like these."""
    runs = taken(CURVES.assign(**extra))
    assert runs.by is RunsBy.CURVES and runs.columns == ("n_latents",) and runs.count(CURVES) == 4
    assert runs.of_row.groupby(CURVES["n_latents"]).nunique().eq(1).all()


def test_ten_evenly_spaced_tokens_are_evaluations():
    assert taken(grid(1e9 * np.arange(1, 11))).by is RunsBy.CURVES


def test_curves_that_differ_in_a_setting_are_runs_of_their_own():
    both = pd.concat([CURVES.assign(lr=lr) for lr in (1e-3, 2e-3)], ignore_index=True)
    runs = taken(both)
    assert runs.columns == ("n_latents", "lr") and runs.count(both) == 8


@pytest.mark.parametrize("name", ["run", "run_name", "Run ID", "wandb_run_id", "trial"])
def test_a_column_that_names_runs_is_believed_even_for_short_curves(name):
    assert names_runs(name)
    runs = taken(GRID.assign(**{name: LABELS}))
    assert runs.by is RunsBy.COLUMN and runs.columns == (name,) and runs.count(GRID) == 4


def test_a_name_used_for_several_seeds_is_one_run_with_each():
    both = pd.concat([GRID.assign(run=LABELS, seed=seed) for seed in (0, 1)], ignore_index=True)
    assert taken(both).columns == ("run", "seed") and taken(both).count(both) == 8


def test_a_name_of_the_whole_study_names_no_runs():
    assert taken(GRID.assign(run="all")).by is RunsBy.ROWS


def test_saes_evaluated_at_several_k_are_runs_by_name_in_a_law_of_n_and_k():
    n, k = (v.ravel() for v in np.meshgrid(2.0 ** np.arange(9, 15), [16.0, 32.0, 64.0], indexing="ij"))
    table = pd.DataFrame({"n_latents": n, "k": k, "nmse": n**-0.1 * k**-0.2, "run": n.astype(str)})
    assert taken(table, inputs=("n_latents", "k")).count(table) == 6
    assert taken(table[table["k"] == 16], inputs=("n_latents",)).by is RunsBy.ROWS


def test_the_user_decides():
    assert taken(CURVES, "none").of_row is None
    assert taken(GRID, "n_latents").count(GRID) == 4
    with pytest.raises(FitError, match="no column group"):
        taken(GRID, "group")


def test_curves_without_run_id_are_resampled_by_their_names():
    curves = pd.concat(
        [CURVES.assign(run=CURVES["n_latents"].astype(str) + tag) for tag in "ab"], ignore_index=True
    )
    found = with_run_ids(
        curves.assign(flops_sparse=6 * curves["tokens"] * curves["n_latents"]), "flops_sparse"
    )
    assert found["run_id"].nunique() == 8
    assert "run_id" not in with_run_ids(CURVES, "flops_sparse").columns


@pytest.mark.skipif("SAESCALE_REFERENCE_DATA" not in os.environ, reason="needs the published tables")
def test_published_independent_runs_stay_independent():
    table = pd.read_csv(Path(os.environ["SAESCALE_REFERENCE_DATA"]) / "chinchilla_besiroglu.csv")
    runs = taken(table.assign(n_latents=table["N"], tokens=table["D"], nmse=table["loss"]))
    assert runs.by is RunsBy.ROWS and "too few for curves" in runs.why
