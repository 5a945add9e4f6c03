"""NMSE over L0 at one n, and over n at one L0, with a curve for each activation function (Gao et al. 2024, Fig. 2)."""

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fit.converged.runs import groups
from fit.study.study_tables import StudyTables
from fit.views.figures.shared import axes as scales
from fit.views.figures.shared import captions, identity, inputs, labels, layout
from fit.views.figures.shared.run_marks import stand_for_runs
from fit.views.figures.shared.style import Style

COLUMNS = ["panel", "activation", "n_latents", "l0", "nmse", "run_id"]
OVER_L0, OVER_N = "over L0", "over n"
DATA = ("data_fingerprint", "data", "d_model")


def numbers(study: StudyTables) -> pd.DataFrame:
    """The plotted numbers. Panels: `over L0`, at the n with the most points, and `over n`, at the L0 that most reach.

    For each activation, n and k: the run with the lowest nmse. The loss at one L0 is interpolated in log-log between
    the two neighbouring L0 of that n, since only TopK sets its L0. The data set with the most runs is drawn. A loss and
    an L0 of one point are of the same weights: see `_of_the_same_weights`. Raises inputs.Missing without two
    activations.
    """
    runs = study.runs
    wanted = "l0" if runs is not None and "l0" in runs.columns and runs["l0"].notna().any() else "k"
    known = inputs.finished(runs, "n_latents", wanted, "nmse")
    if wanted == "l0":
        known = _of_the_same_weights(known)
    known = known[known[wanted] > 0].assign(l0=known[wanted])
    if "activation" not in known.columns or known["activation"].nunique() < 2:
        raise inputs.Missing(
            "it needs runs of two activation functions in the column activation of the table runs."
        )
    known = max((part for _, part in groups(known, [], DATA)), key=len)
    set_to = known["k"].astype("float64") if "k" in known.columns else pd.Series(np.nan, known.index)
    known = known.assign(sparsity=set_to.fillna(known["l0"].round(1)))  # only TopK has a k
    best = inputs.lowest(known.dropna(subset=["activation"]), ["activation", "n_latents", "sparsity"])
    reached = best.groupby("n_latents")["activation"].agg(["nunique", "size"]).reset_index()
    n = reached.sort_values(["nunique", "size", "n_latents"])["n_latents"].iloc[-1]
    at_n = best[best["n_latents"] == n].sort_values(["activation", "l0"]).assign(panel=OVER_L0)
    table = pd.concat([at_n, _at_one_l0(best)], ignore_index=True).reindex(columns=COLUMNS)
    return table.astype(dict.fromkeys(COLUMNS[2:5], "float64"))


def _of_the_same_weights(known: pd.DataFrame) -> pd.DataFrame:
    """The runs with the nmse of the weights that their l0 is of.

    Both are of the weights that the column `weights` names. Runs from before it was written have the l0 of the live
    weights, so their nmse_live is taken: the L0 of averaged weights may be three times the live one (relu).
    """
    if "nmse_live" not in known.columns:
        return known
    named = known["weights"].notna() if "weights" in known.columns else pd.Series(False, index=known.index)
    live = pd.to_numeric(known["nmse_live"], errors="coerce")
    return known.assign(nmse=known["nmse"].where(named | live.isna(), live))


def _at_one_l0(best: pd.DataFrame) -> pd.DataFrame:
    """Every activation and n at the L0 that most of them reach; of several such L0, the middle one."""
    cells = [(a, n, part.sort_values("l0")) for (a, n), part in best.groupby(["activation", "n_latents"])]
    by_l0 = {}
    for l0 in np.unique(best["l0"].round(3)):
        by_l0[l0] = [(a, n, loss) for a, n, part in cells if (loss := _loss(part, l0)) is not None]
    most = max(len(rows) for rows in by_l0.values())
    of_most = [l0 for l0, rows in by_l0.items() if len(rows) == most]
    l0 = of_most[(len(of_most) - 1) // 2]
    rows = pd.DataFrame(by_l0[l0], columns=["activation", "n_latents", "nmse"])
    return rows.assign(l0=l0, panel=OVER_N).sort_values(["activation", "n_latents"])


def _loss(part: pd.DataFrame, l0: float) -> float | None:
    """The loss at an L0 within 2 % of the range trained, else None. part: one activation and n, by rising L0."""
    at = part["l0"].to_numpy(dtype=float)
    if not at[0] / 1.02 <= l0 <= at[-1] * 1.02:
        return None
    return float(np.exp(np.interp(np.log(l0), np.log(at), np.log(part["nmse"].to_numpy(dtype=float)))))


def on(ax: Axes, table: pd.DataFrame, study: StudyTables, panel: str = OVER_L0) -> None:
    """Draw one half of a table made by `numbers` on any axes: `over L0` or `over n`."""
    half = table[table["panel"] == panel]
    scales.nmse(ax, table)
    ax.set_ylabel(inputs.loss_label(study))
    if panel == OVER_L0:
        scales.powers_of_two(ax, "x", half["l0"], "L0, active latents a token", half["l0"].round())
    else:
        scales.latents(ax, half["n_latents"], identity.values(study, "n_latents", half["n_latents"]))
    x = "l0" if panel == OVER_L0 else "n_latents"
    for name, mark in _marks(table).items():
        rows = half[half["activation"] == name]
        look: Any = {"marker": mark.marker, "color": mark.colour, "clip_on": False, "label": name}
        (line,) = ax.plot(rows[x], rows["nmse"], "-", **look)
        stand_for_runs(line, rows)


def draw(table: pd.DataFrame, study: StudyTables, style: str | Style = "paper") -> Figure:
    """The figure of a table made by `numbers`."""
    first = {panel: part.iloc[0] for panel, part in table.groupby("panel")}
    titles = {OVER_L0: f"n = {first[OVER_L0]['n_latents']:,.0f}", OVER_N: f"L0 = {first[OVER_N]['l0']:.3g}"}
    panels = [
        layout.Panel(title, partial(on, table=table, study=study, panel=panel))
        for panel, title in titles.items()
    ]
    key = [
        Line2D([], [], color=mark.colour, marker=mark.marker, label=labels.typeset(str(name)))
        for name, mark in _marks(table).items()
    ]
    return layout.sheet(panels, style, share="y", key=key)


def caption(table: pd.DataFrame, study: StudyTables) -> captions.Caption:
    """What the figure shows."""
    text = (
        "The loss of each activation function over L0, the active latents a token, at one n (left), and over n at one "
        "L0 (right), each point the lowest loss of its runs."
    )
    return captions.caption(text, study)


def _marks(table: pd.DataFrame) -> dict[str, identity.Mark]:
    """The mark of each activation function."""
    names = sorted(set(table["activation"]))
    return {
        name: identity.Mark(colour, marker=identity.MARKERS[i % len(identity.MARKERS)])
        for i, (name, colour) in enumerate(zip(names, identity.spread(len(names)), strict=True))
    }
