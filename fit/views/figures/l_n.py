"""L(N): converged NMSE over the number of latents, one fitted law per k with its band, and the largest n held out."""

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
    """The plotted numbers: series run, law, held_out (predicted, with its interval) and oracle; `panel` names the fit.

    Raises inputs.Missing without a fit of L_N. The oracle is drawn where `runs` has nmse_oracle (synthetic data).
    """
    del curves
    laws = _ordered(fits)
    rows: list[dict[str, Any]] = []
    for fit, name in zip(laws, labels.group_names(laws), strict=True):
        rows += series.rows(fit, name) + one_panel.oracle(runs, fit, name)
    return series.table(rows)


def draw(table: pd.DataFrame, fits: Mapping[str, Any], style: str = "paper") -> Figure:
    """The figure of a table made by `numbers`; parameters and their intervals are read from `fits`."""
    laws = _ordered(fits)
    with styles.applied(style) as look:
        figure, ax = one_panel.draw(table, laws, labels.group_names(laws), look)
        scales.nmse(ax, one_panel.readable(table))
        ax.set_ylabel(series.Y_LABEL)
    return figure


def _ordered(fits: Mapping[str, Any] | None) -> list[inputs.Fit]:
    return sorted(inputs.laws(fits, "L_N"), key=lambda fit: (fit.get("group") or {}).get("k") or 0)
