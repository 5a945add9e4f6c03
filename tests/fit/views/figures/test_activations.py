"""Fig. 2: NMSE over L0 at one n, and over n at one L0, a curve an activation."""

import numpy as np
import pandas as pd
import pytest

from fit.views.figures import activations
from fit.views.figures.shared import inputs
from tests.fit.sweep_tables import N, Sweep
from tests.fit.views.figures.conftest import joined, named
from tests.fit.views.figures.looking import assert_readable
from tests.fit.views.figures.tables import study

KS = (16, 32, 64)


@pytest.fixture(scope="module")
def runs():
    """TopK at its k, ReLU 20 % worse at an L0 of its own and without a k, each at two lr."""
    parts = []
    for name, worse, l0 in (("topk", 1.0, 1.0), ("relu", 1.2, 1.1)):
        own, curves = Sweep(E=0.1 * worse, A=2 * worse, kappa=0.3).tables(lrs=(1e-4, 8e-4), ks=KS)
        k = own["k"] if name == "topk" else np.nan
        parts.append(named((own.assign(l0=own["k"] * l0, k=k), curves), name, activation=name))
    return joined(parts)[0]


def test_each_point_is_the_best_lr_of_its_activation_n_and_sparsity(runs):
    table = activations.numbers(study(runs))
    at_n = table[table["panel"] == "over L0"]
    assert set(at_n["n_latents"]) == {N[-1]}  # of n with equally many points the largest
    for name, l0 in (("topk", KS), ("relu", 1.1 * np.array(KS))):
        own = at_n[at_n["activation"] == name]
        np.testing.assert_allclose(own["l0"], l0)
        best = runs[(runs["activation"] == name) & (runs["n_latents"] == N[-1])].groupby("l0")["nmse"].min()
        np.testing.assert_array_equal(own["nmse"], best)


def test_at_one_l0_a_loss_is_interpolated_between_those_about_it(runs):
    over_n = activations.numbers(study(runs)).query("panel == 'over n'")
    assert list(over_n["n_latents"]) == [*N, *N]
    (l0,) = set(over_n["l0"])
    relu = over_n[(over_n["activation"] == "relu") & (over_n["n_latents"] == N[0])]["nmse"].iloc[0]
    own = runs[(runs["activation"] == "relu") & (runs["n_latents"] == N[0])].groupby("l0")["nmse"].min()
    assert own[own.index >= l0].iloc[0] <= relu <= own[own.index <= l0].iloc[-1]
    assert relu == pytest.approx(np.exp(np.interp(np.log(l0), np.log(own.index), np.log(own))))


@pytest.mark.parametrize("style", ["paper", "talk"])
def test_two_panels_of_a_curve_each(runs, style):
    table = activations.numbers(study(runs))
    figure = activations.draw(table, study(), style)
    assert_readable(figure)
    left, right = figure.axes
    assert (left.get_xscale(), left.get_yscale(), right.get_xscale()) == ("log", "log", "log")
    assert "L0" in left.get_xlabel() and right.get_xlabel() == "number of latents n"
    for ax, panel, x in ((left, "over L0", "l0"), (right, "over n", "n_latents")):
        assert len(ax.lines) == 2
        drawn = np.concatenate([line.get_xydata() for line in ax.lines])
        own = table[table["panel"] == panel].sort_values(["activation", x])
        np.testing.assert_array_equal(drawn, own[[x, "nmse"]].to_numpy())


def test_the_loss_and_the_l0_of_a_point_are_of_the_same_weights(runs):
    """Tables from before the column `weights` have the live L0 beside the better of the two losses."""
    live = runs["nmse"] * np.where(runs["activation"] == "relu", 1.3, 1.0)
    old = activations.numbers(study(runs.assign(nmse_live=live)))
    new = activations.numbers(study(runs.assign(nmse_live=live, weights="ema")))
    pd.testing.assert_frame_equal(new, activations.numbers(study(runs)))
    relu = old["activation"] == "relu"
    np.testing.assert_allclose(old["nmse"][relu], 1.3 * new["nmse"][relu])
    np.testing.assert_array_equal(old["nmse"][~relu], new["nmse"][~relu])
    part = runs.assign(nmse_live=live, weights=pd.Series(["ema", None] * len(runs))[: len(runs)].to_numpy())
    assert activations.numbers(study(part))["nmse"].between(new["nmse"].min(), old["nmse"].max()).all()


def test_one_activation_is_not_compared(runs):
    with pytest.raises(inputs.Missing, match="two activation functions in the column activation"):
        activations.numbers(study(runs[runs["activation"] == "topk"]))
    with pytest.raises(inputs.Missing, match="it needs the table runs with the columns"):
        activations.numbers(study())


def test_runs_that_are_not_done_do_not_count(runs):
    broken = runs.assign(state="diverged", nmse=1e-3)
    table = activations.numbers(study(pd.concat([runs, broken])))
    assert table["nmse"].min() > 0.01
