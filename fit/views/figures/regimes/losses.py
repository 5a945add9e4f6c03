"""L(C) beside L(N): the lowest loss at each compute and the converged loss of each n, a line for each batch size."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fit.converged.runs import groups
from fit.study.study_tables import StudyTables
from fit.views.figures.regimes import batch
from fit.views.figures.shared import axes as scales
from fit.views.figures.shared import inputs, labels
from fit.views.figures.shared import style as styles

COLUMNS = ["panel", "regime", "batch_tokens", "x", "nmse"]


def numbers(study: StudyTables) -> pd.DataFrame:
    """The plotted numbers, a pair of panels for each k and data set.

    compute: the frontier of the curves of a batch size, x = C. converged: the lowest converged loss over lr of each n,
    x = n. Raises inputs.Missing without data for both regimes of one group.
    """
    known = inputs.finished(study.runs, "n_latents", "batch_tokens", "nmse")
    flops = batch.convention(study)
    parts = list(groups(known, ["k"], batch.WITHOUT_BATCH))
    names = labels.group_names([inputs.named(group, part) for group, part in parts])
    rows: list[pd.DataFrame] = []
    for (_, part), name in zip(parts, names, strict=True):
        frontiers = batch.frontiers(part, study.curves, flops)
        best = batch.lowest_converged(part)
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


def draw(table: pd.DataFrame, study: StudyTables, style: str = "paper") -> Figure:
    """The figure of a table made by `numbers`."""
    names, sizes = list(dict.fromkeys(table["panel"])), sorted(set(table["batch_tokens"]))
    colours = dict(zip(sizes, styles.colours(len(sizes)), strict=True))
    with styles.applied(style) as look:
        cells = [(name, regime) for name in names for regime in batch.REGIMES]
        heads = [", ".join(filter(None, [name, batch.REGIMES[regime]])) for name, regime in cells]
        figure, axes = scales.titled(heads, 2, look, words=3)
        for (name, regime), ax in zip(cells, axes, strict=True):
            rows = table[(table["panel"] == name) & (table["regime"] == regime)].sort_values("x")
            for B, part in rows.groupby("batch_tokens"):
                marker = "o-" if regime == "converged" else "-"
                ax.plot(part["x"], part["nmse"], marker, color=colours[float(str(B))])
            scales.nmse(ax, table, top=1.05)
            if regime == "converged":
                scales.latents(ax, most=6)
            else:
                scales.quantity(ax, "x", rows["x"])
                ax.set_xlabel(f"compute, FLOPs ({batch.convention(study)[6:]})")
        scales.y_label(figure, axes, inputs.loss_label(study), look)
        keys = [Line2D([], [], color=colours[B], marker="o", label=f"B = {B:,.0f}") for B in sizes]
        title = "lr the best of each point"
        figure.legend(handles=keys, loc="outside lower center", ncols=3, title=title, columnspacing=1.0)
    return figure
