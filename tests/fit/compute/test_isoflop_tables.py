"""isoFLOP tables: which rows are a budget, what C is read from, N*, D*, lr* and intervals, and what is left out."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fit.compute.isoflop import isoflops
from fit.data.budgets import far_above, shared_budgets
from fit.data.curves import candidates
from fit.law.caution import Kind
from fit.law.errors import FitError
from fit.law.options import FitOptions
from fit.study import fit_table
from tests.fit.compute_sweeps import sweep

CASES = Path(__file__).parents[1] / "cases"
BUDGETS = (1e18, 3e18, 1e19, 3e19, 1e20, 3e20)
# N* = G·(C/6)^a of L = 1.7 + 400·N^−0.34 + 2000·D^−0.36.
A_TRUE = 0.36 / 0.70
G = (0.34 * 400 / (0.36 * 2000)) ** (1 / 0.70)


def table(noise=0.0, spread=0.0, sizes=7, budgets=BUDGETS, seed=0):
    """Other n at each budget, within a factor 4.5 of N*; spread: C of the rows differ by up to ± this share."""
    rng = np.random.default_rng(seed)
    parts = []
    for C in budgets:
        n = G * (C / 6) ** A_TRUE * np.exp(np.linspace(-1.5, 1.5, sizes) + rng.uniform(-0.1, 0.1, sizes))
        D = C * np.exp(spread * rng.uniform(-1, 1, sizes)) / 6 / n
        loss = (1.7 + 400 * n**-0.34 + 2000 * D**-0.36) * np.exp(noise * rng.standard_normal(sizes))
        parts.append(pd.DataFrame({"flops_sparse": 6 * n * D, "n_latents": n, "tokens": D, "nmse": loss}))
    return pd.concat(parts, ignore_index=True)


def fit(rows, law="N_C", said=None, draws=60):
    (found,) = fit_table(rows, laws=[law], options=FitOptions(draws=draws), say=(said or []).append)
    return found


@pytest.mark.parametrize("case", ["isoflop_unique_n.csv", "isoflop_grid_n.csv"])
def test_rows_that_share_their_compute_are_one_parabola(case):
    rows = pd.read_csv(CASES / case)
    found = fit(rows)
    a = found.params["a"]
    assert a.value == pytest.approx(0.514, abs=0.002) and a.low <= 0.36 / 0.70 <= a.high
    assert found.rows_used.runs == found.rows_used.used == len(rows)
    assert found.rows == found.selection.budgets == 6 and found.selection.runs == len(rows)
    assert f"6 budgets of {len(rows)} rows, a parabola each: the rows of equal C." == found.selection.rule
    C = [point.inputs["flops"] for point in found.points]
    assert C == pytest.approx(sorted(set(rows["flops_sparse"])), rel=1e-12)
    assert a.method == found.recipe.unit.join(["bootstrap over ", ""]) == "bootstrap over simulated rows"
    assert fit(rows, "D_C").params["a"].value == pytest.approx(1 - 0.514, abs=0.002)


def test_near_equal_budgets_are_binned_and_said():
    rows = table(spread=0.05)
    found = fit(rows)
    assert found.params["a"].value == pytest.approx(A_TRUE, abs=0.005)
    assert found.selection.budgets == 6 and found.selection.runs == len(rows)
    assert (
        "rows are one budget if each C is within 10 % of the next; the widest spans" in found.selection.rule
    )
    points = isoflops(candidates(rows, "flops_sparse")).points
    exact = isoflops(candidates(table(), "flops_sparse")).points
    scaled, wanted = (each["n_latents"] / each["flops"] ** A_TRUE for each in (points, exact))
    np.testing.assert_allclose(scaled, wanted, rtol=0.03)


def test_rows_too_close_in_compute_for_budgets_are_named():
    """15 rows without a gap between two budgets of 7."""
    between = table(sizes=15, budgets=(5e18,)).assign(flops_sparse=np.geomspace(4.4e18, 6.4e18, 15))
    budgets = shared_budgets(pd.concat([table(), between]), "flops_sparse")
    assert budgets.unbudgeted == (
        "C=4.4e+18 to 6.4e+18: 15 rows without a gap of 10 % in C are no one budget",
    )
    assert "no one budget" in fit(pd.concat([table(), between])).selection.dropped[-1]


@pytest.mark.parametrize(
    ("columns", "convention", "said"),
    [
        (["flops_sparse"], "sparse", None),
        (
            ["flops_dense"],
            "dense",
            "C is the column flops_dense, since the table has no column flops_sparse.",
        ),
        (["flops"], "given", "C is the column flops, since the table has no column flops_sparse."),
        (
            [],
            "6ND",
            "C is 6·n_latents·tokens, since the table has no column flops_sparse; for an SAE of width d",
        ),
    ],
)
def test_what_counts_as_compute_is_said(columns, convention, said):
    C = table()["flops_sparse"]
    found = fit(table().drop(columns="flops_sparse").assign(**dict.fromkeys(columns, C)))
    assert found.flops == convention and found.params["a"].value == pytest.approx(A_TRUE, abs=0.005)
    about = [caution.text for caution in found.cautions if caution.kind is Kind.ROWS]
    assert (len(about) == 1 and about[0].startswith(said)) if said else about == []


def test_no_compute_is_made_up_for_a_table_that_is_none_of_budgets():
    n, D = (axis.ravel() for axis in np.meshgrid(2.0 ** np.arange(8, 15), 2.0 ** np.arange(20, 25)))
    grid = pd.DataFrame({"n_latents": n, "tokens": D, "nmse": 0.1 + n**-0.3 + D**-0.3})
    with pytest.raises(FitError, match="no column flops_sparse"):
        fit(grid)


def test_diverged_cells_are_named_and_left_out():
    rows = table().assign(state="done")
    rows.loc[3, "nmse"] = np.nan
    rows.loc[10, "nmse"] = np.inf
    rows.loc[17, "state"] = "diverged"
    rows.loc[[30, 41], "nmse"] = 9.5
    found = fit(rows)
    assert found.params["a"].value == pytest.approx(A_TRUE, abs=0.005)
    texts = " ".join(caution.text for caution in found.cautions)
    assert "3 rows diverged and are in no parabola: C=1e+18" in texts
    assert "it has no loss" in texts and "its loss is infinite" in texts and "its state is diverged" in texts
    assert "2 rows diverged and are in no parabola: C=1e+20" in texts
    assert "its loss 9.5 is far above those of other n there, which allow" in texts
    assert len(found.selection.diverged) == 2 and found.selection.runs == len(rows) - 5


def test_no_loss_of_a_law_is_far_above_and_two_at_the_end_are():
    n = 2.0 ** np.arange(-8, 9)
    losses = dict(zip(n, np.log(n**-0.9 + n**0.9 + 0.01), strict=True))
    assert far_above(losses) == {}
    assert set(far_above(losses | {128.0: 7.0, 256.0: 7.05})) == {128.0, 256.0}
    assert set(far_above(losses | {0.25: losses[0.125] + 0.2})) == {0.25}


def test_a_budget_whose_minimum_is_at_its_edge_is_dropped_and_named():
    rows = table()
    n_star = G * (1e18 / 6) ** A_TRUE
    found = fit(rows[(rows["flops_sparse"] > 1.1e18) | (rows["n_latents"] < 0.6 * n_star)])
    assert found.rows == 5
    assert "6 budgets of 38 rows, 5 of them parabolas with the minimum inside" in found.selection.rule
    (reason,) = found.selection.dropped
    assert reason.startswith("C=1e+18: vertex at n_latents=") and "beyond the largest" in reason


def test_too_few_budgets_are_a_sentence_with_the_right_advice():
    with pytest.raises(FitError, match="3 points, 4 are needed: train at more budgets of C"):
        fit(table(budgets=BUDGETS[:3]))


def test_learning_rate_at_the_vertices():
    """lr* = 0.001·(n/1e8)^−½, so α = a/2."""
    parts, rows = [], table()
    for rate in (0.3, 0.6, 1.2, 2.4):
        loss = rows["nmse"] * np.exp(0.02 * np.log(rate) ** 2)
        parts.append(rows.assign(lr=rate * 1e-3 * (rows["n_latents"] / 1e8) ** -0.5, nmse=loss))
    swept = pd.concat(parts, ignore_index=True)
    found = fit(swept, "LR_C")
    assert found.params["alpha"].value == pytest.approx(A_TRUE / 2, abs=0.005)
    assert fit(swept).params["a"].value == pytest.approx(A_TRUE, abs=0.005)


@pytest.mark.parametrize("absent", [[], ["run_id"], ["run_id", "tokens"]])
def test_training_curves_are_no_budgets(absent):
    assert shared_budgets(sweep().drop(columns=absent), "flops_sparse") is None


def test_order_of_the_rows_does_not_matter():
    rows = table(noise=0.003, spread=0.02)
    one, other = (
        isoflops(candidates(t, "flops_sparse")).points for t in (rows, rows.sample(frac=1, random_state=1))
    )
    pd.testing.assert_frame_equal(one, other)
