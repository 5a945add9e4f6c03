"""Loss over n at several budgets of compute, with the parabola of each and its vertex, N*(C)."""

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fit.compute.optima import LAWS as OPTIMA
from fit.compute.slices import slices
from fit.data.budgets import shared_budgets, without_diverged
from fit.data.curves import candidates
from fit.data.flops import described
from fit.data.vertex import REACH
from fit.law.result import FitResult, IsoflopVertex
from fit.study.study_tables import StudyTables
from fit.views.figures.shared import axes as scales
from fit.views.figures.shared import captions, identity, inputs, labels, layout
from fit.views.figures.shared.colours import Colours
from fit.views.figures.shared.style import Style, sizes

COLUMNS = ["panel", "series", "flops", "n_latents", "nmse"]
# More parabolas than this cannot be told apart in one panel.
MOST = 7


def numbers(study: StudyTables) -> pd.DataFrame:
    """The plotted numbers, a panel for each fit of L_C: the series point, parabola and vertex at each budget `flops`.

    For an isoFLOP table, a fit of N_C, D_C or LR_C stands in for one of L_C. At most seven budgets, evenly spaced among
    those with a vertex. Raises inputs.Missing without a vertex, or curves.
    """
    fits = [(fit, _vertices(fit)) for fit in _fits(study)]
    names = labels.fit_names([fit for fit, _ in fits])
    if not any(vertices for _, vertices in fits):
        raise inputs.Missing(
            "it needs a C at which the loss over three n is a parabola with its vertex among them."
        )
    parts: list[pd.DataFrame] = []
    for (fit, vertices), name in zip(fits, names, strict=True):
        if vertices:
            parts += [part.assign(panel=name) for part in _panel(fit, vertices, study.runs, study.curves)]
    table = pd.concat(parts, ignore_index=True)[COLUMNS]
    return table.astype(dict.fromkeys(COLUMNS[2:], "float64"))


def _fits(study: StudyTables) -> list[FitResult]:
    """The fits of L_C; without any, the first fit of a law of the optimum, for each group, that has vertices."""
    with_vertices = [fit for fit in study.fits if fit.law in OPTIMA and fit.extra.isoflop and fit.curve]
    if with_vertices and not any(fit.law == "L_C" for fit in study.fits):
        return [fit for fit in with_vertices if fit.law == with_vertices[0].law]
    return inputs.laws(study.fits, "L_C")


def _vertices(fit: FitResult) -> list[IsoflopVertex]:
    """At most `MOST` of the fit's vertices, evenly spaced."""
    points = fit.extra.isoflop.points if fit.extra.isoflop else ()
    some = np.unique(np.linspace(0, len(points) - 1, min(len(points), MOST)).round().astype(int))
    return [points[i] for i in some]


def _panel(
    fit: FitResult,
    vertices: list[IsoflopVertex],
    runs: pd.DataFrame | None,
    curves: pd.DataFrame | None,
) -> list[pd.DataFrame]:
    flops, name = f"flops_{fit.flops}", "runs" if curves is None else "curves"
    known = inputs.columns(runs if curves is None else curves, name, "n_latents", flops, "nmse")
    known = inputs.members(known[(known[flops] > 0) & (known["nmse"] > 0)], fit, runs)
    if shared_budgets(known, flops) is not None:
        known, _ = without_diverged(known, flops)
    if known.empty:
        raise inputs.Missing(f"no row of the table {name} belongs to its fit: is fits.json another's?")
    losses = slices(candidates(known, flops)).losses
    rows: list[dict[str, Any]] = []
    for vertex in vertices:
        C, best = vertex.flops, vertex.n_latents
        rows.append({"series": "vertex", "flops": C, "n_latents": best, "nmse": vertex.nmse})
        at = losses(float(np.log(C)))
        rows += [
            {"series": "point", "flops": C, "n_latents": size, "nmse": np.exp(log_l)}
            for size, log_l in at.items()
        ]
        for off in np.linspace(-REACH, REACH, 33):
            if min(at) <= best * np.exp(off) <= max(at):
                loss = vertex.nmse * np.exp(vertex.curvature / 2 * off**2)
                rows.append({"series": "parabola", "flops": C, "n_latents": best * np.exp(off), "nmse": loss})
    return [pd.DataFrame(rows)]


def on(
    ax: Axes, table: pd.DataFrame, study: StudyTables, panel: str | None = None, named: bool = True
) -> None:
    """Draw one panel of a table made by `numbers` on any axes, by default the first.

    named: whether the scale of C is written into it.
    """
    panel = table["panel"].iloc[0] if panel is None else panel
    rows = table[table["panel"] == panel]
    colour = Colours(table["flops"], "C", "flops")
    scales.latents(ax, table["n_latents"], identity.values(study, "n_latents"))
    scales.nmse(ax, table[table["series"] != "parabola"])
    ax.set_ylabel(inputs.loss_label(study))
    size = sizes()
    for C, part in rows.groupby("flops"):
        shade, parts = colour(float(str(C))), {series: own for series, own in part.groupby("series")}
        ax.plot(parts["point"]["n_latents"], parts["point"]["nmse"], ".", color=shade)
        if "parabola" in parts:
            parabola = parts["parabola"]
            ax.plot(parabola["n_latents"], parabola["nmse"], color=shade, linewidth=0.8 * size.line)
        vertex = parts["vertex"]
        ax.plot(vertex["n_latents"], vertex["nmse"], "*", color="black", markersize=1.4 * size.marker)
    if named:
        colour.key(ax)


def draw(table: pd.DataFrame, study: StudyTables, style: str | Style = "paper") -> Figure:
    """The figure of a table made by `numbers`, a panel for each fit; only the first has the scale of C."""
    names = labels.in_order(table["panel"])
    panels = [
        layout.Panel(name, partial(on, table=table, study=study, panel=name, named=i == 0))
        for i, name in enumerate(names)
    ]
    return layout.sheet(panels, style)


def caption(table: pd.DataFrame, study: StudyTables) -> captions.Caption:
    """What the figure shows; the convention of FLOPs comes from the fits."""
    convention = described(_fits(study)[0].flops)
    text = (
        f"The loss over n at several budgets of compute C, FLOPs in the {convention}. Dots: the lowest loss of each n; "
        "lines: the parabola through them; stars: its vertex, N*(C)."
    )
    return captions.caption(text, study)
