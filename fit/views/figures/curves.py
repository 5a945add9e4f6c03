"""NMSE over tokens for every run, a panel for each k: the figure to look at before believing any fit."""

from functools import partial
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fit.data import tables
from fit.study.study_tables import StudyTables
from fit.views.figures.shared import axes as scales
from fit.views.figures.shared import captions, inputs, layout
from fit.views.figures.shared.colours import Colours
from fit.views.figures.shared.run_marks import stand_for_runs
from fit.views.figures.shared.style import Style, sizes

COLUMNS = ["run_id", "k", "n_latents", "tokens", "nmse", "ended"]
ENDS = {"converged": "o", "not converged": ".", "diverged or failed": "x"}
MARKERS = {"o": "large dot", ".": "small dot", "x": "cross"}


def numbers(study: StudyTables) -> pd.DataFrame:
    """The plotted numbers, a row for each evaluation; `ended` says how the run ended, if the table of runs says so.

    Raises inputs.Missing without curves.
    """
    known = inputs.columns(study.curves, "curves", "n_latents", "tokens", "nmse")
    known = known.assign(ended=known["run_id"].map(_ends(study.runs)))
    known = tables.numeric(known.reindex(columns=[*known.columns.drop("k", errors="ignore"), "k"]), "k")
    order = ["k", "n_latents", "run_id", "tokens"]
    return known.sort_values(order).reindex(columns=COLUMNS).reset_index(drop=True)


def on(
    ax: Axes, table: pd.DataFrame, study: StudyTables, panel: float | None = None, named: bool = True
) -> None:
    """Draw one k of a table made by `numbers` on any axes, by default every curve.

    panel: the k, NaN for runs without one. named: whether the scale of n is written into it.
    """
    rows = table
    if panel is not None:
        rows = table[table["k"].isna()] if pd.isna(panel) else table[table["k"] == panel]
    colour, size = Colours.by_n(study, table["n_latents"]), sizes()
    scales.quantity(ax, "x", table["tokens"])
    scales.nmse(ax, table)
    ax.set_xlabel("tokens")
    ax.set_ylabel(inputs.loss_label(study))
    for _, run in rows.groupby("run_id", sort=False):
        shade = colour(run["n_latents"].iloc[0])
        (line,) = ax.plot(run["tokens"], run["nmse"], color=shade, linewidth=0.5 * size.line)
        last = run.iloc[-1]
        marker = ENDS.get(last["ended"], "none")
        above = bool(last["nmse"] > scales.TOP)
        (end,) = ax.plot(
            last["tokens"], last["nmse"], marker, color=shade, markersize=0.8 * size.marker, clip_on=above
        )
        stand_for_runs(line, run.iloc[-1:])
        stand_for_runs(end, run.iloc[-1:])
    if named:
        colour.key(ax)


def draw(table: pd.DataFrame, study: StudyTables, style: str | Style = "paper") -> Figure:
    """The figure of a table made by `numbers`, a panel for each k; only the first has the scale of n."""
    groups: list[Any] = [k for k, _ in table.groupby("k", dropna=False)]
    panels = [
        layout.Panel(
            f"k = {k:g}" if pd.notna(k) else "", partial(on, table=table, study=study, panel=k, named=i == 0)
        )
        for i, k in enumerate(groups)
    ]
    return layout.sheet(panels, style, titles=True)


def caption(table: pd.DataFrame, study: StudyTables) -> captions.Caption:
    """What the figure shows."""
    drawn = set(table["ended"].dropna())
    ends = ", ".join(f"{MARKERS[marker]}: {end}" for end, marker in ENDS.items() if end in drawn)
    text = "The loss of every run over its tokens, coloured by the number of latents n."
    return captions.caption(f"{text} Marks at the ends: {ends}." if ends else text, study)


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
