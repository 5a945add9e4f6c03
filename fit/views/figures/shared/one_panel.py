"""Draws several fits of one law in one panel, each in its own colour, with a legend of their names and parameters."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fit.law.result import FitResult
from fit.views.figures.shared import axes as scales
from fit.views.figures.shared import inputs, labels, series
from fit.views.figures.shared import style as styles

ORACLE = "oracle: the n most frequent features"
GREY = "0.45"


def oracle(runs: pd.DataFrame | None, fit: FitResult, panel: str) -> list[dict[str, Any]]:
    """A row for each n of the fit's runs whose nmse_oracle is known (synthetic data)."""
    if runs is None or not {"n_latents", "nmse_oracle"} <= set(runs.columns):
        return []
    known = inputs.members(runs, fit).dropna(subset=["n_latents", "nmse_oracle"])
    known = known.drop_duplicates("n_latents").sort_values("n_latents")
    row = {"panel": panel, "series": "oracle", "k": inputs.k_of(fit)}
    return [
        {**row, "n_latents": n, "nmse": loss}
        for n, loss in zip(known["n_latents"], known["nmse_oracle"], strict=True)
    ]


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that set the y axis. An oracle that keeps nearly all features falls to 0 and would flatten the rest."""
    lowest = table.loc[table["series"] == "run", "nmse"].min()
    return table[(table["series"] != "oracle") | (table["nmse"] > lowest / 3)]


def draw(
    table: pd.DataFrame,
    laws: Sequence[FitResult],
    names: Sequence[str],
    look: styles.Style,
    y: str = series.L,
    notes: Sequence[str] = (),
) -> tuple[Figure, Axes]:
    """The figure over n and its one panel; the caller sets the y axis.

    table: with the series of `series.rows` and `oracle`; panel: the name. notes: further lines of the legend.
    """
    colours = dict(zip(names, styles.colours(len(laws)), strict=True))
    handles = _law_keys(laws, colours, look) + series.held_out_key(table) + _notes(table, notes)
    words = sum(1 + str(key.get_label()).count("\n") for key in handles) + 2
    figure, (ax,) = scales.panels(1, 1, look, words)
    _draw_oracle(ax, table[table["series"] == "oracle"], colours)
    for name, colour in colours.items():
        rows = table[(table["panel"] == name) & (table["series"] != "oracle")]
        series.draw(ax, rows, colour, look, y=y)
    scales.latents(ax)
    title = labels.typeset(f"{laws[0].formula}, with 95 % intervals")
    figure.legend(handles=handles, loc="outside lower center", title=title)
    return figure, ax


def _draw_oracle(ax: Axes, rows: pd.DataFrame, colours: Mapping[str, str]) -> None:
    """One grey curve if it is the same for all laws, else one in the colour of each law."""
    if rows.empty:
        return
    if (rows.groupby("n_latents")["nmse"].nunique() == 1).all():
        rows, colours = rows.assign(panel="").drop_duplicates("n_latents"), {"": GREY}
    for panel, part in rows.groupby("panel"):
        part = part.sort_values("n_latents")
        ax.plot(part["n_latents"], part["nmse"], "--", color=colours[str(panel)], alpha=0.7)


def _law_keys(laws: Sequence[FitResult], colours: Mapping[str, str], look: styles.Style) -> list[Line2D]:
    """A legend entry for each law: its group and its parameters."""
    texts = [
        labels.wrapped([name, *labels.parameters(fit)], look.letters)
        for name, fit in zip(colours, laws, strict=True)
    ]
    return [
        Line2D([], [], color=colour, marker="o", label=labels.typeset(text))
        for text, colour in zip(texts, colours.values(), strict=True)
    ]


def _notes(table: pd.DataFrame, notes: Sequence[str]) -> list[Line2D]:
    """Legend entries for the oracle, if it is drawn, and for the notes."""
    line = Line2D([], [], color=GREY, linestyle="--", label=ORACLE)
    texts = [Line2D([], [], linestyle="none", label=labels.typeset(text)) for text in notes]
    return [line] * ("oracle" in set(table["series"])) + texts
