"""L(N): converged NMSE over the number of latents, a law for each k with its band, and the largest n held out."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fit.law.result import FitResult
from fit.study.study_tables import StudyTables
from fit.views.figures.shared import axes as scales
from fit.views.figures.shared import captions, inputs, labels, layout, one_panel, series
from fit.views.figures.shared.style import Style


def numbers(study: StudyTables) -> pd.DataFrame:
    """The plotted numbers: the series run, law, held_out (the prediction) and oracle; `panel` names the fit.

    Raises inputs.Missing without a fit of L_N. The oracle is drawn where `runs` has nmse_oracle (synthetic data).
    """
    laws = _ordered(study.fits)
    rows: list[dict[str, Any]] = []
    for fit, name in zip(laws, labels.fit_names(laws), strict=True):
        rows += series.rows(fit, name) + one_panel.oracle(study.runs, fit, name)
    return series.table(rows)


def on(ax: Axes, table: pd.DataFrame, study: StudyTables) -> None:
    """Draw a table made by `numbers` on any axes: every L(N), named at its end."""
    laws = _ordered(study.fits)
    names = labels.fit_names(laws)
    scales.nmse(ax, one_panel.readable(table))
    ax.set_ylabel(inputs.loss_label(study, converged=True))
    one_panel.on(ax, table, study, one_panel.marks(laws, names, study), _short(laws))


def draw(table: pd.DataFrame, study: StudyTables, style: str | Style = "paper") -> Figure:
    """The figure of a table made by `numbers`."""
    laws = _ordered(study.fits)
    marks = one_panel.marks(laws, labels.fit_names(laws), study)
    panel = layout.Panel("", partial(on, table=table, study=study))
    return layout.sheet([panel], style, key=one_panel.key(marks, _short(laws)))


def caption(table: pd.DataFrame, study: StudyTables) -> captions.Caption:
    """What the figure shows, and its laws."""
    oracle = f" {one_panel.ORACLE}" if "oracle" in set(table["series"]) else ""
    text = f"L(N): the loss at convergence over the number of latents n. {series.MARKS}{oracle}"
    return captions.caption(text, study, _ordered(study.fits))


def _ordered(fits: Sequence[FitResult]) -> list[FitResult]:
    """The fits of L_N by rising k."""
    return sorted(inputs.laws(fits, "L_N"), key=lambda fit: inputs.k_of(fit) or 0)


def _short(laws: Sequence[FitResult]) -> dict[str, str]:
    """The names at the ends of the curves."""
    return dict(zip(labels.fit_names(laws), labels.telling([fit.group for fit in laws]), strict=True))
