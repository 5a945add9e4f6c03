"""L(N) of several models, layers or data sets at one k, with a law for each (Gao et al. 2024, Fig. 4)."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fit.law.result import FitResult
from fit.study.study_tables import StudyTables
from fit.views.figures.shared import axes as scales
from fit.views.figures.shared import captions, inputs, labels, layout, one_panel, series
from fit.views.figures.shared.style import Style


def numbers(study: StudyTables) -> pd.DataFrame:
    """The plotted numbers, as those of `l_n`, at the k that the most subjects share; `panel` names the subject.

    Raises inputs.Missing unless L_N was fitted to two subjects at one k.
    """
    laws = at_one_k(study.fits)
    rows: list[dict[str, Any]] = []
    for fit, name in zip(laws, names(laws, study.runs), strict=True):
        rows += series.rows(fit, name)
    return series.table(rows)


def on(ax: Axes, table: pd.DataFrame, study: StudyTables) -> None:
    """Draw a table made by `numbers` on any axes: the L(N) of every subject."""
    laws = at_one_k(study.fits)
    rows = list(dict.fromkeys(table["panel"]))
    scales.nmse(ax, table)
    ax.set_ylabel(inputs.loss_label(study, converged=True))
    one_panel.on(ax, table, study, one_panel.marks(laws, rows, study), _short(rows))


def draw(table: pd.DataFrame, study: StudyTables, style: str | Style = "paper") -> Figure:
    """The figure of a table made by `numbers`."""
    laws = at_one_k(study.fits)
    k, rows = inputs.k_of(laws[0]), list(dict.fromkeys(table["panel"]))
    panel = layout.Panel("" if k is None else f"k = {k:g}", partial(on, table=table, study=study))
    key = one_panel.key(one_panel.marks(laws, rows, study), _short(rows))
    return layout.sheet([panel], style, key=key, titles=k is not None)


def caption(table: pd.DataFrame, study: StudyTables) -> captions.Caption:
    """What the figure shows, and its laws."""
    laws = at_one_k(study.fits)
    text = "L(N) of several models, layers or data sets at one k: the loss at convergence over the number of latents. "
    return captions.caption(text + series.MARKS, study, laws, names(laws, study.runs))


def _short(rows: Sequence[str]) -> dict[str, str]:
    """The names without the words before the equals signs: `small, 8` for `model = small, layer = 8`."""
    return {row: ", ".join(part.split(" = ")[-1] for part in row.split(", ")) for row in rows}


def subject(fit: FitResult) -> tuple[Any, ...]:
    """What distinguishes the data of one fit from that of another."""
    return tuple(str(fit.group.get(key)) for key in ("data_fingerprint", "data", "model", "layer", "d_model"))


def at_one_k(fits: Sequence[FitResult]) -> list[FitResult]:
    """The fits of L_N at the k with the most subjects, the smallest in a tie. Missing if no k has two subjects."""
    by_k: dict[Any, list[FitResult]] = {}
    for fit in inputs.laws(fits, "L_N"):
        by_k.setdefault(inputs.k_of(fit), []).append(fit)
    k = max(sorted(by_k, key=lambda k: k or 0), key=lambda k: len({subject(fit) for fit in by_k[k]}))
    if len({subject(fit) for fit in by_k[k]}) < 2:
        raise inputs.Missing(
            "it needs fits of L_N to two models, layers or data at one k (columns data_fingerprint or data, model, "
            "layer); there is one."
        )
    return by_k[k]


def laws_at_k(fits: Sequence[FitResult], k: float | None) -> list[FitResult]:
    """The fits of L_N at one k; for None or NaN, the fits without k."""
    by_k = [(fit, inputs.k_of(fit)) for fit in inputs.laws(fits, "L_N")]
    return [fit for fit, own_k in by_k if (own_k is None and pd.isna(k)) or own_k == k]


def names(laws: Sequence[FitResult], runs: pd.DataFrame | None) -> list[str]:
    """A name for each fit: model and layer or data set of its runs, and whatever else distinguishes the fits."""
    groups = []
    for fit in laws:
        group = {key: value for key, value in fit.group.items() if key != "k"}
        groups.append(group if runs is None else inputs.named(group, inputs.members(runs, fit)))
    short_names = labels.group_names(groups)
    if len(set(short_names)) == len(short_names):
        return short_names
    return labels.fit_names(laws)
