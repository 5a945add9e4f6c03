"""NMSE over the learning rate, one curve an n, with each n's optimum and the law lr*(n) (Gao et al. 2024, Fig. 3)."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fit.converged.lr import lr_optima
from fit.converged.runs import GROUPS, groups
from fit.converged.tokens import to_convergence
from fit.data import tables
from fit.law.errors import FitError
from fit.views.figures.shared import annotate, inputs, labels
from fit.views.figures.shared import axes as scales
from fit.views.figures.shared import style as styles
from fit.views.figures.shared.colours import Colours

COLUMNS = ["panel", "series", "n_latents", "lr", "nmse", "tokens", "low", "high"]


def numbers(
    runs: pd.DataFrame | None, curves: pd.DataFrame | None, fits: Mapping[str, Any] | None
) -> pd.DataFrame:
    """The plotted numbers: series run (`tokens`: to convergence), optimum of each n, and law, a panel for each group.

    Converged runs, of seeds the geometric mean. law: lr*(n) with low and high at the nmse of the optimum. Raises
    inputs.Missing without an n at three lr.
    """
    known = inputs.finished(runs, "n_latents", "lr", "nmse")
    if "converged" in known.columns:
        known = known[tables.truths(known, "converged")[0]]
    parts = [(group, part) for group, part in groups(known, ["k"], GROUPS) if len(part)]
    names = labels.group_names([{"group": inputs.named(group, part)} for group, part in parts])
    rows = [
        _panel(part, curves, _law(group, fits)).assign(panel=name)
        for (group, part), name in zip(parts, names, strict=True)
        if part.groupby("n_latents")["lr"].nunique().max() >= 3
    ]
    if not rows:
        raise inputs.Missing(
            "it needs converged runs of one n_latents at three lr or more in the table runs."
        )
    table = pd.concat(rows, ignore_index=True).reindex(columns=COLUMNS)
    return table.astype(dict.fromkeys(COLUMNS[2:], "float64"))


def draw(table: pd.DataFrame, fits: Mapping[str, Any] | None, style: str = "paper") -> Figure:
    """The figure of a table made by `numbers`; the parameters of the law are read from `fits`."""
    del fits
    colour = Colours(table["n_latents"])
    names = list(dict.fromkeys(table["panel"]))
    with styles.applied(style) as look:
        columns = min(look.abreast, len(names))
        figure, axes = scales.titled(names, columns, look, words=4)
        for name, ax in zip(names, axes, strict=True):
            _draw_panel(ax, table[table["panel"] == name], colour, look)
            scales.quantity(ax, "x", table["lr"])
            scales.nmse(ax, table[["nmse"]])
            ax.set_xlabel("learning rate")
        scales.y_label(figure, axes, "converged normalized MSE", look)
        colour.bar(figure, axes)
        figure.legend(handles=_keys(table, look), loc="outside lower center", ncols=1)
        for name, ax in zip(names, axes, strict=True):
            rows = table[table["panel"] == name]
            known = rows[rows["tokens"].notna()]
            texts = [labels.short(tokens) for tokens in known["tokens"]]
            annotate.words(ax, known["lr"], known["nmse"], texts, look, _avoid(rows))
    return figure


def _panel(part: pd.DataFrame, curves: pd.DataFrame | None, law: inputs.Fit | None) -> pd.DataFrame:
    """Runs, optima and law of one group."""
    part = part.assign(to=part.index.map(_tokens(part, curves)))
    cell = part.assign(log_l=np.log(part["nmse"])).groupby(["n_latents", "lr"], as_index=False)
    points = cell.agg(log_l=("log_l", "mean"), tokens=("to", "median"))
    points = points.assign(series="run", nmse=np.exp(points["log_l"]))
    best = lr_optima(part)[0].assign(series="optimum")
    return pd.concat([frame for frame in (points, best, _along(best, law)) if len(frame)])


def _tokens(part: pd.DataFrame, curves: pd.DataFrame | None) -> dict[Any, float]:
    """Index of a run to its tokens to convergence, of those that are known."""
    try:
        found, _ = to_convergence(part, curves)
    except FitError:
        return {}
    return dict(zip(found.index, found["tokens"].astype(float), strict=True))


def _law(group: Mapping[str, Any], fits: Mapping[str, Any] | None) -> inputs.Fit | None:
    found = [fit for fit in (fits or {}).get("fits", []) if fit["law"] == "LR_N" and fit.get("curve")]
    return next((fit for fit in found if (fit.get("group") or {}) == dict(group)), None)


def _along(best: pd.DataFrame, law: inputs.Fit | None) -> pd.DataFrame:
    """The law's lr and its interval at the n of each optimum."""
    if law is None or best.empty:
        return pd.DataFrame()
    curve = pd.DataFrame(law["curve"]).astype("float64")
    x = np.log(best["n_latents"].to_numpy(dtype=float))
    at = {
        ours: np.exp(np.interp(x, np.log(curve["n_latents"]), np.log(curve[theirs])))
        for ours, theirs in (("lr", "value"), ("low", "low"), ("high", "high"))
    }
    return best.assign(series="law", **at)


def _draw_panel(ax: Axes, rows: pd.DataFrame, colour: Colours, look: styles.Style) -> None:
    of = {series: part.sort_values(["n_latents", "lr"]) for series, part in rows.groupby("series")}
    for n, part in of["run"].groupby("n_latents"):
        shade = colour(float(str(n)))
        ax.plot(part["lr"], part["nmse"], ".-", color=shade, linewidth=0.7 * look.line)
    if "law" in of:
        law = of["law"].sort_values("nmse")
        ax.fill_betweenx(law["nmse"], law["low"], law["high"], color="black", alpha=0.12, linewidth=0)
        ax.plot(law["lr"], law["nmse"], "--", color="black", linewidth=0.8 * look.line)
    if "optimum" in of:
        ax.plot(of["optimum"]["lr"], of["optimum"]["nmse"], "*", color="black", markersize=1.6 * look.marker)


def _avoid(rows: pd.DataFrame) -> list[tuple[float, float]]:
    """Points on the stars and along the dashed law."""
    stars = rows[rows["series"] == "optimum"][["lr", "nmse"]]
    law = np.log(rows[rows["series"] == "law"].sort_values("nmse")[["lr", "nmse"]].to_numpy(dtype=float))
    at = np.linspace(0, len(law) - 1, 20 * len(law))
    line = [np.exp(np.interp(at, np.arange(len(law)), law[:, i])) for i in (0, 1)] if len(law) else [[], []]
    points = [*stars.to_numpy(dtype=float), *zip(*line, strict=True)]
    return [(float(x), float(y)) for x, y in points]


def _keys(table: pd.DataFrame, look: styles.Style) -> list[Line2D]:
    series = set(table["series"])
    star = Line2D([], [], color="black", marker="*", linestyle="none", markersize=1.6 * look.marker)
    star.set_label("lr* of each n: vertex of a parabola")
    dashed = Line2D([], [], color="black", linestyle="--", label="law lr*(n), with 95 % band")
    words = Line2D([], [], linestyle="none", label="numbers: tokens to convergence, where there is room")
    return (
        [star] * ("optimum" in series)
        + [dashed] * ("law" in series)
        + [words] * bool(table["tokens"].notna().any())
    )
