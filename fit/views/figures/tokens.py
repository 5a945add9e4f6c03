"""Tokens to convergence over the number of latents, and their power law (Gao et al. 2024, Fig. 11)."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from fit.views.figures.shared import axes as scales
from fit.views.figures.shared import inputs, labels, one_panel, series
from fit.views.figures.shared import style as styles


def numbers(
    runs: pd.DataFrame | None, curves: pd.DataFrame | None, fits: Mapping[str, Any] | None
) -> pd.DataFrame:
    """The plotted numbers: series run, law and held_out; `panel` names the fit. Raises inputs.Missing without T_N."""
    del runs, curves
    laws = inputs.laws(fits, "T_N")
    rows: list[dict[str, Any]] = []
    for fit, name in zip(laws, labels.group_names(laws), strict=True):
        rows += series.rows(fit, name, y="tokens")
    return series.table(rows, y="tokens")


def draw(table: pd.DataFrame, fits: Mapping[str, Any], style: str = "paper") -> Figure:
    """The figure of a table made by `numbers`; parameters and their intervals are read from `fits`."""
    laws = inputs.laws(fits, "T_N")
    low, high = ((laws[0].get("extra") or {}).get("paper") or {}).get("g") or (0.60, 0.65)
    paper = f"Gao et al. 2024: g = {low:.2f} (GPT-2 small), {high:.2f} (GPT-4)"
    with styles.applied(style) as look:
        figure, ax = one_panel.draw(table, laws, labels.group_names(laws), look, y="tokens", notes=[paper])
        scales.quantity(ax, "y", table["tokens"])
        ax.set_ylabel("tokens to convergence")
    return figure
