"""Histograms of the density and of the mean squared activation of latents, a curve for each n (Gao et al., Fig. 19)."""

from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fit.study.study_tables import StudyTables
from fit.views.figures.shared import axes as scales
from fit.views.figures.shared import captions, inputs, labels, layout
from fit.views.figures.shared.colours import Colours
from fit.views.figures.shared.run_marks import stand_for_runs
from fit.views.figures.shared.style import Style

COLUMNS = ["panel", "quantity", "run_id", "n_latents", "k", "low", "high", "count", "share"]
QUANTITIES = {
    "log10_density": "log10 of latent density",
    "log10_mean_square": "log10 of mean squared activation",
}


def numbers(study: StudyTables) -> pd.DataFrame:
    """The plotted numbers: for each n and k, the bins of the run with the lowest nmse, as shares of the n latents.

    Rows without low and high are latents that never fire. The bins come from the latents.parquet of `saescale collect`.
    Raises inputs.Missing without that table.
    """
    latents = study.latents
    wanted = ["run_id", "n_latents", "k", "quantity", "low", "high", "count"]
    if latents is None or not set(wanted) <= set(latents.columns) or latents.empty:
        raise inputs.Missing(
            f"it needs the table latents, which `saescale collect` writes, with the columns {', '.join(wanted)}."
        )
    known = latents[latents["run_id"].isin(_best(study.runs, latents))]
    if known.empty:
        raise inputs.Missing(
            "it needs runs that are done in both tables, runs and latents; they share no run_id."
        )
    total = known.groupby(["run_id", "quantity"])["count"].transform("sum")
    known = known.assign(share=known["count"] / total, panel=known["k"].map("k = {:g}".format))
    order = ["k", "quantity", "n_latents", "run_id", "low"]
    table = known.sort_values(order).reindex(columns=COLUMNS).reset_index(drop=True)
    return table.astype(dict.fromkeys(COLUMNS[3:], "float64"))


def _best(runs: pd.DataFrame | None, latents: pd.DataFrame) -> pd.Series:
    """The run_id with the lowest nmse at each n and k, in the data set with most runs; without nmse, the first run."""
    if runs is None or not {"run_id", "nmse"} <= set(runs.columns):
        return latents.drop_duplicates(["n_latents", "k"])["run_id"]
    known = inputs.columns(runs, "runs", "n_latents", "nmse")
    known = known[known["run_id"].isin(latents["run_id"])]
    if "data_fingerprint" in known.columns and known["data_fingerprint"].nunique() > 1:
        known = known[known["data_fingerprint"] == known["data_fingerprint"].mode().iloc[0]]
    return inputs.lowest(known, [name for name in ("n_latents", "k") if name in known.columns])["run_id"]


def on(
    ax: Axes,
    table: pd.DataFrame,
    study: StudyTables,
    panel: str | None = None,
    quantity: str = "log10_density",
    named: bool = True,
) -> None:
    """Draw one k and quantity of a table made by `numbers` on any axes.

    panel: the name of the k, by default the first. named: whether the scale of n is written into it.
    """
    panel = table["panel"].iloc[0] if panel is None else panel
    colour = Colours.by_n(study, table["n_latents"])
    _draw_panel(ax, table[(table["panel"] == panel) & (table["quantity"] == quantity)], colour)
    ax.set_ylim(0, 1.05 * table.loc[table["low"].notna(), "share"].max())
    ax.xaxis.set_major_locator(scales.few(5))
    ax.yaxis.set_major_formatter(scales.percents)
    ax.set_xlabel(QUANTITIES[quantity])
    ax.set_ylabel("share of latents in a bin")
    if named:
        colour.key(ax)


def draw(table: pd.DataFrame, study: StudyTables, style: str | Style = "paper") -> Figure:
    """The figure of a table made by `numbers`, a panel for each k and quantity; only the first has the scale of n."""
    names = labels.in_order(table["panel"])
    cells = [
        (name, quantity)
        for name in names
        for quantity in QUANTITIES
        if ((table["panel"] == name) & (table["quantity"] == quantity)).any()
    ]
    panels = [
        layout.Panel(name, partial(on, table=table, study=study, panel=name, quantity=quantity, named=i == 0))
        for i, (name, quantity) in enumerate(cells)
    ]
    return layout.sheet(panels, style, share="y", abreast=2 if len(names) > 1 else 4, columns=2)


def caption(table: pd.DataFrame, study: StudyTables) -> captions.Caption:
    """What the figure shows."""
    text = (
        "Histograms over the latents of one run of each n and k: the share of tokens on which a latent is active "
        "(density), and its mean squared activation. Latents that never fire are left out of the lines."
    )
    return captions.caption(text, study)


def _draw_panel(ax: Axes, rows: pd.DataFrame, colour: Colours) -> None:
    """Draw a line through the middles of the bins; empty bins between others count as 0."""
    for _, run in rows.dropna(subset=["low"]).groupby("run_id", sort=False):
        width = float((run["high"] - run["low"]).min())
        at = ((run["low"] - run["low"].min()) / width).round().astype(int)
        shares = np.zeros(at.max() + 3)
        shares[at + 1] = run["share"]
        middles = run["low"].min() + width * (np.arange(len(shares)) - 0.5)
        (line,) = ax.plot(middles, shares, color=colour(run["n_latents"].iloc[0]))
        stand_for_runs(line, run.iloc[-1:])
