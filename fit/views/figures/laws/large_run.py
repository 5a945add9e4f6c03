"""The run with the largest n over tokens, and what laws fitted without it predict (Gao et al. 2024, Fig. 26)."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fit.law.checks.held_out import HeldOut, HeldOutPoint
from fit.law.result import FitResult
from fit.study.study_tables import StudyTables
from fit.views.figures.shared import axes as scales
from fit.views.figures.shared import captions, direct, inputs, labels, layout
from fit.views.figures.shared.run_marks import stand_for_runs
from fit.views.figures.shared.style import Style

COLUMNS = ["panel", "series", "run_id", "n_latents", "k", "tokens", "nmse", "low", "high"]
LAWS = {"L_N": "L(N)", "L_NK": "L(N, K)"}
MARKS: dict[str, tuple[str, Any]] = {"L(N)": ("#2a6fbb", "--"), "L(N, K)": ("#c8680f", ":")}
REACH = 1.6


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


def on(ax: Axes, table: pd.DataFrame, study: StudyTables, panel: str | None = None) -> None:
    """Draw one panel of a table made by `numbers` on any axes, by default the first.

    The axes begin where the loss has come within `REACH` of the prediction: before, no prediction can be told from
    another.
    """
    panel = table["panel"].iloc[0] if panel is None else panel
    rows, near = table[table["panel"] == panel], _near(table)
    scales.quantity(ax, "x", near["tokens"].dropna())
    scales.nmse(ax, near)
    ax.set_xlabel("tokens")
    ax.set_ylabel(inputs.loss_label(study))
    ends = []
    for law, (colour, line) in MARKS.items():
        for _, row in rows[rows["series"] == law].iterrows():
            ax.axhline(row["nmse"], color=colour, linestyle=line, label=law)
            if pd.notna(row["low"]) and pd.notna(row["high"]):
                ax.axhspan(row["low"], row["high"], color=colour, alpha=0.2, linewidth=0)
            ends.append(direct.End(ax.get_xlim()[1], row["nmse"], law, colour))
    run = rows[rows["series"] == "run"]
    (line,) = ax.plot(run["tokens"], run["nmse"], color="black", label="run")
    stand_for_runs(line, run.iloc[-1:])
    direct.note(ax, f"n = {rows['n_latents'].iloc[0]:,.0f}")
    if table["panel"].nunique() == 1:
        direct.at_ends(ax, ends)


def draw(table: pd.DataFrame, study: StudyTables, style: str | Style = "paper") -> Figure:
    """The figure of a table made by `numbers`."""
    names = labels.in_order(table["panel"])
    panels = [layout.Panel(name, partial(on, table=table, study=study, panel=name)) for name in names]
    key = [Line2D([], [], color="black", label="run of the largest n")] + [
        Line2D([], [], color=colour, linestyle=line, label=f"{law}, predicted")
        for law, (colour, line) in MARKS.items()
        if law in set(table["series"])
    ]
    return layout.sheet(panels, style, key=[] if len(names) == 1 else key)


def caption(table: pd.DataFrame, study: StudyTables) -> captions.Caption:
    """What the figure shows."""
    text = (
        "The run of the largest n over tokens (black), and its converged loss as predicted by laws fitted to the "
        f"smaller n, with the 95 % interval of a run. Losses above {REACH:g} times the lowest are not drawn."
    )
    return captions.caption(text, study)


def _near(table: pd.DataFrame) -> pd.DataFrame:
    """The rows with losses near the lowest prediction or run of their panel."""
    lowest = table.groupby("panel")["nmse"].transform("min")
    return table[table["nmse"] <= REACH * lowest]
