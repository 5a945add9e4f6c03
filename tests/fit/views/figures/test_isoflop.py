"""The isoFLOP figure of a table of budgets: every row, the parabola and the vertex of its budget, without L_C."""

import numpy as np
import pandas as pd
import pytest

from fit.law.options import FitOptions
from fit.study import fit_table
from fit.study.study_tables import StudyTables
from fit.views.figures import isoflop
from tests.fit.compute.test_isoflop_tables import A_TRUE, BUDGETS, table


@pytest.fixture(scope="module", params=["flops_sparse", None])
def drawn(request):
    """From a column of C, and from 6·N·D; with a row that diverged."""
    rows = table().assign(state="done")
    rows.loc[3, "state"] = "diverged"
    rows = rows if request.param else rows.drop(columns="flops_sparse")
    fits = fit_table(rows, laws=["N_C", "D_C"], options=FitOptions(draws=40))
    return StudyTables(runs=rows, fits=tuple(fits))


def test_rows_parabola_and_vertex_of_each_budget(drawn):
    shown = isoflop.numbers(drawn)
    parts = {series: part for series, part in shown.groupby("series")}
    assert len(parts["point"]) == len(table()) - 1 and len(parts["vertex"]) == len(BUDGETS)
    vertices = parts["vertex"].sort_values("flops")
    np.testing.assert_allclose(vertices["flops"], BUDGETS, rtol=1e-9)
    slope = np.polyfit(np.log(vertices["flops"]), np.log(vertices["n_latents"]), 1)[0]
    assert slope == pytest.approx(A_TRUE, abs=0.005)
    merged = pd.merge_asof(
        parts["point"].sort_values("n_latents"), parts["vertex"].sort_values("n_latents"), on="n_latents", by="flops",
        direction="nearest",
    )  # fmt: skip
    assert (merged["nmse_x"] >= 0.999 * merged["nmse_y"]).all() and set(shown["panel"]) == {
        shown["panel"].iloc[0]
    }


def test_it_is_drawn_with_what_counts_as_compute(drawn):
    words = isoflop.caption(isoflop.numbers(drawn), drawn).text
    assert any(
        text in words for text in ("FLOPs in the sparse convention", "FLOPs in the 6·n_latents·tokens")
    )
