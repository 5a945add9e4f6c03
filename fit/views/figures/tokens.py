"""Tokens to convergence over the number of latents, and their power law (Gao et al. 2024, Fig. 11)."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from fit.study.study_tables import StudyTables
from fit.views.figures.shared import axes as scales
from fit.views.figures.shared import inputs, labels, one_panel, series
from fit.views.figures.shared import style as styles


def numbers(study: StudyTables) -> pd.DataFrame:
    """The plotted numbers: the series run, law and held_out; `panel` names the fit.

    Raises inputs.Missing without a fit of T_N.
    """
    laws = inputs.laws(study.fits, "T_N")
    rows: list[dict[str, Any]] = []
    for fit, name in zip(laws, labels.fit_names(laws), strict=True):
        rows += series.rows(fit, name, y="tokens")
    return series.table(rows, y="tokens")


def draw(table: pd.DataFrame, study: StudyTables, style: str = "paper") -> Figure:
    """The figure of a table made by `numbers`; parameters and their intervals come from the fits."""
    laws = inputs.laws(study.fits, "T_N")
    low, high = laws[0].extra.paper.g if laws[0].extra.paper else (0.60, 0.65)
    paper = f"Gao et al. 2024: g = {low:.2f} (GPT-2 small), {high:.2f} (GPT-4)"
    with styles.applied(style) as look:
        figure, ax = one_panel.draw(table, laws, labels.fit_names(laws), look, y="tokens", notes=[paper])
        scales.quantity(ax, "y", table["tokens"])
        ax.set_ylabel("tokens to convergence")
    return figure
