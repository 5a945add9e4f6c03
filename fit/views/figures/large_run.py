"""The run with the largest n over tokens, and what laws fitted without it predict (Gao et al. 2024, Fig. 26)."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fit.law.checks.held_out import HeldOut, HeldOutPoint
from fit.law.result import FitResult
from fit.study.study_tables import StudyTables
from fit.views.figures.shared import axes as scales
from fit.views.figures.shared import inputs, labels
from fit.views.figures.shared import style as styles

COLUMNS = ["panel", "series", "run_id", "n_latents", "k", "tokens", "nmse", "low", "high"]
LAWS = {"L_N": "L(N)", "L_NK": "L(N, K)"}


def numbers(study: StudyTables) -> pd.DataFrame:
    """The plotted numbers, a panel for each group of L_N, or of L_NK: the series run, L(N) and L(N, K).

    The row of a law is its prediction for the largest n, fitted to the smaller ones, with the 95 % interval of a run.
    Raises inputs.Missing without such a prediction, or without the curve of a run at that n.
    """
    known = inputs.columns(study.curves, "curves", "n_latents", "tokens", "nmse")
    predictions = _predictions(study.fits)
    if not predictions:
        raise inputs.Missing("it needs a fit of L_N or L_NK that held out its largest n, and predicted it.")
    rows: list[pd.DataFrame] = []
    for (name, n, k), laws in predictions.items():
        run_id = next((law["run_id"] for law in laws if law["run_id"] in set(known["run_id"])), None)
        if run_id is None:
            continue
        run = known[known["run_id"] == run_id].sort_values("tokens").assign(series="run")
        table = pd.concat([run[["series", "tokens", "nmse"]], pd.DataFrame(laws)])
        rows.append(table.assign(panel=name, run_id=run_id, n_latents=n, k=k))
    if not rows:
        raise inputs.Missing(
            "it needs the curve of a run that was held out: fits.json and the table curves share no run_id of one."
        )
    table = pd.concat(rows, ignore_index=True).reindex(columns=COLUMNS)
    return table.astype(dict.fromkeys(COLUMNS[3:], "float64"))


def _predictions(fits: Sequence[FitResult]) -> dict[tuple[str, float, Any], list[dict[str, Any]]]:
    """The predictions of the laws by panel, n and k; run_id is that of the measured point."""
    points = [
        (fit, point, point.inputs["k"] if "k" in point.inputs else inputs.k_of(fit))
        for fit in fits
        if fit.law in LAWS and fit.held_out
        for point in _largest(fit.held_out)
    ]
    names = labels.group_names([{**fit.group, "k": k} for fit, _, k in points])
    predictions: dict[tuple[str, float, Any], list[dict[str, Any]]] = {}
    for (fit, point, k), name in zip(points, names, strict=True):
        n = point.inputs["n_latents"]
        measured = [
            p
            for p in fit.points
            if p.inputs["n_latents"] == n and ("k" not in p.inputs or p.inputs["k"] == k)
        ]
        law = {
            "series": LAWS[fit.law],
            "nmse": point.predicted,
            "low": point.low,
            "high": point.high,
            "run_id": measured[0].run.run_id if measured else None,
        }
        predictions.setdefault((name, n, k), []).append(law)
    return predictions


def _largest(held_out: HeldOut) -> list[HeldOutPoint]:
    points = held_out.points
    return [p for p in points if p.inputs["n_latents"] == max(q.inputs["n_latents"] for q in points)]


def draw(table: pd.DataFrame, study: StudyTables, style: str = "paper") -> Figure:
    """The figure of a table made by `numbers`."""
    names = list(dict.fromkeys(table["panel"]))
    drawn = [law for law in LAWS.values() if law in set(table["series"])]
    colours = dict(zip(drawn, styles.colours(3)[1:], strict=False))
    with styles.applied(style) as look:
        n = {name: table.loc[table["panel"] == name, "n_latents"].iloc[0] for name in names}
        heads = [", ".join(filter(None, [name, f"n = {n[name]:,.0f}"])) for name in names]
        figure, axes = scales.titled(heads, look.abreast if len(names) < 4 else 2, look, words=4)
        for name, ax in zip(names, axes, strict=True):
            _draw_panel(ax, table[table["panel"] == name], colours, look)
            scales.quantity(ax, "x", table["tokens"].dropna())
            scales.nmse(ax, table)
            ax.set_xlabel("tokens")
        scales.y_label(figure, axes, inputs.loss_label(study), look)
        keys = [Line2D([], [], color="black", label="the run of the largest n")]
        words = "fitted to the smaller n, 95 % interval of a run"
        keys += [
            Line2D([], [], color=c, linestyle="--", label=f"{law}, {words}") for law, c in colours.items()
        ]
        figure.legend(handles=keys, loc="outside lower center")
    return figure


def _draw_panel(ax: Axes, rows: pd.DataFrame, colours: Mapping[str, str], look: styles.Style) -> None:
    run = rows[rows["series"] == "run"]
    for law, colour in colours.items():
        for _, row in rows[rows["series"] == law].iterrows():
            ax.axhline(row["nmse"], color=colour, linestyle="--", linewidth=0.8 * look.line)
            if pd.notna(row["low"]) and pd.notna(row["high"]):
                ax.axhspan(row["low"], row["high"], color=colour, alpha=0.2, linewidth=0)
    ax.plot(run["tokens"], run["nmse"], color="black")
