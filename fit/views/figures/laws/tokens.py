"""Tokens to convergence over the number of latents, and their power law (Gao et al. 2024, Fig. 11)."""

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
    """The plotted numbers: the series run, law and held_out; `panel` names the fit.

    Raises inputs.Missing without a fit of T_N.
    """
    laws = inputs.laws(study.fits, "T_N")
    rows: list[dict[str, Any]] = []
    for fit, name in zip(laws, labels.fit_names(laws), strict=True):
        rows += series.rows(fit, name, y="tokens")
    return series.table(rows, y="tokens")


def on(ax: Axes, table: pd.DataFrame, study: StudyTables) -> None:
    """Draw a table made by `numbers` on any axes: every T(n), named at its end."""
    laws = inputs.laws(study.fits, "T_N")
    names = labels.fit_names(laws)
    bands = table[["low", "high"]].clip(table["tokens"].min() / 2, table["tokens"].max() * 2)
    scales.quantity(ax, "y", pd.concat([table["tokens"], bands["low"], bands["high"]]))
    ax.set_ylabel("tokens to convergence")
    one_panel.on(ax, table, study, one_panel.marks(laws, names, study), _short(laws), y="tokens")


def draw(table: pd.DataFrame, study: StudyTables, style: str | Style = "paper") -> Figure:
    """The figure of a table made by `numbers`."""
    laws = inputs.laws(study.fits, "T_N")
    marks = one_panel.marks(laws, labels.fit_names(laws), study)
    panel = layout.Panel("", partial(on, table=table, study=study))
    return layout.sheet([panel], style, key=one_panel.key(marks, _short(laws)))


def caption(table: pd.DataFrame, study: StudyTables) -> captions.Caption:
    """What the figure shows, its laws, and the exponents that the paper reports."""
    laws = inputs.laws(study.fits, "T_N")
    low, high = laws[0].extra.paper.g if laws[0].extra.paper else (0.60, 0.65)
    paper = f"Gao et al. 2024 report g = {low:.2f} (GPT-2 small) and {high:.2f} (GPT-4)."
    text = f"T(n): tokens to convergence over the number of latents n. {series.MARKS} {paper}"
    return captions.caption(text, study, laws)


def _short(laws: Sequence[FitResult]) -> dict[str, str]:
    """The names at the ends of the curves."""
    return dict(zip(labels.fit_names(laws), labels.telling([fit.group for fit in laws]), strict=True))
