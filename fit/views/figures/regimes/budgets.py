"""The compute-optimal budget of each n beside its converged one: tokens, and the loss they buy."""

from functools import partial
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fit.study.study_tables import StudyTables
from fit.views.figures.shared import axes as scales
from fit.views.figures.shared import captions, identity, inputs, labels, layout
from fit.views.figures.shared.style import Style

COLUMNS = ["panel", "regime", "n_latents", "tokens", "nmse", "token_ratio", "loss_gap"]
# The line and the face of the markers of each regime, and its name in the key.
REGIMES: dict[str, tuple[Any, str | None, str]] = {
    "compute": ("--", "white", "compute-optimal"),
    "converged": ("-", None, "converged"),
}


def numbers(study: StudyTables) -> pd.DataFrame:
    """The plotted numbers; `panel` names the group of the regimes.

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


def on(ax: Axes, table: pd.DataFrame, study: StudyTables, column: str = "tokens") -> None:
    """Draw one half of a table made by `numbers` on any axes: its `tokens` or its `nmse`, over n."""
    scales.latents(ax, table["n_latents"], identity.values(study, "n_latents", table["n_latents"]))
    if column == "tokens":
        scales.quantity(ax, "y", table["tokens"])
        ax.set_ylabel("tokens")
    else:
        scales.nmse(ax, table)
        ax.set_ylabel(inputs.loss_label(study))
    for name, mark in _marks(table, study).items():
        rows = table[table["panel"] == name]
        for _, pair in rows.groupby("n_latents"):
            ax.plot(pair["n_latents"], pair[column], "-", color="0.85", zorder=0)
        for regime, (line, face, _) in REGIMES.items():
            half = rows[rows["regime"] == regime]
            ax.plot(
                half["n_latents"],
                half[column],
                line,
                marker=mark.marker,
                color=mark.colour,
                markerfacecolor=face or mark.colour,
                clip_on=False,
                label=f"{name}, {regime}",
            )


def draw(table: pd.DataFrame, study: StudyTables, style: str | Style = "paper") -> Figure:
    """The figure of a table made by `numbers`: tokens, and the loss that they buy."""
    panels = [
        layout.Panel("tokens", partial(on, table=table, study=study, column="tokens")),
        layout.Panel(inputs.loss_label(study), partial(on, table=table, study=study, column="nmse")),
    ]
    marks = _marks(table, study)
    keys = [
        Line2D([], [], color="0.3", linestyle=line, marker="o", markerfacecolor=face or "0.3", label=text)
        for line, face, text in REGIMES.values()
    ]
    if len(marks) > 1:
        keys += [Line2D([], [], color=m.colour, marker=m.marker, label=name) for name, m in marks.items()]
    return layout.sheet(panels, style, share="", key=keys)


def caption(table: pd.DataFrame, study: StudyTables) -> captions.Caption:
    """What the figure shows, with the ranges of the ratios."""
    ranges = "; ".join(
        f"{str(name) or 'all runs'}: {_range(rows['token_ratio'], ' times the tokens')}, "
        f"{_range(100 * rows['loss_gap'], ' % of loss apart')}"
        for name, rows in table.groupby("panel", sort=False)
    )
    text = (
        "Compute-optimal and converged budgets of each n: tokens (left), and the loss that they buy (right), each from "
        f"the best run of its n, without interval. {ranges}."
    )
    return captions.caption(text, study)


def _range(values: pd.Series, unit: str) -> str:
    low, high = f"{values.min():.2g}", f"{values.max():.2g}"
    return f"{low}{unit}" if low == high else f"{low}–{high}{unit}"


def _marks(table: pd.DataFrame, study: StudyTables) -> dict[str, identity.Mark]:
    """The mark of each group by its name."""
    groups = [group.group for group in study.regimes.groups] if study.regimes else []
    by_name = dict(zip(labels.group_names(groups), groups, strict=True))
    names = labels.in_order(table["panel"])
    return dict(zip(names, identity.marks([by_name.get(name, {}) for name in names], study), strict=True))
