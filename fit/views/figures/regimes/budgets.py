"""The compute-optimal budget of each n beside its converged one: tokens, and the loss they buy."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fit.study.study_tables import StudyTables
from fit.views.figures.shared import axes as scales
from fit.views.figures.shared import inputs, labels
from fit.views.figures.shared import style as styles

COLUMNS = ["panel", "regime", "n_latents", "tokens", "nmse", "token_ratio", "loss_gap"]
REGIMES = {"compute": ("o", "compute-optimal, L(C)"), "converged": ("s", "converged, L(N)")}


def numbers(study: StudyTables) -> pd.DataFrame:
    """The plotted numbers, a pair of panels for each group of the regimes.

    token_ratio: converged tokens divided by compute-optimal tokens. loss_gap: compute-optimal loss divided by converged
    loss, minus 1. Raises inputs.Missing if no n has both budgets.
    """
    groups = study.regimes.groups if study.regimes else ()
    rows = [
        {
            "panel": name,
            "regime": regime,
            "n_latents": row.n_latents,
            "tokens": budget.tokens,
            "nmse": budget.nmse,
            "token_ratio": row.token_ratio,
            "loss_gap": row.loss_gap,
        }
        for group, name in zip(groups, labels.group_names([group.group for group in groups]), strict=True)
        for row in group.budgets
        for regime, budget in (("compute", row.compute), ("converged", row.converged))
    ]
    if not rows:
        reasons = " ".join(dict.fromkeys(reason for group in groups for reason in group.reasons))
        raise inputs.Missing(
            "it needs an n with both budgets in fits.json: run `saescale fit TABLE` on a table with curves and "
            f"converged runs. {reasons}".strip()
        )
    table = pd.DataFrame(rows).sort_values(["panel", "regime", "n_latents"], kind="stable")[COLUMNS]
    return table.reset_index(drop=True).astype(dict.fromkeys(COLUMNS[2:], "float64"))


def draw(table: pd.DataFrame, study: StudyTables, style: str = "paper") -> Figure:
    """The figure of a table made by `numbers`."""
    names = list(dict.fromkeys(table["panel"]))
    colours = dict(zip(REGIMES, styles.colours(3)[::2], strict=True))
    with styles.applied(style) as look:
        cells = [(name, column) for name in names for column in ("tokens", "nmse")]
        heads = [", ".join(filter(None, [name, _between(table, name, column)])) for name, column in cells]
        figure, axes = scales.titled(heads, 2, look, words=3, share=False)
        for (name, column), ax in zip(cells, axes, strict=True):
            _draw_panel(ax, table[table["panel"] == name], column, colours)
            if column == "tokens":
                scales.quantity(ax, "y", table["tokens"])
            else:
                scales.nmse(ax, table)
            scales.latents(ax, most=6)
            ax.set_ylabel("tokens" if column == "tokens" else inputs.loss_label(study))
        keys = [
            Line2D([], [], color=colours[regime], marker=marker, label=words)
            for regime, (marker, words) in REGIMES.items()
        ]
        title = "each from the best run of its n, without interval"
        figure.legend(handles=keys, loc="outside lower center", ncols=2, title=title, columnspacing=1.0)
    return figure


def _between(table: pd.DataFrame, name: str, column: str) -> str:
    """The range over n of the ratio of tokens, or of the gap in loss."""
    rows = table[table["panel"] == name]
    if column == "tokens":
        low, high = rows["token_ratio"].min(), rows["token_ratio"].max()
        return f"{low:.2g}–{high:.2g} times" if f"{low:.2g}" != f"{high:.2g}" else f"{low:.2g} times"
    low, high = 100 * rows["loss_gap"].min(), 100 * rows["loss_gap"].max()
    return f"{low:.2g}–{high:.2g} % apart" if f"{low:.2g}" != f"{high:.2g}" else f"{low:.2g} % apart"


def _draw_panel(ax: Axes, rows: pd.DataFrame, column: str, colours: Mapping[str, str]) -> None:
    for _, pair in rows.groupby("n_latents"):
        ax.plot(pair["n_latents"], pair[column], "-", color="0.8", zorder=0)
    for regime, (marker, _) in REGIMES.items():
        own = rows[rows["regime"] == regime]
        ax.plot(own["n_latents"], own[column], marker=marker, color=colours[regime], clip_on=False)
