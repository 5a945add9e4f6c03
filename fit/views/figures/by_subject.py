"""L(N) of several subjects, models, layers or data, at one k: a law each (Gao et al. 2024, Fig. 4)."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from fit.views.figures.shared import axes as scales
from fit.views.figures.shared import inputs, labels, one_panel, series
from fit.views.figures.shared import style as styles


def numbers(
    runs: pd.DataFrame | None, curves: pd.DataFrame | None, fits: Mapping[str, Any] | None
) -> pd.DataFrame:
    """The plotted numbers, as those of `l_n`, at the k that the most subjects share; `panel` names the subject.

    Raises inputs.Missing unless L_N was fitted to two subjects at one k.
    """
    del curves
    laws = at_one_k(fits)
    rows: list[dict[str, Any]] = []
    for fit, name in zip(laws, names(laws, runs), strict=True):
        rows += series.rows(fit, name)
    return series.table(rows)


def draw(table: pd.DataFrame, fits: Mapping[str, Any], style: str = "paper") -> Figure:
    """The figure of a table made by `numbers`; parameters and their intervals are read from `fits`."""
    laws = at_one_k(fits)
    k = (laws[0].get("group") or {}).get("k")
    with styles.applied(style) as look:
        figure, ax = one_panel.draw(table, laws, list(dict.fromkeys(table["panel"])), look)
        ax.set_title("" if k is None else f"k = {k:g}", loc="left")
        scales.nmse(ax, table)
        ax.set_ylabel(series.Y_LABEL)
    return figure


def subject(fit: inputs.Fit) -> tuple[Any, ...]:
    """What tells the data of one fit from that of another."""
    group = fit.get("group") or {}
    return tuple(str(group.get(key)) for key in ("data_fingerprint", "data", "model", "layer", "d_model"))


def at_one_k(fits: Mapping[str, Any] | None) -> list[inputs.Fit]:
    """The fits of L_N at the k with the most subjects, the smallest of equals. Missing where none has two."""
    by_k: dict[Any, list[inputs.Fit]] = {}
    for fit in inputs.laws(fits, "L_N"):
        by_k.setdefault((fit.get("group") or {}).get("k"), []).append(fit)
    k = max(sorted(by_k, key=lambda k: k or 0), key=lambda k: len({subject(fit) for fit in by_k[k]}))
    if len({subject(fit) for fit in by_k[k]}) < 2:
        raise inputs.Missing(
            "it needs fits of L_N to two models, layers or data at one k (columns data_fingerprint or data, model, "
            "layer); there is one."
        )
    return by_k[k]


def of_k(fits: Mapping[str, Any] | None, k: float | None) -> list[inputs.Fit]:
    """The fits of L_N at one k; None or NaN: those without k."""
    found = [(fit, (fit.get("group") or {}).get("k")) for fit in inputs.laws(fits, "L_N")]
    return [fit for fit, own in found if (own is None and pd.isna(k)) or own == k]


def names(laws: list[inputs.Fit], runs: pd.DataFrame | None) -> list[str]:
    """A name per fit: model and layer, or the data's name, of its runs, and what else tells the fits apart."""
    groups = []
    for fit in laws:
        group = {key: value for key, value in (fit.get("group") or {}).items() if key != "k"}
        groups.append(group if runs is None else inputs.named(group, inputs.members(runs, fit)))
    found = labels.group_names([{"group": group} for group in groups])
    if len(set(found)) == len(found):
        return found
    return labels.group_names(laws)
