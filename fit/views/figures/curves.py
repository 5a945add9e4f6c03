"""NMSE over tokens for every run, a panel for each k: the figure to look at before believing any fit."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fit.data import tables
from fit.study.study_tables import StudyTables
from fit.views.figures.shared import axes as scales
from fit.views.figures.shared import inputs
from fit.views.figures.shared import style as styles
from fit.views.figures.shared.colours import Colours

COLUMNS = ["run_id", "k", "n_latents", "tokens", "nmse", "ended"]
ENDS = {"converged": "o", "not converged": ".", "diverged or failed": "x"}


def numbers(study: StudyTables) -> pd.DataFrame:
    """The plotted numbers, a row for each evaluation; `ended` says how the run ended, if the table of runs says so.

    Raises inputs.Missing without curves.
    """
    known = inputs.columns(study.curves, "curves", "n_latents", "tokens", "nmse")
    known = known.assign(ended=known["run_id"].map(_ends(study.runs)))
    known = tables.numeric(known.reindex(columns=[*known.columns.drop("k", errors="ignore"), "k"]), "k")
    order = ["k", "n_latents", "run_id", "tokens"]
    return known.sort_values(order).reindex(columns=COLUMNS).reset_index(drop=True)


def draw(table: pd.DataFrame, study: StudyTables, style: str = "paper") -> Figure:
    """The figure of a table made by `numbers`."""
    colour = Colours(table["n_latents"])
    with styles.applied(style) as look:
        groups = list(table.groupby("k", dropna=False))
        figure, axes = scales.panels(len(groups), look.abreast + 1, look, words=2)
        for ax, (group, rows) in zip(axes, groups, strict=True):
            k: Any = group
            _draw_panel(ax, rows, colour, look)
            ax.set_title(f"k = {k:g}" if pd.notna(k) else "", loc="left")
            ax.set_xscale("log")
            scales.nmse(ax, table)
        figure.supxlabel("tokens", fontsize=look.font)
        figure.supylabel(inputs.loss_label(study), fontsize=look.font)
        colour.bar(figure, axes)
        if table["ended"].notna().any():
            figure.legend(handles=_keys(table), loc="outside upper left", ncols=3, columnspacing=1.0)
    return figure


def _ends(runs: pd.DataFrame | None) -> dict[str, str]:
    """How each run ended, by run_id, without runs that are still training. Empty if the table has no states."""
    if runs is None or not {"run_id", "state", "converged"} <= set(runs.columns):
        return {}
    ends = {}
    for run_id, state, converged in zip(runs["run_id"], runs["state"], runs["converged"], strict=True):
        if state in ("diverged", "failed"):
            ends[run_id] = "diverged or failed"
        elif pd.notna(converged):
            ends[run_id] = "converged" if converged else "not converged"
    return ends


def _draw_panel(ax: Axes, rows: pd.DataFrame, colour: Colours, look: styles.Style) -> None:
    for _, run in rows.groupby("run_id", sort=False):
        shade = colour(run["n_latents"].iloc[0])
        ax.plot(run["tokens"], run["nmse"], color=shade, linewidth=0.5 * look.line)
        last = run.iloc[-1]
        marker = ENDS.get(last["ended"], "none")
        above = bool(last["nmse"] > scales.TOP)
        ax.plot(
            last["tokens"], last["nmse"], marker, color=shade, markersize=0.8 * look.marker, clip_on=above
        )


def _keys(table: pd.DataFrame) -> list[Line2D]:
    drawn = set(table["ended"].dropna())
    return [
        Line2D([], [], color="0.4", marker=marker, linestyle="none", label=f"{end}")
        for end, marker in ENDS.items()
        if end in drawn and marker != "none"
    ]
