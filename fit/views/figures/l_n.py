"""L(N): converged NMSE over the number of latents, a law for each k with its band, and the largest n held out."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from fit.law.result import FitResult
from fit.study.study_tables import StudyTables
from fit.views.figures.shared import axes as scales
from fit.views.figures.shared import inputs, labels, one_panel, series
from fit.views.figures.shared import style as styles


def numbers(study: StudyTables) -> pd.DataFrame:
    """The plotted numbers: the series run, law, held_out (the prediction) and oracle; `panel` names the fit.

    Raises inputs.Missing without a fit of L_N. The oracle is drawn where `runs` has nmse_oracle (synthetic data).
    """
    laws = _ordered(study.fits)
    rows: list[dict[str, Any]] = []
    for fit, name in zip(laws, labels.fit_names(laws), strict=True):
        rows += series.rows(fit, name) + one_panel.oracle(study.runs, fit, name)
    return series.table(rows)


def draw(table: pd.DataFrame, study: StudyTables, style: str = "paper") -> Figure:
    """The figure of a table made by `numbers`; parameters and their intervals come from the fits."""
    laws = _ordered(study.fits)
    with styles.applied(style) as look:
        figure, ax = one_panel.draw(table, laws, labels.fit_names(laws), look)
        scales.nmse(ax, one_panel.readable(table))
        ax.set_ylabel(inputs.loss_label(study, converged=True))
    return figure


def _ordered(fits: Sequence[FitResult]) -> list[FitResult]:
    """The fits of L_N by rising k."""
    return sorted(inputs.laws(fits, "L_N"), key=lambda fit: inputs.k_of(fit) or 0)
