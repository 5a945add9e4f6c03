"""Runs, law and held-out predictions of a fit as the rows of a figure, and how they are drawn."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from fit.law.result import FitResult
from fit.views.figures.shared.inputs import k_of
from fit.views.figures.shared.style import Style

N, L = "n_latents", "nmse"


def rows(fit: FitResult, panel: str, x: str = N, y: str = L) -> list[dict[str, Any]]:
    """The rows of a fit: its runs, or the points of a frontier, its law with the band, and its held-out predictions.

    x: an input of the law; y: its response. held_out: the prediction for a run at the largest scale, by the law fitted
    to the smaller scales, with its interval.
    """
    runs = [_row(fit, panel, "run", p.inputs, x, {y: p.response}) for p in fit.points]
    runs.sort(key=lambda row: (row["k"] or 0, row[x]))
    law = [
        _row(fit, panel, "law", p.inputs, x, {y: p.value, "low": p.low, "high": p.high}) for p in fit.curve
    ]
    held_out = [
        _row(fit, panel, "held_out", p.inputs, x, {y: p.predicted, "low": p.low, "high": p.high})
        for p in (fit.held_out.points if fit.held_out else ())
    ]
    return runs + law + held_out


def _row(
    fit: FitResult,
    panel: str,
    series: str,
    inputs: Mapping[str, float],
    x: str,
    values: Mapping[str, float | None],
) -> dict[str, Any]:
    k = inputs["k"] if "k" in inputs else k_of(fit)
    return {"panel": panel, "series": series, "k": k, x: inputs[x], **values}


def table(rows: list[dict[str, Any]], x: str = N, y: str = L) -> pd.DataFrame:
    """The rows as the table of a figure, with numbers as floats and missing ones as NaN."""
    floats = [x, y, "low", "high"]
    frame = pd.DataFrame(rows, columns=["panel", "series", "k", *floats])
    return frame.astype(dict.fromkeys(floats, "float64"))


def draw(ax: Axes, rows: pd.DataFrame, colour: str, look: Style, x: str = N, y: str = L) -> None:
    """Draw the law and, if there are any, the runs and held-out predictions, in one colour."""
    parts = {series: part for series, part in rows.groupby("series")}
    band(ax, parts["law"], colour, x=x, y=y)
    if "run" in parts:
        dots(ax, parts["run"], colour, look, x, y)
    if "held_out" in parts:
        draw_held_out(ax, parts["held_out"], colour, look, x, y)


def band(ax: Axes, rows: pd.DataFrame, colour: str, line: str = "-", x: str = N, y: str = L) -> None:
    """The law as a line and its interval as a band in the same colour."""
    rows = rows.sort_values(x)
    ax.plot(rows[x], rows[y], line, color=colour)
    ax.fill_between(rows[x], rows["low"], rows["high"], color=colour, alpha=0.18, linewidth=0)


def dots(ax: Axes, rows: pd.DataFrame, colour: str, look: Style, x: str = N, y: str = L) -> None:
    """One dot per run."""
    ax.plot(rows[x], rows[y], "o", color=colour, markersize=look.marker, clip_on=False)


def draw_held_out(ax: Axes, rows: pd.DataFrame, colour: str, look: Style, x: str = N, y: str = L) -> None:
    """Draw each prediction as a hollow marker with an error bar; the bar is left out towards an unknown end."""
    spans = [rows[y] - rows["low"], rows["high"] - rows[y]]
    ax.errorbar(
        rows[x],
        rows[y],
        yerr=[span.clip(lower=0).to_numpy() for span in spans],
        fmt="o",
        color=colour,
        markerfacecolor="none",
        markersize=2 * look.marker,
        markeredgewidth=0.8 * look.line,
        elinewidth=0.8 * look.line,
        capsize=look.marker,
    )


def held_out_key(rows: pd.DataFrame) -> list[Line2D]:
    """The legend's entry for the held-out predictions, if there are any."""
    label = "held out: predicted from the smaller n"
    key = Line2D([], [], color="0.45", marker="o", markerfacecolor="none", linestyle="none", label=label)
    return [key] if "held_out" in set(rows["series"]) else []
