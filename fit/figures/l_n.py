"""L(N): converged NMSE over the number of latents, one fitted law per k with its band, and the largest n held out."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fit.figures import axes as scales
from fit.figures import converged, labels, needs
from fit.figures import style as styles

ORACLE = "oracle: the n most frequent features"
GREY = "0.45"


def numbers(
    runs: pd.DataFrame | None, curves: pd.DataFrame | None, fits: Mapping[str, Any] | None
) -> pd.DataFrame:
    """The plotted numbers: series run, law, held_out (predicted, with its interval) and oracle; `panel` names the fit.

    Raises needs.Missing without a fit of L_N. The oracle is drawn where `runs` has nmse_oracle (synthetic data).
    """
    del curves
    laws = _ordered(fits)
    rows: list[dict[str, Any]] = []
    for fit, name in zip(laws, labels.group_names(laws), strict=True):
        rows += (
            converged.runs(fit, name)
            + converged.law(fit, name)
            + converged.held_out(fit, name)
            + _oracle(runs, fit, name)
        )
    return converged.table(rows)


def draw(table: pd.DataFrame, fits: Mapping[str, Any], style: str = "paper") -> Figure:
    """The figure of a table made by `numbers`; parameters and their intervals are read from `fits`."""
    laws = _ordered(fits)
    with styles.applied(style) as look:
        names, colours = labels.group_names(laws), styles.colours(len(laws))
        handles = _law_keys(laws, names, colours, look) + _keys(table)
        words = sum(1 + str(key.get_label()).count("\n") for key in handles) + 2
        figure, (ax,) = scales.panels(1, 1, look, words)
        _draw_oracle(ax, table[table["series"] == "oracle"], dict(zip(names, colours, strict=True)))
        for name, colour in zip(names, colours, strict=True):
            _draw_fit(ax, table[table["panel"] == name], colour, look)
        scales.latents(ax)
        scales.nmse(ax, table)
        ax.set_ylabel(converged.Y_LABEL)
        title = labels.typeset(f"{laws[0]['formula']}, with 95 % intervals")
        figure.legend(handles=handles, loc="outside lower center", title=title)
    return figure


def _ordered(fits: Mapping[str, Any] | None) -> list[needs.Fit]:
    return sorted(needs.laws(fits, "L_N"), key=lambda fit: (fit.get("group") or {}).get("k") or 0)


def _oracle(runs: pd.DataFrame | None, fit: needs.Fit, panel: str) -> list[dict[str, Any]]:
    if runs is None or not {"n_latents", "nmse_oracle"} <= set(runs.columns):
        return []
    known = needs.members(runs, fit).dropna(subset=["n_latents", "nmse_oracle"])
    known = known.drop_duplicates("n_latents").sort_values("n_latents")
    row = {"panel": panel, "series": "oracle", "k": (fit.get("group") or {}).get("k")}
    return [
        {**row, "n_latents": n, "nmse": loss}
        for n, loss in zip(known["n_latents"], known["nmse_oracle"], strict=True)
    ]


def _draw_oracle(ax: Axes, rows: pd.DataFrame, colours: Mapping[str, str]) -> None:
    """One grey curve where the laws share it, else one in the colour of each law."""
    if (rows.groupby("n_latents")["nmse"].nunique() == 1).all():
        rows, colours = rows.assign(panel="").drop_duplicates("n_latents"), {"": GREY}
    for panel, part in rows.groupby("panel"):
        part = part.sort_values("n_latents")
        ax.plot(part["n_latents"], part["nmse"], "--", color=colours[str(panel)], alpha=0.7)


def _draw_fit(ax: Axes, rows: pd.DataFrame, colour: str, look: styles.Style) -> None:
    of = {series: part for series, part in rows.groupby("series")}
    converged.band(ax, of["law"], colour)
    if "run" in of:
        converged.dots(ax, of["run"], colour, look)
    if "held_out" in of:
        converged.draw_held_out(ax, of["held_out"], colour, look)


def _law_keys(
    laws: Sequence[needs.Fit], names: Sequence[str], colours: Sequence[str], look: styles.Style
) -> list[Line2D]:
    """A legend entry per law: its group and its parameters."""
    texts = [
        labels.wrapped([n, *labels.parameters(f)], look.letters) for n, f in zip(names, laws, strict=True)
    ]
    return [
        Line2D([], [], color=colour, marker="o", label=labels.typeset(text))
        for text, colour in zip(texts, colours, strict=True)
    ]


def _keys(table: pd.DataFrame) -> list[Line2D]:
    """Legend entries of the series that the figure has besides runs and law."""
    oracle = Line2D([], [], color=GREY, linestyle="--", label=ORACLE)
    return converged.held_out_key(table) + ([oracle] if "oracle" in set(table["series"]) else [])
