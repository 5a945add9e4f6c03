"""A/B training curves of options of the SAE and its training, all else equal (Gao et al. 2024, Figs. 15 to 18)."""

from functools import partial

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fit.data import tables
from fit.study.study_tables import StudyTables
from fit.views.figures.shared import axes as scales
from fit.views.figures.shared import captions, identity, inputs, layout
from fit.views.figures.shared.run_marks import stand_for_runs
from fit.views.figures.shared.style import Style, sizes

# Options of the SAE or its training that a table may have as columns, ours or another's.
OPTIONS = (
    "init_scale",
    "encoder_bias",
    "decoder_norm",
    "auxk_coef",
    "k_aux",
    "dead_tokens",
    "ema",
    "clip_grad",
    "adam_beta1",
    "adam_beta2",
    "adam_eps",
    "lr_schedule",
)
# The other columns that define a run. Runs are compared only if they agree in all of these.
SAME = (
    "data_fingerprint",
    "data",
    "d_model",
    "n_latents",
    "k",
    "activation",
    "lr",
    "batch_tokens",
    "seed",
    "stop",
)
COLUMNS = ["option", "value", "run_id", "n_latents", "k", "tokens", "nmse"]
# More curves than this cannot be told apart in one panel, so only those of the largest n are drawn.
MOST_N = 4


def numbers(study: StudyTables) -> pd.DataFrame:
    """The plotted numbers, a panel for each option with two or three values among runs that otherwise agree.

    For each n: the runs at the lr, k and seed with the lowest nmse. Raises inputs.Missing without such runs or curves.
    """
    runs = study.runs
    known = inputs.columns(study.curves, "curves", "n_latents", "tokens", "nmse")
    if runs is None or "run_id" not in runs.columns:
        raise inputs.Missing("it needs the table runs with run_id and options of the SAE.")
    runs = runs[runs["run_id"].isin(known["run_id"])]
    options = [name for name in OPTIONS if name in runs.columns and 2 <= _texts(runs[name]).nunique() <= 3]
    chosen = [found for name in options if len(found := _pairs(runs, name))]
    if not chosen:
        raise inputs.Missing(
            "it needs runs that differ in one option alone, of two or three values, with curves: "
            f"{', '.join(OPTIONS[:4])} …"
        )
    table = pd.concat(chosen).merge(known.drop(columns=["n_latents", "k"], errors="ignore"), on="run_id")
    order = ["option", "n_latents", "value", "run_id", "tokens"]
    return table.sort_values(order, kind="stable").reindex(columns=COLUMNS).reset_index(drop=True)


def _pairs(runs: pd.DataFrame, option: str) -> pd.DataFrame:
    """run_id, option, value, n_latents and k of the runs to compare, at the largest n."""
    same = [name for name in (*SAME, *OPTIONS) if name in runs.columns and name != option]
    cell = runs[same].apply(_texts).groupby(same, dropna=False).ngroup()
    own = tables.numeric(runs, "n_latents", "k", "nmse").assign(
        option=option, value=_texts(runs[option]), cell=cell
    )
    values = own.groupby("cell")["value"].transform("nunique")
    own = own[(values == values.max()) & (values > 1)]
    best = own.sort_values("nmse").drop_duplicates("n_latents").nlargest(MOST_N, "n_latents")
    return own[own["cell"].isin(best["cell"])].reindex(
        columns=["option", "value", "run_id", "n_latents", "k"]
    )


def _texts(values: pd.Series) -> pd.Series:
    """Every value as text, with `none` for a missing one, so that an option that is off counts as a value."""
    return values.map(
        lambda value: "none" if pd.isna(value) else f"{value:.3g}" if isinstance(value, float) else f"{value}"
    )


def on(ax: Axes, table: pd.DataFrame, study: StudyTables, panel: str | None = None) -> None:
    """Draw one option of a table made by `numbers` on any axes, by default the first."""
    panel = table["option"].iloc[0] if panel is None else panel
    rows = table[table["option"] == panel]
    scales.quantity(ax, "x", rows["tokens"])
    scales.nmse(ax, rows)
    ax.set_xlabel("tokens")
    ax.set_ylabel(inputs.loss_label(study))
    values = sorted(set(rows["value"]))
    for value, colour, line in zip(values, identity.spread(len(values)), identity.LINES, strict=False):
        label = value
        for _, run in rows[rows["value"] == value].groupby("run_id", sort=False):
            width = 0.8 * sizes().line
            (drawn,) = ax.plot(run["tokens"], run["nmse"], line, color=colour, linewidth=width, label=label)
            stand_for_runs(drawn, run.iloc[-1:])
            label = "_"  # one entry a value
    ax.legend(loc="upper right", borderpad=0, labelspacing=0.2)


def draw(table: pd.DataFrame, study: StudyTables, style: str | Style = "paper") -> Figure:
    """The figure of a table made by `numbers`, a panel for each option."""
    panels = [
        layout.Panel(option, partial(on, table=table, study=study, panel=option))
        for option in dict.fromkeys(table["option"])
    ]
    return layout.sheet(panels, style, share="", titles=True)


def caption(table: pd.DataFrame, study: StudyTables) -> captions.Caption:
    """What the figure shows, and the n of its curves."""
    ns = ", ".join(f"{n:,.0f}" for n in sorted(set(table["n_latents"]), reverse=True))
    text = f"The loss over tokens for the values of one option, all else equal, for n = {ns}."
    return captions.caption(text, study)
