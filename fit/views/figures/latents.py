"""Histograms of the density and of the mean squared activation of latents, a curve for each n (Gao et al., Fig. 19)."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fit.study.study_tables import StudyTables
from fit.views.figures.shared import axes as scales
from fit.views.figures.shared import inputs
from fit.views.figures.shared import style as styles
from fit.views.figures.shared.colours import Colours

COLUMNS = ["panel", "quantity", "run_id", "n_latents", "k", "low", "high", "count", "share"]
QUANTITIES = {
    "log10_density": "log10 of\nlatent density",
    "log10_mean_square": "log10 of mean\nsquared activation",
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


def draw(table: pd.DataFrame, study: StudyTables, style: str = "paper") -> Figure:
    """The figure of a table made by `numbers`."""
    colour = Colours(table["n_latents"])
    cells = [(panel, quantity) for panel in dict.fromkeys(table["panel"]) for quantity in QUANTITIES]
    cells = [(p, q) for p, q in cells if ((table["panel"] == p) & (table["quantity"] == q)).any()]
    with styles.applied(style) as look:
        figure, axes = scales.titled([panel for panel, _ in cells], 2, look, words=2)
        for (panel, quantity), ax in zip(cells, axes, strict=True):
            _draw_panel(ax, table[(table["panel"] == panel) & (table["quantity"] == quantity)], colour)
            ax.set_ylim(0, 1.05 * table.loc[table["low"].notna(), "share"].max())
            ax.xaxis.set_major_locator(scales.few(5))
            ax.yaxis.set_major_formatter(scales.percents)
            ax.set_xlabel(QUANTITIES[quantity])
        scales.y_label(figure, axes, "share of latents in a bin", look)
        colour.bar(figure, axes)
    return figure


def _draw_panel(ax: Axes, rows: pd.DataFrame, colour: Colours) -> None:
    """Draw a line through the middles of the bins; empty bins between others count as 0."""
    for _, run in rows.dropna(subset=["low"]).groupby("run_id", sort=False):
        width = float((run["high"] - run["low"]).min())
        at = ((run["low"] - run["low"].min()) / width).round().astype(int)
        shares = np.zeros(at.max() + 3)
        shares[at + 1] = run["share"]
        middles = run["low"].min() + width * (np.arange(len(shares)) - 0.5)
        ax.plot(middles, shares, color=colour(run["n_latents"].iloc[0]))
