"""L(N) of synthetic data, and that of language models if there is any (Gao et al. 2024, Fig. 31)."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fit.law.result import FitResult
from fit.study.study_tables import StudyTables
from fit.views.figures.laws import by_subject
from fit.views.figures.shared import axes as scales
from fit.views.figures.shared import captions, inputs, layout, one_panel, series
from fit.views.figures.shared.style import Style

# Columns that only synthetic data has.
SYNTHETIC = ("n_features", "nmse_oracle", "zipf", "features_per_token")


def numbers(study: StudyTables) -> pd.DataFrame:
    """The plotted numbers: those of `l_n` at the k of the first synthetic data set, with the oracle where it is known.

    Raises inputs.Missing without a fit of L_N to synthetic data, whose runs have n_features or nmse_oracle.
    """
    runs = study.runs
    laws = _laws(study)
    rows: list[dict[str, Any]] = []
    for fit, name in zip(laws, _names(laws, runs), strict=True):
        rows += series.rows(fit, name) + one_panel.oracle(runs, fit, name)
    return series.table(rows)


def on(ax: Axes, table: pd.DataFrame, study: StudyTables) -> None:
    """Draw a table made by `numbers` on any axes: the L(N) of synthetic data and of language models."""
    laws, rows = _drawn(table, study)
    scales.nmse(ax, one_panel.readable(table))
    ax.set_ylabel(inputs.loss_label(study, converged=True))
    one_panel.on(ax, table, study, one_panel.marks(laws, rows, study), _short(rows))


def draw(table: pd.DataFrame, study: StudyTables, style: str | Style = "paper") -> Figure:
    """The figure of a table made by `numbers`."""
    laws, rows = _drawn(table, study)
    k = table["k"].iloc[0]
    panel = layout.Panel("" if pd.isna(k) else f"k = {k:g}", partial(on, table=table, study=study))
    key = one_panel.key(one_panel.marks(laws, rows, study), _short(rows))
    return layout.sheet([panel], style, key=key, titles=pd.notna(k))


def caption(table: pd.DataFrame, study: StudyTables) -> captions.Caption:
    """What the figure shows, and its laws."""
    oracle = f" {one_panel.ORACLE}" if "oracle" in set(table["series"]) else ""
    text = f"L(N) of synthetic data, and of language models where there are any. {series.MARKS}{oracle}"
    laws, rows = _drawn(table, study)
    return captions.caption(text, study, laws, rows)


def _drawn(table: pd.DataFrame, study: StudyTables) -> tuple[list[FitResult], list[str]]:
    """The fits, and their names in the table."""
    return by_subject.laws_at_k(study.fits, table["k"].iloc[0]), list(dict.fromkeys(table["panel"]))


def _short(rows: Sequence[str]) -> dict[str, str]:
    """The names without `synthetic: ` where all are."""
    alike = all(row.startswith("synthetic: ") for row in rows)
    return {row: row.removeprefix("synthetic: ") if alike else row for row in rows}


def _laws(study: StudyTables) -> list[FitResult]:
    """The fits of L_N at the k of the first one to synthetic data."""
    laws, runs = inputs.laws(study.fits, "L_N"), study.runs
    synthetic = [fit for fit in laws if runs is not None and _synthetic(inputs.members(runs, fit))]
    if not synthetic:
        raise inputs.Missing(
            f"it needs a fit of L_N to synthetic data, whose runs have one of {', '.join(SYNTHETIC)}."
        )
    return by_subject.laws_at_k(study.fits, inputs.k_of(synthetic[0]))


def _synthetic(rows: pd.DataFrame) -> bool:
    return any(name in rows.columns and rows[name].notna().any() for name in SYNTHETIC)


def _names(laws: Sequence[FitResult], runs: pd.DataFrame | None) -> list[str]:
    """The names of the subjects, and whether each is synthetic."""
    kinds = [
        "synthetic" if runs is not None and _synthetic(inputs.members(runs, fit)) else "language model"
        for fit in laws
    ]
    return [
        f"{kind}: {name}" if name else kind
        for kind, name in zip(kinds, by_subject.names(laws, runs), strict=True)
    ]
