"""L(N, K): every converged run and the joint law, dashed, in one colour for each k (Gao et al. 2024, Fig. 1 right)."""

from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fit.study.study_tables import StudyTables
from fit.views.figures.shared import axes as scales
from fit.views.figures.shared import captions, direct, identity, inputs, labels, layout, series
from fit.views.figures.shared.identity import Mark
from fit.views.figures.shared.style import Style


def numbers(study: StudyTables) -> pd.DataFrame:
    """The plotted numbers: the series run, law and held_out; `panel` names the fit.

    Raises inputs.Missing without a fit of L_NK.
    """
    laws = inputs.laws(study.fits, "L_NK")
    rows: list[dict[str, Any]] = []
    for fit, name in zip(laws, labels.fit_names(laws), strict=True):
        rows += series.rows(fit, name)
    return series.table(rows)


def on(
    ax: Axes, table: pd.DataFrame, study: StudyTables, panel: str | None = None, named: bool = True
) -> None:
    """Draw one fit of a table made by `numbers` on any axes.

    panel: the fit's name in the table, by default the first. named: whether each k is written at its curve.
    """
    panel = table["panel"].iloc[0] if panel is None else panel
    scales.nmse(ax, table)
    runs = table.loc[table["series"] == "run", "n_latents"]
    scales.latents(ax, table["n_latents"], identity.values(study, "n_latents", runs))
    ax.set_ylabel(inputs.loss_label(study, converged=True))
    ends = []
    for k, mark in _marks(table, study).items():
        part = table[(table["panel"] == panel) & (table["k"] == k)]
        if part.empty:
            continue
        series.draw(ax, part, mark, label=f"k = {k:g}")
        last = part[part["series"] == "law"].sort_values("n_latents").iloc[-1]
        ends.append(direct.End(last["n_latents"], last["nmse"], f"k = {k:g}", mark.colour))
    if named:
        direct.at_ends(ax, ends)


def draw(table: pd.DataFrame, study: StudyTables, style: str | Style = "paper") -> Figure:
    """The figure of a table made by `numbers`, a panel for each fit."""
    names, heads = labels.in_order(table["panel"]), labels.heads(inputs.laws(study.fits, "L_NK"))
    alone = len(names) == 1
    panels = [
        layout.Panel(heads[name], partial(on, table=table, study=study, panel=name, named=alone))
        for name in names
    ]
    key = [
        Line2D([], [], color=mark.colour, marker=mark.marker, ls="--", label=f"k = {k:g}")
        for k, mark in _marks(table, study).items()
    ]
    titles = not alone or "refuted" in heads[names[0]]
    return layout.sheet(panels, style, key=[] if alone else key, titles=titles)


def caption(table: pd.DataFrame, study: StudyTables) -> captions.Caption:
    """What the figure shows, and its laws."""
    text = (
        "L(N, K): the loss at convergence over the number of latents n, for each number k of active latents. "
    )
    return captions.caption(text + series.MARKS, study, inputs.laws(study.fits, "L_NK"))


def _marks(table: pd.DataFrame, study: StudyTables) -> dict[float, Mark]:
    """The mark of each k, dashed."""
    ks = sorted(set(table["k"].astype(float)))
    found = identity.marks([{"k": k} for k in ks], study)
    return {k: replace(mark, line="--") for k, mark in zip(ks, found, strict=True)}
