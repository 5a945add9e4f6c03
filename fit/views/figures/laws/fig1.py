"""L(C) with its frontier beside L(N, K), the two laws of a study in one figure (Gao et al. 2024, Fig. 1)."""

from functools import partial

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fit.law.result import FitResult
from fit.study.study_tables import StudyTables
from fit.views.figures.laws import l_c, l_nk
from fit.views.figures.shared import captions, inputs, labels, layout, series
from fit.views.figures.shared.style import Style

COMPUTE, CONVERGED = "compute", "converged"
COLUMNS = ["regime", *l_c.COLUMNS, "k"]


def numbers(study: StudyTables) -> pd.DataFrame:
    """The plotted numbers of one panel of `l_c` (regime compute) and of one of `l_nk` (regime converged).

    L(C) is that of the k with the most runs on its frontier among the fits that their rows do not refute; L(N, K) is
    the first fit. Raises inputs.Missing unless both laws were fitted.
    """
    fit = _compute(study)
    left = l_c.numbers(study)
    right = l_nk.numbers(study)
    names = dict(
        zip(labels.fit_names(inputs.laws(study.fits, "L_C")), inputs.laws(study.fits, "L_C"), strict=True)
    )
    left = left[[names[name] is fit for name in left["panel"]]].assign(regime=COMPUTE, k=inputs.k_of(fit))
    right = right[right["panel"] == right["panel"].iloc[0]].assign(regime=CONVERGED)
    table = pd.concat([left.reindex(columns=COLUMNS), right.reindex(columns=COLUMNS)], ignore_index=True)
    return table.astype(dict.fromkeys(("n_latents", "flops", "nmse", "low", "high", "k"), "float64"))


def on(ax: Axes, table: pd.DataFrame, study: StudyTables, panel: str = COMPUTE) -> None:
    """Draw one half of a table made by `numbers` on any axes: `compute` or `converged`."""
    half = table[table["regime"] == panel]
    if panel == COMPUTE:
        l_c.on(ax, half, study)
    else:
        l_nk.on(ax, half, study)


def draw(table: pd.DataFrame, study: StudyTables, style: str | Style = "paper") -> Figure:
    """The figure of a table made by `numbers`, two panels of one row."""
    k = table.loc[table["regime"] == COMPUTE, "k"].iloc[0]
    titles = {COMPUTE: "L(C)" if pd.isna(k) else f"L(C), k = {k:g}", CONVERGED: "L(N, K)"}
    panels = [
        layout.Panel(title, partial(on, table=table, study=study, panel=panel))
        for panel, title in titles.items()
    ]
    return layout.sheet(panels, style, share="", y_labels=True, columns=2)


def caption(table: pd.DataFrame, study: StudyTables) -> captions.Caption:
    """What the figure shows, and its two laws."""
    text = (
        f"Left, {l_c.TEXT} Right, L(N, K): the loss at convergence over n for each number k of active latents. "
        f"{series.MARKS}"
    )
    joint = inputs.laws(study.fits, "L_NK")[0]
    return captions.caption(text, study, [_compute(study), joint])


def _compute(study: StudyTables) -> FitResult:
    """The fit of L(C) that is drawn."""
    fits = inputs.laws(study.fits, "L_C")
    return max(fits, key=lambda fit: (not fit.refutation, len(fit.points)))
