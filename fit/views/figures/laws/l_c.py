"""L(C): every training curve over compute, the frontier, and the law fitted to it (Gao et al. 2024, Fig. 1 left)."""

from functools import partial
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fit.data.curves import decays
from fit.data.flops import described
from fit.law.result import FitResult
from fit.study.study_tables import StudyTables
from fit.views.figures.shared import axes as scales
from fit.views.figures.shared import captions, inputs, labels, layout
from fit.views.figures.shared.colours import Colours
from fit.views.figures.shared.run_marks import stand_for_runs
from fit.views.figures.shared.style import Style, sizes

COLUMNS = ["panel", "series", "run_id", "n_latents", "flops", "nmse", "low", "high"]
TEXT = (
    "L(C): the lowest loss that a compute C can buy. Thin lines: training curves, coloured by the number of latents n; "
    "dots: the frontier of all curves; dashed: the law fitted to it, with its 95 % band."
)
COUNTS = {
    "sparse": "Sparse FLOPs: about 2nd + 8kd a token.",
    "dense": "Dense FLOPs: 12nd a token.",
}


def numbers(study: StudyTables) -> pd.DataFrame:
    """The plotted numbers: the series curve, frontier and law, a panel for each fit.

    Without a table of evaluations the rows of the table of runs are drawn, as L(C) is then fitted to them.
    If the learning rate decays, only the end of a curve is the loss of a run at its budget, so only the end is kept.
    Raises inputs.Missing without a fit of L_C or without the curves behind it.
    """
    runs, curves = study.runs, study.curves
    laws = inputs.laws(study.fits, "L_C")
    parts = []
    for fit, name in zip(laws, labels.fit_names(laws), strict=True):
        flops = f"flops_{fit.flops}"
        name_of, source = ("runs", runs) if curves is None else ("curves", curves)
        known = inputs.columns(source, name_of, "n_latents", flops, "nmse")
        lines = _valid(inputs.members(known, fit, runs), flops).rename(columns={flops: "flops"})
        if lines.empty:
            raise inputs.Missing(f"no row of the table {name_of} belongs to its fit: is fits.json another's?")
        parts += [lines.assign(series="curve", panel=name), *_fitted(fit, name)]
    table = pd.concat([part.reindex(columns=COLUMNS) for part in parts if len(part)], ignore_index=True)
    return table.astype(dict.fromkeys(COLUMNS[3:], "float64"))


def on(
    ax: Axes, table: pd.DataFrame, study: StudyTables, panel: str | None = None, named: bool = True
) -> None:
    """Draw one fit of a table made by `numbers` on any axes.

    panel: the fit's name in the table, by default the first. named: whether the scale of n is written into it.
    """
    panel = table["panel"].iloc[0] if panel is None else panel
    rows = table[table["panel"] == panel]
    laws = inputs.laws(study.fits, "L_C")
    convention = dict(zip(labels.fit_names(laws), laws, strict=True))[panel].flops or "sparse"
    colour = Colours.by_n(study, table["n_latents"])
    scales.nmse(ax, table, top=1.05)
    same = len({fit.flops for fit in laws}) == 1
    scales.quantity(ax, "x", (table if same else rows)["flops"])
    ax.set_xlabel(f"compute C, FLOPs ({described(convention).removesuffix(' convention')})")
    ax.set_ylabel(inputs.loss_label(study))
    _draw_panel(ax, rows, colour)
    if named:
        colour.key(ax)


def draw(table: pd.DataFrame, study: StudyTables, style: str | Style = "paper") -> Figure:
    """The figure of a table made by `numbers`, a panel for each fit; only the first has the scale of n."""
    names, heads = labels.in_order(table["panel"]), labels.heads(inputs.laws(study.fits, "L_C"))
    panels = [
        layout.Panel(heads[name], partial(on, table=table, study=study, panel=name, named=i == 0))
        for i, name in enumerate(names)
    ]
    share = "xy" if len({fit.flops for fit in inputs.laws(study.fits, "L_C")}) == 1 else "y"
    return layout.sheet(panels, style, share=share, titles=len(names) > 1 or "refuted" in heads[names[0]])


def caption(table: pd.DataFrame, study: StudyTables) -> captions.Caption:
    """What the figure shows, and its laws."""
    laws = inputs.laws(study.fits, "L_C")
    counts = " ".join(COUNTS[c] for c in dict.fromkeys(fit.flops or "" for fit in laws) if c in COUNTS)
    return captions.caption(f"{TEXT} {counts}".strip(), study, laws)


def _valid(curves: pd.DataFrame, flops: str) -> pd.DataFrame:
    curves = curves.sort_values(["n_latents", "run_id", flops])
    return curves[~decays(curves) | ~curves.duplicated("run_id", keep="last")]


def _fitted(fit: FitResult, panel: str) -> list[pd.DataFrame]:
    """The frontier that was fitted, and the law."""
    frontier = [
        {"flops": p.inputs["flops"], "nmse": p.response, "run_id": p.run.run_id, "n_latents": p.run.n_latents}
        for p in fit.points
    ]
    law = [{"flops": p.inputs["flops"], "nmse": p.value, "low": p.low, "high": p.high} for p in fit.curve]
    return [
        pd.DataFrame(rows).assign(series=series, panel=panel)
        for series, rows in (("frontier", frontier), ("law", law))
    ]


def _draw_panel(ax: Axes, rows: pd.DataFrame, colour: Colours) -> None:
    size = sizes()
    parts = {series: part for series, part in rows.groupby("series")}
    for _, run in parts["curve"].groupby("run_id", sort=False):
        marker = "." if len(run) == 1 else "None"  # the end of a run whose learning rate decays
        n = run["n_latents"].iloc[0]
        (line,) = ax.plot(
            run["flops"], run["nmse"], color=colour(n), linewidth=0.5 * size.line, alpha=0.8, marker=marker
        )
        stand_for_runs(line, run.iloc[-1:])
    law = parts["law"].sort_values("flops")
    ax.fill_between(law["flops"], law["low"], law["high"], color="black", alpha=0.18, linewidth=0, zorder=3)
    ax.plot(law["flops"], law["nmse"], "--", color="black", zorder=4)
    if "frontier" in parts:
        points = parts["frontier"]
        look: Any = {"color": "black", "markersize": 0.5 * size.marker, "zorder": 5}
        (line,) = ax.plot(points["flops"], points["nmse"], "o", **look)
        stand_for_runs(line, points)
