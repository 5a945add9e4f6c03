"""ρ, the best lr under L(C) over that under L(N), by the tokens D at which L(C) is read, a line for each batch size."""

from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fit.regimes.lr_ratio import PAPER
from fit.study.study_tables import StudyTables
from fit.views.figures.shared import axes as scales
from fit.views.figures.shared import captions, direct, identity, inputs, labels, layout
from fit.views.figures.shared.style import Style, sizes

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


def on(ax: Axes, table: pd.DataFrame, study: StudyTables, panel: str | None = None) -> None:
    """Draw one group of a table made by `numbers` on any axes, by default the first."""
    panel = table["panel"].iloc[0] if panel is None else panel
    rows = table[table["panel"] == panel]
    scales.quantity(ax, "x", table["tokens"].dropna())
    # Ends of wide intervals are cut, so that they do not flatten the ratios.
    ends = table[["low", "high"]].clip(table["value"].min() / 2, table["value"].max() * 2)
    scales.ratio(ax, pd.concat([table["value"], ends["low"], ends["high"], pd.Series([1.0, PAPER])]))
    ax.set_xlabel("tokens D at which L(C) is read")
    ax.set_ylabel("ρ = lr* of L(C) / lr* of L(N)")
    size = sizes()
    ax.axhline(PAPER, color="black", linestyle=":", linewidth=0.8 * size.line)
    ax.axhline(1.0, color="0.7", linewidth=0.6 * size.line, zorder=0)
    right = ax.get_xlim()[1]
    names = [direct.End(right, PAPER, "Gao et al.", "black")]
    for B, colour in _colours(table, study).items():
        part = rows[rows["batch_tokens"] == B]
        if part.empty:
            continue
        _draw_batch(ax, part, colour)
        line = part[(part["series"] == SERIES[0]) & part["value"].notna()].sort_values("tokens")
        if len(line):
            names.append(direct.End(line["tokens"].iloc[-1], line["value"].iloc[-1], f"B = {B:,.0f}", colour))
    if table["panel"].nunique() == 1:
        direct.at_ends(ax, names)


def draw(table: pd.DataFrame, study: StudyTables, style: str | Style = "paper") -> Figure:
    """The figure of a table made by `numbers`."""
    names = labels.in_order(table["panel"])
    panels = [layout.Panel(name, partial(on, table=table, study=study, panel=name)) for name in names]
    key = [
        Line2D([], [], color=colour, marker=".", label=f"B = {B:,.0f}")
        for B, colour in _colours(table, study).items()
    ]
    key.append(Line2D([], [], color="black", linestyle=":", label="Gao et al."))
    return layout.sheet(panels, style, key=key if len(names) > 1 else [])


def caption(table: pd.DataFrame, study: StudyTables) -> captions.Caption:
    """What the figure shows."""
    text = (
        "ρ, the best learning rate under L(C) over the best under L(N), by the tokens D at which L(C) is read, for "
        "each batch size B. Bands and bars: 95 % intervals; diamonds: where n is compute-optimal; arrows: bounds; "
        f"dotted: the {PAPER:g} of Gao et al. 2024."
    )
    return captions.caption(text, study)


def _colours(table: pd.DataFrame, study: StudyTables) -> dict[float, str]:
    """The colour of each batch size that is drawn."""
    drawn = set(table["batch_tokens"])
    every = identity.colours(study, "batch_tokens", drawn)
    return {B: colour for B, colour in every.items() if B in drawn}


def _draw_batch(ax: Axes, rows: pd.DataFrame, colour: str) -> None:
    line = rows[rows["series"] == SERIES[0]].sort_values("tokens")
    ax.plot(line["tokens"], line["value"], ".-", color=colour)
    ax.fill_between(line["tokens"], line["low"], line["high"], color=colour, alpha=0.12, linewidth=0)
    at = rows[(rows["series"] == SERIES[1]) & rows["tokens"].notna()]
    for tokens, value, low, high in at[["tokens", "value", "low", "high"]].to_numpy(dtype=float):
        if not np.isfinite(value):
            lower = np.isfinite(low)
            ax.plot(tokens, low if lower else high, "^" if lower else "v", color=colour, zorder=5)
            continue
        direct.bars(ax, [tokens], [low], [high], colour)
        ax.plot(tokens, value, "D", color=colour, zorder=5)
