"""The best use of compute: N*(C), D*(C) and lr*(C), and lr*(n) at convergence, with their laws and bands."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fit.data.flops import described
from fit.law.result import FitResult
from fit.law.selection import OptimumSelection
from fit.study.study_tables import StudyTables
from fit.views.figures.shared import axes as scales
from fit.views.figures.shared import captions, identity, inputs, labels, layout, series
from fit.views.figures.shared.style import Style

# The input and the response of each law, and the label of its axis.
LAWS = {
    "N_C": ("flops", "n_latents", "N*(C), latents"),
    "D_C": ("flops", "tokens", "D*(C), tokens"),
    "LR_C": ("flops", "lr", "lr*(C)"),
    "LR_N": ("n_latents", "lr", "lr*(n), converged"),
}
COLUMNS = ["panel", "series", "fit", "x", "y", "low", "high"]


def numbers(study: StudyTables) -> pd.DataFrame:
    """The plotted numbers: the series run, law and held_out; `panel` is the law, `fit` names group and method.

    Raises inputs.Missing without a fit of any of the four laws.
    """
    rows: list[dict[str, Any]] = []
    for law, (x, y, _) in LAWS.items():
        laws = _fits(study.fits, law)
        for fit, name in zip(laws, _names(laws), strict=True):
            rows += [{**row, "fit": name, "x": row[x], "y": row[y]} for row in series.rows(fit, law, x, y)]
    if not rows:
        raise inputs.Missing(
            f"it needs a fit of one of the laws {', '.join(LAWS)}: run `saescale fit TABLE` with curves, or with "
            "several lr for each n."
        )
    table = pd.DataFrame(rows).reindex(columns=COLUMNS)
    return table.astype(dict.fromkeys(COLUMNS[3:], "float64"))


def on(ax: Axes, table: pd.DataFrame, study: StudyTables, panel: str | None = None) -> None:
    """Draw one law of a table made by `numbers` on any axes, by default the first."""
    panel = table["panel"].iloc[0] if panel is None else panel
    rows = table[table["panel"] == panel]
    x, y, text = LAWS[panel]
    ends = rows[["low", "high"]].clip(rows["y"].min() / 2, rows["y"].max() * 2)
    shown = pd.concat([rows["y"], ends["low"], ends["high"]])
    sizes = identity.values(study, "n_latents")
    if y == "n_latents":
        scales.powers_of_two(ax, "y", shown, known=sizes)
    else:
        scales.quantity(ax, "y", shown)
    if x == "n_latents":
        scales.latents(ax, rows["x"], sizes)
    else:
        scales.quantity(ax, "x", table.loc[table["panel"] != "LR_N", "x"])
        convention = described(_fits(study.fits, panel)[0].flops).removesuffix(" convention")
        ax.set_xlabel(f"compute C, FLOPs ({convention})")
    ax.set_ylabel(text)
    marks = _marks(study)
    for name in dict.fromkeys(rows["fit"]):
        series.draw(ax, rows[rows["fit"] == name], marks[name], x="x", y="y", label=name)


def draw(table: pd.DataFrame, study: StudyTables, style: str | Style = "paper") -> Figure:
    """The figure of a table made by `numbers`, a panel for each law."""
    panels = [
        layout.Panel(words, partial(on, table=table, study=study, panel=law))
        for law, (_, _, words) in LAWS.items()
        if law in set(table["panel"])
    ]
    marks, drawn = _marks(study), set(table["fit"])
    key = [
        Line2D([], [], color=mark.colour, linestyle=mark.line, marker=mark.marker, label=name)
        for name, mark in marks.items()
        if name in drawn and name
    ]
    return layout.sheet(panels, style, share="", key=key, titles=True, x_labels=False)


def caption(table: pd.DataFrame, study: StudyTables) -> captions.Caption:
    """What the figure shows, and its laws."""
    fits = [fit for law in LAWS for fit in _fits(study.fits, law)]
    convention = described(next((fit.flops for fit in fits if fit.flops), None))
    text = f"The best use of compute C (FLOPs, {convention}), and the best learning rate at convergence. {series.MARKS}"
    return captions.caption(text, study, fits)


def _marks(study: StudyTables) -> dict[str, identity.Mark]:
    """The mark of each fit by its name: the colour says k, the line and the marker the method."""
    groups = {
        name: {**fit.group, "method": _method(fit)}
        for law in LAWS
        for fit, name in zip(_fits(study.fits, law), _names(_fits(study.fits, law)), strict=True)
    }
    names = labels.in_order(groups)
    return dict(zip(names, identity.marks([groups[name] for name in names], study), strict=True))


def _method(fit: FitResult) -> str | None:
    return fit.selection.method if isinstance(fit.selection, OptimumSelection) else None


def _fits(fits: Sequence[FitResult], law: str) -> list[FitResult]:
    return [fit for fit in fits if fit.law == law and fit.curve]


def _names(fits: Sequence[FitResult]) -> list[str]:
    """The name of the group of each fit, with the method if there are several."""
    methods = [_method(fit) for fit in fits]
    several = len(set(methods)) > 1
    return [
        ", ".join(filter(None, [name, method if several else None]))
        for name, method in zip(labels.fit_names(fits), methods, strict=True)
    ]
