"""What the two figures of converged runs share: rows of runs and law from a fit, and dots, line and band of a k."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from fit.figures.needs import Fit
from fit.figures.style import Style

COLUMNS = ["panel", "series", "k", "n_latents", "nmse", "low", "high"]
Y_LABEL = "converged normalized MSE"


def runs(fit: Fit, panel: str) -> list[dict[str, Any]]:
    """A row per run that the fit used."""
    k = (fit.get("group") or {}).get("k")
    rows = [
        {"panel": panel, "series": "run", "k": p.get("k", k), "n_latents": p["n_latents"], "nmse": p["nmse"]}
        for p in fit.get("points", [])
    ]
    return sorted(rows, key=lambda row: (row["k"] or 0, row["n_latents"]))


def law(fit: Fit, panel: str) -> list[dict[str, Any]]:
    """A row per point of the fitted curve, with its band."""
    return _predicted(fit, panel, "law", fit["curve"], "value")


def held_out(fit: Fit, panel: str) -> list[dict[str, Any]]:
    """A row per run of the largest n: what the law fitted to the smaller n says of it, with its interval."""
    return _predicted(fit, panel, "held_out", (fit.get("held_out") or {}).get("points", []), "predicted")


def _predicted(
    fit: Fit, panel: str, series: str, points: Sequence[Mapping[str, Any]], value: str
) -> list[dict[str, Any]]:
    group = fit.get("group") or {}
    return [
        {
            "panel": panel,
            "series": series,
            "k": p.get("k", group.get("k")),
            "n_latents": p["n_latents"],
            "nmse": p[value],
            "low": p.get("low"),
            "high": p.get("high"),
        }
        for p in points
    ]


def table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """The rows as the figure's table; numbers as floats, missing ones as NaN."""
    frame = pd.DataFrame(rows, columns=COLUMNS)
    floats = ["n_latents", "nmse", "low", "high"]
    return frame.astype(dict.fromkeys(floats, "float64"))


def band(ax: Axes, rows: pd.DataFrame, colour: str, line: str = "-") -> None:
    """The law as a line and its interval as a band in the same colour."""
    rows = rows.sort_values("n_latents")
    ax.plot(rows["n_latents"], rows["nmse"], line, color=colour)
    ax.fill_between(rows["n_latents"], rows["low"], rows["high"], color=colour, alpha=0.18, linewidth=0)


def dots(ax: Axes, rows: pd.DataFrame, colour: str, look: Style) -> None:
    """One dot per run."""
    ax.plot(rows["n_latents"], rows["nmse"], "o", color=colour, markersize=look.marker, clip_on=False)


def draw_held_out(ax: Axes, rows: pd.DataFrame, colour: str, look: Style) -> None:
    """A hollow marker with an error bar per prediction; an end that is not known has no bar."""
    spans = [rows["nmse"] - rows["low"], rows["high"] - rows["nmse"]]
    ax.errorbar(
        rows["n_latents"],
        rows["nmse"],
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
    """The legend's entry for the held-out predictions, where there are any."""
    label = "held out: predicted from the smaller n"
    key = Line2D([], [], color="0.45", marker="o", markerfacecolor="none", linestyle="none", label=label)
    return [key] if "held_out" in set(rows["series"]) else []
