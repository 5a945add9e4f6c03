"""ρ, the best lr under L(C) over that under L(N), by the tokens D at which L(C) is read, a line for each batch size."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fit.regimes.lr_ratio import PAPER
from fit.study.study_tables import StudyTables
from fit.views.figures.shared import axes as scales
from fit.views.figures.shared import inputs, labels
from fit.views.figures.shared import style as styles

COLUMNS = ["panel", "series", "batch_tokens", "tokens", "value", "low", "high"]
# The ratio at equal tokens, and that where each n is compute-optimal.
SERIES = ("equal tokens", "compute-optimal")


def numbers(study: StudyTables) -> pd.DataFrame:
    """The plotted numbers, a panel for each group of the regimes: the series of `SERIES`, ρ with its 95 % interval.

    A bound on ρ has no value, and low or high. Raises inputs.Missing without a ratio.
    """
    groups = study.regimes.groups if study.regimes else ()
    names = labels.group_names([group.group for group in groups])
    readings = [
        (name, series, reading)
        for group, name in zip(groups, names, strict=True)
        if group.lr is not None
        for series, part in zip(SERIES, (group.lr.by_tokens, (group.lr.at_optimum,)), strict=True)
        for reading in part
    ]
    rows = [
        (name, series, ratio.batch_tokens, reading.tokens or ratio.tokens, ratio.value, ratio.low, ratio.high)
        for name, series, reading in readings
        for ratio in reading.ratios
        if ratio.value is not None or (series == SERIES[1] and (ratio.low or ratio.high))
    ]
    if not any(row[4] is not None for row in rows):
        raise inputs.Missing(
            "it needs the best lr of both regimes in fits.json: run `saescale fit TABLE` on a table with curves and "
            "converged runs at three lr or more."
        )
    return pd.DataFrame(rows, columns=COLUMNS).astype(dict.fromkeys(COLUMNS[2:], "float64"))


def draw(table: pd.DataFrame, study: StudyTables, style: str = "paper") -> Figure:
    """The figure of a table made by `numbers`."""
    names, sizes = list(dict.fromkeys(table["panel"])), sorted(set(table["batch_tokens"]))
    colours = dict(zip(sizes, styles.colours(len(sizes)), strict=True))
    with styles.applied(style) as look:
        words = 2 + -(-(len(sizes) + 2) // 3)
        figure, axes = scales.titled(names, min(look.abreast, len(names)), look, words=words)
        for name, ax in zip(names, axes, strict=True):
            rows = table[table["panel"] == name]
            for B, part in rows.groupby("batch_tokens"):
                _draw_batch(ax, part, colours[float(str(B))], look)
            ax.axhline(PAPER, color="black", linestyle=":", linewidth=0.8 * look.line)
            ax.axhline(1.0, color="0.7", linewidth=0.6 * look.line, zorder=0)
            scales.quantity(ax, "x", table["tokens"])
            # Ends of wide intervals are cut, so that they do not flatten the ratios.
            ends = table[["low", "high"]].clip(table["value"].min() / 2, table["value"].max() * 2)
            scales.quantity(
                ax, "y", pd.concat([table["value"], ends["low"], ends["high"], pd.Series([1.0, PAPER])])
            )
            ax.set_xlabel("tokens D at which L(C) is read")
        scales.y_label(figure, axes, "ρ = lr* of L(C) / lr* of L(N)", look)
        keys = [Line2D([], [], color=colours[B], marker=".", label=f"B = {B:,.0f}") for B in sizes]
        keys.append(Line2D([], [], color="black", linestyle=":", label="Gao et al. 2024"))
        keys.append(
            Line2D([], [], color="0.3", marker="D", linestyle="none", label="where n is compute-optimal")
        )
        title = "bands and bars: 95 % intervals; an arrow: a bound"
        figure.legend(handles=keys, loc="outside lower center", ncols=3, title=title, columnspacing=1.0)
    return figure


def _draw_batch(ax: Axes, rows: pd.DataFrame, colour: str, look: styles.Style) -> None:
    line = rows[rows["series"] == SERIES[0]].sort_values("tokens")
    ax.plot(line["tokens"], line["value"], ".-", color=colour)
    ax.fill_between(line["tokens"], line["low"], line["high"], color=colour, alpha=0.12, linewidth=0)
    at = rows[(rows["series"] == SERIES[1]) & rows["tokens"].notna()]
    for tokens, value, low, high in at[["tokens", "value", "low", "high"]].to_numpy(dtype=float):
        if not np.isfinite(value):
            lower = np.isfinite(low)
            ax.plot(tokens, low if lower else high, "^" if lower else "v", color=colour, zorder=5)
            continue
        error = np.array([[value - low], [high - value]])
        bars = error if np.isfinite(error).all() else None
        ax.errorbar(tokens, value, yerr=bars, fmt="D", color=colour, elinewidth=0.8 * look.line, zorder=5)
