"""Several fits of one law in one panel over n, each in its own colour, named at its end, with the oracle in grey."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from fit.law.result import FitResult
from fit.study.study_tables import StudyTables
from fit.views.figures.shared import axes as scales
from fit.views.figures.shared import direct, identity, inputs, labels, series
from fit.views.figures.shared.identity import Mark

GREY = "0.45"
ORACLE = "Dashed grey: the oracle, which keeps the n most frequent features."
LONGEST = 10  # letters of a name that still fits at the end of its curve


def oracle(runs: pd.DataFrame | None, fit: FitResult, panel: str) -> list[dict[str, Any]]:
    """A row for each n of the fit's runs whose nmse_oracle is known (synthetic data)."""
    if runs is None or not {"n_latents", "nmse_oracle"} <= set(runs.columns):
        return []
    known = inputs.members(runs, fit).dropna(subset=["n_latents", "nmse_oracle"])
    known = known.drop_duplicates("n_latents").sort_values("n_latents")
    row = {"panel": panel, "series": "oracle", "k": inputs.k_of(fit)}
    return [
        {**row, "n_latents": n, "nmse": loss}
        for n, loss in zip(known["n_latents"], known["nmse_oracle"], strict=True)
    ]


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that set the y axis. An oracle that keeps nearly all features falls to 0 and would flatten the rest."""
    lowest = table.loc[table["series"] == "run", "nmse"].min()
    return table[(table["series"] != "oracle") | (table["nmse"] > lowest / 3)]


def marks(laws: Sequence[FitResult], names: Sequence[str], study: StudyTables) -> dict[str, Mark]:
    """The mark of each fit by its name in the table."""
    found = identity.marks([fit.group for fit in laws], study)
    return dict(zip(names, found, strict=True))


def key(marks: Mapping[str, Mark], names: Mapping[str, str]) -> list[Line2D]:
    """The entries of a key above the panel, for names that are too long for the ends of their curves."""
    if max(map(len, names.values())) <= LONGEST:
        return []
    return [
        Line2D(
            [],
            [],
            color=mark.colour,
            linestyle=mark.line,
            marker=mark.marker,
            label=labels.typeset(names[name]),
        )
        for name, mark in marks.items()
    ]


def on(
    ax: Axes,
    table: pd.DataFrame,
    study: StudyTables,
    marks: Mapping[str, Mark],
    names: Mapping[str, str],
    y: str = series.L,
) -> None:
    """Draw the laws over n; the y axis is set before.

    table: with the series of `series.rows` and `oracle`; panel: the name. names: what is written at the ends.
    """
    ns = table["n_latents"]
    scales.latents(
        ax, ns, identity.values(study, "n_latents", table.loc[table["series"] == "run", "n_latents"])
    )
    ends = _draw_oracle(ax, table[table["series"] == "oracle"], marks)
    for name, mark in marks.items():
        rows = table[(table["panel"] == name) & (table["series"] != "oracle")]
        series.draw(ax, rows, mark, y=y, label=names[name])
        last = rows[rows["series"] == "law"].sort_values("n_latents").iloc[-1]
        ends.append(direct.End(last["n_latents"], last[y], names[name], mark.colour))
    if max(map(len, names.values())) > LONGEST:
        ends = ends[:1] if len(ends) > len(marks) else []
    direct.at_ends(ax, ends)


def _draw_oracle(ax: Axes, rows: pd.DataFrame, marks: Mapping[str, Mark]) -> list[direct.End]:
    """One grey curve if it is the same for all laws, else one in the colour of each law."""
    if rows.empty:
        return []
    if (rows.groupby("n_latents")["nmse"].nunique() == 1).all():
        part = rows.drop_duplicates("n_latents").sort_values("n_latents")
        ax.plot(part["n_latents"], part["nmse"], "--", color=GREY)
        inside = part[part["nmse"] >= ax.get_ylim()[0]]
        return [
            direct.End(row["n_latents"], row["nmse"], "oracle", GREY)
            for _, row in inside.iloc[-1:].iterrows()
        ]
    for panel, part in rows.groupby("panel"):
        part = part.sort_values("n_latents")
        ax.plot(part["n_latents"], part["nmse"], "--", color=marks[str(panel)].colour, alpha=0.7)
    return []
