"""L(N) of synthetic data, and that of language models if there is any (Gao et al. 2024, Fig. 31)."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from fit.law.result import FitResult
from fit.study.study_tables import StudyTables
from fit.views.figures import by_subject
from fit.views.figures.shared import axes as scales
from fit.views.figures.shared import inputs, one_panel, series
from fit.views.figures.shared import style as styles

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


def draw(table: pd.DataFrame, study: StudyTables, style: str = "paper") -> Figure:
    """The figure of a table made by `numbers`; parameters and their intervals come from the fits."""
    names, laws = list(dict.fromkeys(table["panel"])), by_subject.laws_at_k(study.fits, table["k"].iloc[0])
    with styles.applied(style) as look:
        figure, ax = one_panel.draw(table, laws, names, look)
        ax.set_title("" if pd.isna(table["k"].iloc[0]) else f"k = {table['k'].iloc[0]:g}", loc="left")
        scales.nmse(ax, one_panel.readable(table))
        ax.set_ylabel(inputs.loss_label(study, converged=True))
    return figure


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
