"""Share of dead latents over the number of latents, one curve for each k (Gao et al. 2024, Fig. 14)."""

from functools import partial

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fit.converged.runs import GROUPS, groups
from fit.study.study_tables import StudyTables
from fit.views.figures.shared import axes as scales
from fit.views.figures.shared import captions, direct, identity, inputs, labels, layout
from fit.views.figures.shared.run_marks import stand_for_runs
from fit.views.figures.shared.style import Style

COLUMNS = ["panel", "k", "n_latents", "dead_fraction", "run_id"]


def numbers(study: StudyTables) -> pd.DataFrame:
    """The plotted numbers: for each n and k the run with the lowest nmse; panels by data, batch size, activation.

    Raises inputs.Missing without runs that are done and have a dead_fraction, or if no latent is dead in those.
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
    if (table["dead_fraction"] == 0).all():
        most = f"; the most in any run is {100 * known['dead_fraction'].max():.2g} %"
        raise inputs.Missing(
            f"no latent is dead in the best run of any n and k, so there is nothing to draw{most}."
        )
    return table.astype(dict.fromkeys(COLUMNS[1:4], "float64"))


def on(
    ax: Axes, table: pd.DataFrame, study: StudyTables, panel: str | None = None, named: bool = True
) -> None:
    """Draw one panel of a table made by `numbers` on any axes, by default the first.

    named: whether each k is written at its curve.
    """
    panel = table["panel"].iloc[0] if panel is None else panel
    rows = table[table["panel"] == panel]
    scales.latents(ax, table["n_latents"], identity.values(study, "n_latents", table["n_latents"]))
    ax.set_ylim(0, max(1.1 * table["dead_fraction"].max(), 0.01))
    ax.yaxis.set_major_formatter(scales.percents)
    ax.set_ylabel("dead latents")
    ends = []
    for k, mark in _marks(table, study).items():
        part: pd.DataFrame = rows if pd.isna(k) else rows[rows["k"] == k]
        if part.empty:
            continue
        label = "" if pd.isna(k) else f"k = {k:g}"
        (line,) = ax.plot(
            part["n_latents"],
            part["dead_fraction"],
            mark.line,
            marker=mark.marker,
            color=mark.colour,
            clip_on=False,
            label=label or None,
        )
        stand_for_runs(line, part)
        last = part.sort_values("n_latents").iloc[-1]
        ends.append(direct.End(last["n_latents"], last["dead_fraction"], label, mark.colour))
    if named:
        direct.at_ends(ax, [end for end in ends if end.text])


def draw(table: pd.DataFrame, study: StudyTables, style: str | Style = "paper") -> Figure:
    """The figure of a table made by `numbers`."""
    names = labels.in_order(table["panel"])
    alone = len(names) == 1
    panels = [
        layout.Panel(name, partial(on, table=table, study=study, panel=name, named=alone)) for name in names
    ]
    key = [
        Line2D([], [], color=mark.colour, marker=mark.marker, label=f"k = {k:g}")
        for k, mark in _marks(table, study).items()
        if pd.notna(k)
    ]
    return layout.sheet(panels, style, key=[] if alone else key)


def caption(table: pd.DataFrame, study: StudyTables) -> captions.Caption:
    """What the figure shows."""
    text = "The share of latents that are dead over n, for the run of the lowest loss of each n and k."
    return captions.caption(text, study)


def _marks(table: pd.DataFrame, study: StudyTables) -> dict[float, identity.Mark]:
    """The mark of each k."""
    ks = sorted(set(table["k"].dropna())) or [float("nan")]
    groups = [{} if pd.isna(k) else {"k": k} for k in ks]
    return dict(zip(ks, identity.marks(groups, study), strict=True))
