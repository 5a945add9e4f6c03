"""The best use of compute: N*(C), D*(C) and lr*(C), and lr*(n) at convergence, with their laws and bands."""

from collections.abc import Mapping, Sequence
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
from fit.views.figures.shared import inputs, labels, series
from fit.views.figures.shared import style as styles

# The input and the response of each law, and the label of its axis.
LAWS = {
    "N_C": ("flops", "n_latents", "N*, latents"),
    "D_C": ("flops", "tokens", "D*, tokens"),
    "LR_C": ("flops", "lr", "lr*"),
    "LR_N": ("n_latents", "lr", "lr* at convergence"),
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


def draw(table: pd.DataFrame, study: StudyTables, style: str = "paper") -> Figure:
    """The figure of a table made by `numbers`; formulae, conventions and parameters come from the fits."""
    drawn = [law for law in LAWS if law in set(table["panel"])]
    names = sorted(set(table["fit"]))
    colours = dict(zip(names, styles.colours(len(names)), strict=True))
    with styles.applied(style) as look:
        keys = [key for law in drawn for key in _keys(_fits(study.fits, law), colours, look.letters)]
        words = 2 + sum(1 + str(key.get_label()).count("\n") for key in keys)
        columns = 2
        figure, axes = scales.panels(len(drawn), columns, look, words, share=False)
        for law, ax in zip(drawn, axes, strict=True):
            _draw_panel(ax, table[table["panel"] == law], colours, _fits(study.fits, law)[0], look)
        title = "laws with 95 % intervals; hollow: the largest scale, predicted from the smaller ones"
        figure.legend(handles=keys, loc="outside lower center", title=title)
    return figure


def _draw_panel(
    ax: Axes, rows: pd.DataFrame, colours: Mapping[str, str], fit: FitResult, look: styles.Style
) -> None:
    x, _, words = LAWS[fit.law]
    for name in dict.fromkeys(rows["fit"]):
        series.draw(ax, rows[rows["fit"] == name], colours[name], look, x="x", y="y")
    ends = rows[["low", "high"]].clip(rows["y"].min() / 3, rows["y"].max() * 3)
    scales.quantity(ax, "y", pd.concat([rows["y"], ends["low"], ends["high"]]))
    if x == "n_latents":
        scales.latents(ax, most=6)
    else:
        scales.quantity(ax, "x", rows["x"])
        ax.set_xlabel(f"compute, FLOPs\n({described(fit.flops)})")
    ax.set_ylabel(words)


def _fits(fits: Sequence[FitResult], law: str) -> list[FitResult]:
    return [fit for fit in fits if fit.law == law and fit.curve]


def _names(fits: Sequence[FitResult]) -> list[str]:
    """The name of the group of each fit, with the method if there are several."""
    methods = [fit.selection.method if isinstance(fit.selection, OptimumSelection) else None for fit in fits]
    several = len(set(methods)) > 1
    return [
        ", ".join(filter(None, [name, method if several else None]))
        for name, method in zip(labels.fit_names(fits), methods, strict=True)
    ]


def _keys(fits: Sequence[FitResult], colours: Mapping[str, str], letters: int) -> list[Line2D]:
    """A legend entry for each fit: its formula, name, and parameters with their intervals."""
    keys = []
    for fit, name in zip(fits, _names(fits), strict=True):
        text = labels.wrapped([f"{fit.formula},", name, *labels.parameters(fit)], letters)
        keys.append(Line2D([], [], color=colours[name], marker="o", label=labels.typeset(text)))
    return keys
