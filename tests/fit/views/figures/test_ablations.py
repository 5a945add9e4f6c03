"""Figs. 15 to 18: curves of runs that differ in one option alone."""

import numpy as np
import pandas as pd
import pytest

from fit.views.figures import ablations
from fit.views.figures.shared import inputs
from tests.fit.sweep_tables import N, Sweep
from tests.fit.views.figures.conftest import joined, named
from tests.fit.views.figures.looking import assert_readable
from tests.fit.views.figures.tables import study

BASE = {"init_scale": "norm", "encoder_bias": False, "auxk_coef": 0.0, "ema": 0.999}


@pytest.fixture(scope="module")
def tables():
    """A base at two lr, and changes of one option each; `ema` always moves together with another option."""
    changes = [
        {},
        {"init_scale": "tied"},
        {"encoder_bias": True},
        {"auxk_coef": 1 / 32},
        {"auxk_coef": 0.125},
    ]
    changes += [{"ema": 0.9, "init_scale": "tied", "encoder_bias": True}]
    return joined(
        [
            named(Sweep(E=0.1 + 0.01 * i).tables(lrs=(1e-4, 8e-4)), f"-{i}", **(BASE | change))
            for i, change in enumerate(changes)
        ]
    )


def test_only_runs_that_differ_in_one_option_are_compared(tables):
    table = ablations.numbers(study(*tables))
    found = {option: sorted(set(own["value"])) for option, own in table.groupby("option")}
    assert found == {
        "init_scale": ["norm", "tied"],
        "encoder_bias": ["False", "True"],
        "auxk_coef": ["0", "0.0312", "0.125"],
    }
    assert set(table["n_latents"]) == set(N[-ablations.MOST_N :])
    runs, curves = tables
    for option, own in table.groupby("option"):
        used = runs[runs["run_id"].isin(own["run_id"])]
        others = [name for name in BASE if name != option]
        assert all(used[name].nunique() == 1 for name in (*others, "k", "batch_tokens"))
        assert used.groupby("n_latents")["lr"].nunique().eq(1).all()
    one = table[table["run_id"] == table["run_id"].iloc[0]].drop_duplicates("tokens")
    whole = curves[curves["run_id"] == one["run_id"].iloc[0]].sort_values("tokens")
    np.testing.assert_array_equal(one["nmse"], whole["nmse"])


@pytest.mark.parametrize("style", ["paper", "talk"])
def test_a_panel_an_option_and_a_line_style_a_value(tables, style):
    table = ablations.numbers(study(*tables))
    figure = ablations.draw(table, study(), style)
    assert_readable(figure)
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["auxk_coef", "encoder_bias", "init_scale"]
    for ax, values in zip(figure.axes, (3, 2, 2), strict=True):
        assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
        assert len(ax.lines) == values * ablations.MOST_N
        assert len(ax.get_legend().get_texts()) == len({line.get_linestyle() for line in ax.lines}) == values


def test_an_option_that_is_off_in_some_runs_is_a_value_too(tables):
    runs, curves = tables
    runs = runs.assign(clip_grad=np.where(runs["run_id"].str.endswith("-1"), 1.0, np.nan), init_scale="norm")
    table = ablations.numbers(study(runs, curves))
    assert set(table[table["option"] == "clip_grad"]["value"]) == {"none", "1"}


def test_without_pairs_or_curves_it_is_told(tables):
    runs, curves = tables
    with pytest.raises(inputs.Missing, match="differ in one option alone"):
        ablations.numbers(study(runs.drop(columns=list(BASE)), curves))
    with pytest.raises(inputs.Missing, match="the table curves with the columns"):
        ablations.numbers(study(runs))
    with pytest.raises(inputs.Missing, match="the table runs"):
        ablations.numbers(study(pd.DataFrame({"n_latents": [1]}), curves))
