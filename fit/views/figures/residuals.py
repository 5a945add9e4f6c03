"""Residuals of every law over its scale, and the errors of predicting the largest scale from the smaller ones."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fit.law.result import FitResult
from fit.study.study_tables import StudyTables
from fit.views.figures.shared import axes as scales
from fit.views.figures.shared import inputs, labels
from fit.views.figures.shared import style as styles

COLUMNS = ["panel", "series", "fit", "input", "x", "error", "low", "high"]
WORDS = {"n_latents": "number of latents n", "flops": "compute, FLOPs", "tokens": "tokens", "k": "k"}


def numbers(study: StudyTables) -> pd.DataFrame:
    """The plotted numbers, a panel for each law: error = measured/predicted − 1 in the series run and held_out.

    low, high: where 95 % of the held-out errors would lie if the law held. `fit` names group and method. Raises
    inputs.Missing without fits.
    """
    by_law: dict[str, list[FitResult]] = {}
    for fit in study.fits:
        if fit.points:
            by_law.setdefault(fit.law, []).append(fit)
    rows = [
        {**row, "panel": law, "fit": name}
        for law, fits in by_law.items()
        for fit, name in zip(fits, labels.fit_names(fits), strict=True)
        for row in _rows(fit)
    ]
    if not rows:
        raise inputs.Missing("it needs fits.json with a fit of any law: run `saescale fit TABLE` first.")
    table = pd.DataFrame(rows).reindex(columns=COLUMNS)
    return table.astype(dict.fromkeys(COLUMNS[4:], "float64"))


def _rows(fit: FitResult) -> list[dict[str, Any]]:
    """The errors of a fit's runs and of its held-out points, over its first input of `WORDS`."""
    x = next(name for name in (*WORDS, *fit.inputs) if name in fit.inputs)
    rows: list[dict[str, Any]] = [
        {"series": "run", "input": x, "x": p.inputs[x], "error": p.response / p.predicted - 1}
        for p in fit.points
    ]
    for held in fit.held_out.points if fit.held_out else ():
        low, high = (None if end is None else end / held.predicted - 1 for end in (held.low, held.high))
        error = held.measured / held.predicted - 1
        rows.append(
            {"series": "held_out", "input": x, "x": held.inputs[x], "error": error, "low": low, "high": high}
        )
    return rows


def draw(table: pd.DataFrame, study: StudyTables, style: str = "paper") -> Figure:
    """The figure of a table made by `numbers`; the rms of the residuals comes from the fits."""
    laws = list(dict.fromkeys(table["panel"]))
    with styles.applied(style) as look:
        heads = [_head(study.fits, law) for law in laws]
        figure, axes = scales.titled(heads, 2, look, words=3, share=False)
        for law, ax in zip(laws, axes, strict=True):
            _draw_panel(ax, table[table["panel"] == law], look)
        figure.supylabel("measured / predicted − 1", fontsize=look.font)
        hollow = Line2D([], [], color="0.3", marker="o", markerfacecolor="none", linestyle="none")
        hollow.set_label("largest scale, not fitted")
        band = Line2D([], [], color="0.6", linewidth=2 * look.line, label="its 95 % interval")
        dot = Line2D([], [], color="0.3", marker=".", linestyle="none", label="fitted run")
        figure.legend(handles=[dot, hollow, band], loc="outside lower center", ncols=3, columnspacing=0.8)
    return figure


def _head(fits: Sequence[FitResult], law: str) -> str:
    """The name of the law, and the range over its fits of the rms of the residuals."""
    of_law = [fit for fit in fits if fit.law == law]
    rms = sorted(fit.rms_log for fit in of_law if fit.rms_log is not None)
    name = of_law[0].formula.split(" = ")[0] if of_law else law
    if not rms:
        return name
    percent = f"{100 * rms[0]:.2g}" if len(rms) == 1 else f"{100 * rms[0]:.2g}–{100 * rms[-1]:.2g}"
    return f"{name}, rms {percent} %"


def _draw_panel(ax: Axes, rows: pd.DataFrame, look: styles.Style) -> None:
    names = list(dict.fromkeys(rows["fit"]))
    ax.axhline(0, color="0.6", linewidth=0.6 * look.line, zorder=0)
    for name, colour in zip(names, styles.colours(len(names)), strict=True):
        own = rows[rows["fit"] == name]
        run, held = own[own["series"] == "run"], own[own["series"] == "held_out"]
        ax.plot(run["x"], run["error"], ".", color=colour, markersize=1.2 * look.marker, zorder=3)
        ax.vlines(held["x"], held["low"], held["high"], color=colour, linewidth=2 * look.line, alpha=0.35)
        ax.plot(
            held["x"], held["error"], "o", color=colour, markerfacecolor="none", markersize=1.5 * look.marker
        )
    largest = 1.15 * rows["error"].abs().max() or 0.01
    ax.set_ylim(-largest, largest)
    ax.yaxis.set_major_locator(scales.few(5))
    ax.yaxis.set_major_formatter(scales.percents)
    x = rows["input"].iloc[0]
    if x == "n_latents":
        scales.latents(ax, most=6)
    else:
        scales.quantity(ax, "x", rows["x"])
    ax.set_xlabel(WORDS[x] if x in WORDS else x)
