"""Runs, law and held-out predictions of a fit as the rows of a figure, and how they are drawn."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from fit.law.result import FitResult
from fit.views.figures.shared import direct
from fit.views.figures.shared.identity import Mark
from fit.views.figures.shared.inputs import k_of
from fit.views.figures.shared.run_marks import stand_for_runs
from fit.views.figures.shared.style import sizes

N, L = "n_latents", "nmse"
MARKS = "Dots: runs; lines: the law with its 95 % band; hollow: the largest scale, predicted from the smaller ones."


def rows(fit: FitResult, panel: str, x: str = N, y: str = L) -> list[dict[str, Any]]:
    """The rows of a fit: its runs, or the points of a frontier, its law with the band, and its held-out predictions.

    x: an input of the law; y: its response. held_out: the prediction for a run at the largest scale, by the law fitted
    to the smaller scales, with its interval.
    """
    runs = [
        {**_row(fit, panel, "run", p.inputs, x, {y: p.response}), "run_id": p.run.run_id} for p in fit.points
    ]
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
    """The rows as the table of a figure, with numbers as floats and missing ones as NaN.

    run_id: of the run behind a point, if it is one run and the table has ids.
    """
    floats = [x, y, "low", "high"]
    frame = pd.DataFrame(rows, columns=["panel", "series", "k", *floats, "run_id"])
    frame["run_id"] = frame["run_id"].where(frame["run_id"].notna())  # NaN, as in the other columns
    return frame.astype(dict.fromkeys(floats, "float64"))


def draw(ax: Axes, rows: pd.DataFrame, mark: Mark, x: str = N, y: str = L, label: str = "") -> None:
    """Draw the law and, if there are any, the runs and held-out predictions, in one colour.

    The panel's scales must be set before, since bars end inside it.
    """
    parts = {series: part for series, part in rows.groupby("series")}
    band(ax, parts["law"], mark, x, y, label)
    if "run" in parts:
        dots(ax, parts["run"], mark, x, y)
    if "held_out" in parts:
        draw_held_out(ax, parts["held_out"], mark, x, y)


def band(ax: Axes, rows: pd.DataFrame, mark: Mark, x: str = N, y: str = L, label: str = "") -> None:
    """The law as a line and its interval as a band in the same colour."""
    rows = rows.sort_values(x)
    ax.plot(rows[x], rows[y], mark.line, color=mark.colour, label=label or None)
    ax.fill_between(rows[x], rows["low"], rows["high"], color=mark.colour, alpha=0.15, linewidth=0)


def dots(ax: Axes, rows: pd.DataFrame, mark: Mark, x: str = N, y: str = L) -> None:
    """One dot per run."""
    (line,) = ax.plot(rows[x], rows[y], mark.marker, color=mark.colour, clip_on=False)
    stand_for_runs(line, rows)


def draw_held_out(ax: Axes, rows: pd.DataFrame, mark: Mark, x: str = N, y: str = L) -> None:
    """Draw each prediction as a hollow marker with an error bar, which ends inside the panel."""
    size = sizes()
    ax.plot(
        rows[x],
        rows[y],
        mark.marker,
        color=mark.colour,
        markerfacecolor="none",
        markersize=2 * size.marker,
        markeredgewidth=0.8 * size.line,
    )
    at, low, high = (rows[name].to_numpy(dtype=float) for name in (x, "low", "high"))
    direct.bars(ax, at, low, high, mark.colour)
