"""Share of dead latents over the number of latents, one curve for each k (Gao et al. 2024, Fig. 14)."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fit.converged.runs import GROUPS, groups
from fit.study.study_tables import StudyTables
from fit.views.figures.shared import axes as scales
from fit.views.figures.shared import inputs, labels
from fit.views.figures.shared import style as styles

COLUMNS = ["panel", "k", "n_latents", "dead_fraction", "run_id"]


def numbers(study: StudyTables) -> pd.DataFrame:
    """The plotted numbers: for each n and k the run with the lowest nmse; panels by data, batch size, activation.

    Raises inputs.Missing without runs that are done and have a dead_fraction.
    """
    known = inputs.finished(study.runs, "n_latents", "nmse", "dead_fraction")
    known = known.assign(k=known["k"] if "k" in known.columns else float("nan"))
    parts = list(groups(known, [], GROUPS))
    names = labels.group_names([inputs.named(group, part) for group, part in parts])
    rows = [
        inputs.lowest(part, ["k", "n_latents"]).assign(panel=name)
        for (_, part), name in zip(parts, names, strict=True)
    ]
    table = pd.concat(rows, ignore_index=True)[COLUMNS]
    return table.astype(dict.fromkeys(COLUMNS[1:4], "float64"))


def draw(table: pd.DataFrame, study: StudyTables, style: str = "paper") -> Figure:
    """The figure of a table made by `numbers`."""
    ks = sorted(set(table["k"].dropna())) or [float("nan")]
    colours = dict(zip(ks, styles.colours(len(ks)), strict=True))
    with styles.applied(style) as look:
        names = list(dict.fromkeys(table["panel"]))
        figure, axes = scales.titled(names, look.abreast, look, words=3)
        for name, ax in zip(names, axes, strict=True):
            rows = table[table["panel"] == name]
            for k, colour in colours.items():
                part: pd.DataFrame = rows if pd.isna(k) else rows[rows["k"] == k]
                ax.plot(part["n_latents"], part["dead_fraction"], "o-", color=colour, clip_on=False)
            scales.latents(ax)
            ax.set_ylim(0, max(1.1 * table["dead_fraction"].max(), 0.01))
            ax.yaxis.set_major_formatter(scales.percents)
        scales.y_label(figure, axes, "dead latents", look)
        keys = [Line2D([], [], color=c, marker="o", label=f"k = {k:g}") for k, c in colours.items()]
        if pd.notna(ks[0]):
            columns = min(len(keys), 5)
            title = "the run of the lowest NMSE of each n"
            figure.legend(
                handles=keys, loc="outside lower center", ncols=columns, columnspacing=0.8, title=title
            )
    return figure
