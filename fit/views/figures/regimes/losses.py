"""L(C) beside L(N): the lowest loss at each compute and the converged loss of each n, a line for each batch size."""

from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fit.converged.runs import groups, select
from fit.law.options import DROP
from fit.study.study_tables import StudyTables
from fit.views.figures.regimes import batch
from fit.views.figures.shared import axes as scales
from fit.views.figures.shared import captions, identity, inputs, labels, layout
from fit.views.figures.shared.style import Style

COLUMNS = ["panel", "regime", "batch_tokens", "x", "nmse"]


def numbers(study: StudyTables) -> pd.DataFrame:
    """The plotted numbers; `panel` names the k and the data set.

    compute: the frontier of the curves of a batch size, x = C. converged: the loss that L(N) takes of each n, x = n.
    Raises inputs.Missing without data for both regimes of one group.
    """
    known = inputs.finished(study.runs, "n_latents", "batch_tokens", "nmse")
    flops = batch.convention(study)
    parts = list(groups(known, ["k"], batch.WITHOUT_BATCH))
    names = labels.group_names([inputs.named(group, part) for group, part in parts])
    rows: list[pd.DataFrame] = []
    for (_, part), name in zip(parts, names, strict=True):
        frontiers = batch.frontiers(part, study.curves, flops)
        best = pd.concat([select(of_size, {}, DROP).rows for _, of_size in part.groupby("batch_tokens")])
        if not frontiers or best.empty:
            continue
        converged = best[["batch_tokens", "nmse"]].assign(regime="converged", x=best["n_latents"])
        compute = [
            pd.DataFrame({"x": np.exp(curve.log_c), "nmse": np.exp(curve.log_l)}).assign(
                regime="compute", batch_tokens=B
            )
            for B, curve in frontiers.items()
        ]
        rows += [part.assign(panel=name) for part in (*compute, converged)]
    if not rows:
        raise inputs.Missing(
            f"it needs curves (columns run_id, {flops}, nmse) and converged runs with batch_tokens of one k."
        )
    table = pd.concat(rows, ignore_index=True).reindex(columns=COLUMNS)
    return table.astype(dict.fromkeys(COLUMNS[2:], "float64"))


def on(ax: Axes, table: pd.DataFrame, study: StudyTables, regime: str = "compute") -> None:
    """Draw one half of a table made by `numbers` on any axes: `compute`, L(C), or `converged`, L(N)."""
    half = table[table["regime"] == regime]
    scales.nmse(ax, table, top=1.05)
    if regime == "converged":
        scales.latents(ax, half["x"], identity.values(study, "n_latents", half["x"]))
    else:
        scales.quantity(ax, "x", half["x"])
        ax.set_xlabel(f"compute C, FLOPs ({batch.convention(study)[6:]})")
    ax.set_ylabel(inputs.loss_label(study))
    for (name, B), (mark, text) in _marks(table, study).items():
        rows = half[(half["panel"] == name) & (half["batch_tokens"] == B)].sort_values("x")
        marker = mark.marker if regime == "converged" else "None"
        ax.plot(rows["x"], rows["nmse"], mark.line, marker=marker, color=mark.colour, label=text)


def draw(table: pd.DataFrame, study: StudyTables, style: str | Style = "paper") -> Figure:
    """The figure of a table made by `numbers`: L(C) and L(N) side by side."""
    panels = [
        layout.Panel(batch.REGIMES[regime], partial(on, table=table, study=study, regime=regime))
        for regime in batch.REGIMES
    ]
    keys = [
        Line2D([], [], color=mark.colour, linestyle=mark.line, marker=mark.marker, label=text)
        for mark, text in _marks(table, study).values()
    ]
    return layout.sheet(panels, style, share="y", key=keys)


def caption(table: pd.DataFrame, study: StudyTables) -> captions.Caption:
    """What the figure shows."""
    text = (
        "Left, L(C): the lowest loss of all curves of one batch size B at each compute. Right, L(N): the lowest "
        "converged loss of each n. The learning rate is the best of each point."
    )
    return captions.caption(text, study)


def _marks(table: pd.DataFrame, study: StudyTables) -> dict[tuple[str, float], tuple[identity.Mark, str]]:
    """The mark and the name of each line, by its group and batch size."""
    cells = [
        (name, float(str(B)))
        for name in labels.in_order(table["panel"])
        for B in sorted(set(table.loc[table["panel"] == name, "batch_tokens"]))
    ]
    groups = [{**_group_of(name), "batch_tokens": B} for name, B in cells]
    texts = labels.telling([{**group, "batch_tokens": f"{group['batch_tokens']:,.0f}"} for group in groups])
    found = identity.marks(groups, study)
    return {cell: (mark, text) for cell, mark, text in zip(cells, found, texts, strict=True)}


def _group_of(name: str) -> dict[str, object]:
    """The group that a name such as `k = 32, data = toy` stands for."""
    pairs = (part.split(" = ", 1) for part in name.split(", ") if " = " in part)
    return {key: float(value) if value.replace(".", "", 1).isdigit() else value for key, value in pairs}
