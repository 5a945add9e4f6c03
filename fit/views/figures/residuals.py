"""Residuals of every law over its scale, and the errors of predicting the largest scale from the smaller ones."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from fit.law.result import FitResult
from fit.study.study_tables import StudyTables
from fit.views.figures.shared import axes as scales
from fit.views.figures.shared import captions, direct, identity, inputs, labels, layout
from fit.views.figures.shared.identity import Mark
from fit.views.figures.shared.run_marks import stand_for_runs
from fit.views.figures.shared.style import Style, sizes

COLUMNS = ["panel", "series", "fit", "input", "x", "error", "low", "high", "run_id"]
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
    return table.astype(dict.fromkeys(COLUMNS[4:8], "float64"))


def _rows(fit: FitResult) -> list[dict[str, Any]]:
    """The errors of a fit's runs and of its held-out points, over its first input of `WORDS`."""
    x = next(name for name in (*WORDS, *fit.inputs) if name in fit.inputs)
    rows: list[dict[str, Any]] = [
        {"series": "run", "input": x, "x": p.inputs[x], "error": p.response / p.predicted - 1}
        | {"run_id": p.run.run_id}
        for p in fit.points
    ]
    for held in fit.held_out.points if fit.held_out else ():
        low, high = (None if end is None else end / held.predicted - 1 for end in (held.low, held.high))
        error = held.measured / held.predicted - 1
        rows.append(
            {"series": "held_out", "input": x, "x": held.inputs[x], "error": error, "low": low, "high": high}
        )
    return rows


def on(ax: Axes, table: pd.DataFrame, study: StudyTables, panel: str | None = None) -> None:
    """Draw one law of a table made by `numbers` on any axes, by default the first."""
    panel = table["panel"].iloc[0] if panel is None else panel
    rows = table[table["panel"] == panel]
    error = rows["error"].abs().max()
    largest = 1.15 * max(error, min(rows[["low", "high"]].abs().max().max(), 1.5 * error)) or 0.01
    ax.set_ylim(-largest, largest)
    ax.yaxis.set_major_locator(scales.few(5))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:g}".replace("-", "−")))
    x = rows["input"].iloc[0]
    if x == "n_latents":
        scales.latents(ax, rows["x"], identity.values(study, "n_latents", rows["x"]))
    else:
        scales.quantity(ax, "x", rows["x"])
        ax.set_xlabel(WORDS[x] if x in WORDS else x)
    ax.set_ylabel("measured / predicted − 1, %")
    size, marks = sizes(), _marks(study)
    ax.axhline(0, color="0.6", linewidth=0.6 * size.line, zorder=0)
    for name in dict.fromkeys(rows["fit"]):
        part, mark = rows[rows["fit"] == name], marks[name]
        run, held = part[part["series"] == "run"], part[part["series"] == "held_out"]
        style: Any = {"color": mark.colour, "linestyle": "none", "marker": mark.marker}
        (line,) = ax.plot(run["x"], run["error"], zorder=3, markersize=0.8 * size.marker, **style)
        stand_for_runs(line, run)
        at, low, high = (held[column].to_numpy(dtype=float) for column in ("x", "low", "high"))
        direct.bars(ax, at, low, high, mark.colour)
        ax.plot(held["x"], held["error"], markerfacecolor="none", markersize=1.5 * size.marker, **style)


def draw(table: pd.DataFrame, study: StudyTables, style: str | Style = "paper") -> Figure:
    """The figure of a table made by `numbers`, a panel for each law with the rms of its residuals in the title."""
    panels = [
        layout.Panel(_head(study.fits, law), partial(on, table=table, study=study, panel=law))
        for law in dict.fromkeys(table["panel"])
    ]
    drawn = set(table["fit"])
    key = [
        Line2D([], [], color=mark.colour, marker=mark.marker, linestyle="none", label=name)
        for name, mark in _marks(study).items()
        if name and name in drawn
    ]
    hollow = Line2D([], [], color="0.3", marker="o", markerfacecolor="none", linestyle="none")
    hollow.set_label("held out, with 95 % interval")
    return layout.sheet(panels, style, share="", key=[*key, hollow], titles=True, x_labels=False)


def caption(table: pd.DataFrame, study: StudyTables) -> captions.Caption:
    """What the figure shows."""
    text = (
        "Residuals of every law, measured / predicted − 1 in %, over n, C or its other scale. Dots: fitted points; "
        "hollow ones are the largest scale, predicted from the smaller ones, and bars hold 95 % of such errors if the "
        "law holds; an arrow ends a bar that is longer than the panel. Above each panel: the rms of the residuals."
    )
    return captions.caption(text, study)


def _marks(study: StudyTables) -> dict[str, Mark]:
    """The mark of each fit by its name; a fit of all k is grey."""
    groups: dict[str, Mapping[str, Any]] = {}
    for law in dict.fromkeys(fit.law for fit in study.fits):
        fits = [fit for fit in study.fits if fit.law == law and fit.points]
        groups |= {name: fit.group for fit, name in zip(fits, labels.fit_names(fits), strict=True)}
    names = labels.in_order(groups)
    drawn = zip(names, identity.marks([groups[name] for name in names], study), strict=True)
    return {name: Mark(mark.colour, marker=mark.marker) if name else Mark("0.3") for name, mark in drawn}


def _head(fits: Sequence[FitResult], law: str) -> str:
    """The name of the law, and the range over its fits of the rms of the residuals."""
    of_law = [fit for fit in fits if fit.law == law]
    rms = sorted(fit.rms_log for fit in of_law if fit.rms_log is not None)
    name = of_law[0].formula.split(" = ")[0] if of_law else law
    if not rms:
        return name
    percent = f"{100 * rms[0]:.2g}" if len(rms) == 1 else f"{100 * rms[0]:.2g}–{100 * rms[-1]:.2g}"
    return f"{name}, rms {percent} %"
