"""L(C): every training curve over compute, the frontier, and the law fitted to it (Gao et al. 2024, Fig. 1 left)."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fit.data.curves import decays
from fit.data.flops import described
from fit.law.result import FitResult
from fit.study.study_tables import StudyTables
from fit.views.figures.shared import axes as scales
from fit.views.figures.shared import inputs, labels
from fit.views.figures.shared import style as styles
from fit.views.figures.shared.colours import Colours

COLUMNS = ["panel", "series", "run_id", "n_latents", "flops", "nmse", "low", "high"]
X_LABELS = {
    "sparse": "compute, FLOPs\n(sparse convention: 2nd + 8kd a token)",
    "dense": "compute, FLOPs\n(dense convention: 12nd a token)",
}


def _x_label(convention: str) -> str:
    return X_LABELS.get(convention, f"compute, FLOPs\n({described(convention)})")


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


def draw(table: pd.DataFrame, study: StudyTables, style: str = "paper") -> Figure:
    """The figure of a table made by `numbers`; parameters and their intervals come from the fits."""
    laws = inputs.laws(study.fits, "L_C")
    colour = Colours(table["n_latents"].dropna())
    with styles.applied(style) as look:
        figure, axes = scales.panel_per_fit(laws, look, words=4, share=0.68)
        for fit, (name, ax) in zip(laws, axes.items(), strict=True):
            _draw_panel(ax, table[table["panel"] == name], colour, look)
            ax.set_xlabel(
                _x_label(fit.flops or "sparse"), fontsize=look.font if len(laws) == 1 else look.small
            )
            ax.set_xscale("log")
            scales.nmse(ax, table, top=1.05)
        figure.supylabel(inputs.loss_label(study), fontsize=look.font)
        colour.bar(figure, list(axes.values()))
        title = labels.typeset(f"{laws[0].formula}, with 95 % intervals")
        figure.legend(
            handles=_keys(look), loc="outside lower center", ncols=3, title=title, columnspacing=1.0
        )
    return figure


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


def _draw_panel(ax: Axes, rows: pd.DataFrame, colour: Colours, look: styles.Style) -> None:
    parts = {series: part for series, part in rows.groupby("series")}
    for _, run in parts["curve"].groupby("run_id", sort=False):
        marker = "." if len(run) == 1 else "None"  # the end of a run whose learning rate decays
        n = run["n_latents"].iloc[0]
        ax.plot(
            run["flops"], run["nmse"], color=colour(n), linewidth=0.5 * look.line, alpha=0.8, marker=marker
        )
    law = parts["law"].sort_values("flops")
    ax.fill_between(law["flops"], law["low"], law["high"], color="black", alpha=0.18, linewidth=0, zorder=3)
    ax.plot(law["flops"], law["nmse"], "--", color="black", zorder=4)
    if "frontier" in parts:
        points = parts["frontier"]
        ax.plot(points["flops"], points["nmse"], "o", color="black", markersize=0.5 * look.marker, zorder=5)


def _keys(look: styles.Style) -> list[Line2D]:
    return [
        Line2D([], [], color="0.5", linewidth=0.5 * look.line, label="training curve"),
        Line2D(
            [],
            [],
            color="black",
            marker="o",
            linestyle="none",
            markersize=0.5 * look.marker,
            label="frontier",
        ),
        Line2D([], [], color="black", linestyle="--", label="law"),
    ]
