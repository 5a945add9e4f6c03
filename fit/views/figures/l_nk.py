"""L(N, K): every converged run and the joint law, dashed, in one colour for each k (Gao et al. 2024, Fig. 1 right)."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fit.study.study_tables import StudyTables
from fit.views.figures.shared import axes as scales
from fit.views.figures.shared import inputs, labels, series
from fit.views.figures.shared import style as styles


def numbers(study: StudyTables) -> pd.DataFrame:
    """The plotted numbers: the series run, law and held_out; `panel` names the fit.

    Raises inputs.Missing without a fit of L_NK.
    """
    laws = inputs.laws(study.fits, "L_NK")
    rows: list[dict[str, Any]] = []
    for fit, name in zip(laws, labels.fit_names(laws), strict=True):
        rows += series.rows(fit, name)
    return series.table(rows)


def draw(table: pd.DataFrame, study: StudyTables, style: str = "paper") -> Figure:
    """The figure of a table made by `numbers`; parameters and their intervals come from the fits."""
    laws = inputs.laws(study.fits, "L_NK")
    colours = dict(zip(sorted(set(table["k"])), styles.colours(table["k"].nunique()), strict=True))
    with styles.applied(style) as look:
        figure, axes = scales.panel_per_fit(laws, look, words=5, share=0.85)
        for name, ax in axes.items():
            _draw_fit(ax, table[table["panel"] == name], colours, look)
            scales.latents(ax)
            scales.nmse(ax, table)
        figure.supylabel(inputs.loss_label(study, converged=True), fontsize=look.font)
        held = (
            "\nhollow: the largest n, predicted from the smaller n"
            if "held_out" in set(table["series"])
            else ""
        )
        refuted = ", refuted by its rows" if laws[0].refutation else ""
        title = labels.typeset(
            f"{laws[0].formula}{refuted}\ndots: runs, dashed: the joint law with 95 % band{held}"
        )
        handles = [
            Line2D([], [], color=c, marker="o", ls="--", label=f"k = {k:g}") for k, c in colours.items()
        ]
        columns = min(len(handles), 5)
        figure.legend(
            handles=handles,
            loc="outside lower center",
            ncols=columns,
            title=title,
            columnspacing=0.8,
            handlelength=2.2,
        )
    return figure


def _draw_fit(ax: Axes, rows: pd.DataFrame, colours: Mapping[Any, str], look: styles.Style) -> None:
    for k, part in rows.groupby("k"):
        series.band(ax, part[part["series"] == "law"], colours[k], "--")
        series.dots(ax, part[part["series"] == "run"], colours[k], look)
        held = part[part["series"] == "held_out"]
        if len(held):
            series.draw_held_out(ax, held, colours[k], look)
