"""Reads the inputs of a figure from the tables and the fits, and says in one line what is missing."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from fit.data import tables
from fit.data.budgets import shared_budgets
from fit.data.flops import with_column
from fit.law.errors import FitError
from fit.law.result import FitResult
from fit.study.study_tables import StudyTables


class Missing(FitError):
    """The data of a figure is missing; the text says which columns, runs or law it needs."""


def loss_label(study: StudyTables, converged: bool = False) -> str:
    """The label of an axis of losses: normalized MSE, or the table's own name of the loss, where it was mapped."""
    name = study.mapping.get("nmse", "normalized MSE")
    return f"converged {name}" if converged else name


def columns(table: pd.DataFrame | None, name: str, *wanted: str) -> pd.DataFrame:
    """The rows that have a number in every wanted column, as floats, and a run_id. Raises Missing if there are none.

    In a table without run_id the rows of each n_latents are one curve, as in the fit of L(C), except in an isoFLOP
    table, whose rows are runs of their own.
    """
    if table is None:
        raise Missing(f"it needs the table {name} with the columns {', '.join(wanted)}.")
    flops = next((column for column in wanted if column.startswith("flops_")), "")
    table = with_column(table, flops)
    absent = [column for column in wanted if column not in table.columns]
    if absent:
        raise Missing(f"it needs the columns {', '.join(absent)} in the table {name}.")
    known = table.assign(**{column: tables.numbers(table, column) for column in wanted})
    known = known.dropna(subset=list(wanted))
    if known.empty:
        raise Missing(
            f"it needs rows of the table {name} with numbers in {', '.join(wanted)}; there are none."
        )
    if "run_id" in known.columns:
        return known
    if shared_budgets(known, flops) is not None:
        return known.assign(run_id=[f"row {i}" for i in known.index])
    return known.assign(run_id=known["n_latents"].map("n={:g}".format))


def laws(fits: Sequence[FitResult], law: str) -> list[FitResult]:
    """Every fit of one law that has a curve to draw; Missing if there is none."""
    of_law = [fit for fit in fits if fit.law == law and fit.curve]
    if not of_law:
        raise Missing(f"it needs a fit of the law {law}: run `saescale fit TABLE --law {law}` first.")
    return of_law


def k_of(fit: FitResult) -> Any:
    """The k of a fit's group, None if the group has none."""
    return fit.group.get("k")


def finished(runs: pd.DataFrame | None, *wanted: str) -> pd.DataFrame:
    """`columns` of the runs that are done; of all runs in a table without state."""
    known = columns(runs, "runs", *wanted)
    if "state" in known.columns:
        known = known[(known["state"] == "done").to_numpy(dtype=bool, na_value=False)]
    if known.empty:
        raise Missing(f"it needs runs that are done with {', '.join(wanted)}; there are none.")
    return known


def lowest(rows: pd.DataFrame, cell: Sequence[str]) -> pd.DataFrame:
    """The row with the lowest nmse in each cell, for example over lr and seeds."""
    return rows.sort_values("nmse", kind="stable").drop_duplicates(list(cell)).sort_values(list(cell))


def named(group: Mapping[str, Any], rows: pd.DataFrame) -> dict[str, Any]:
    """The group under names that a reader knows: model and layer, or data set, instead of a fingerprint."""
    if "data_fingerprint" not in group:
        return dict(group)
    known = {
        key: rows[key].iloc[0]
        for key in ("model", "layer", "data")
        if key in rows.columns and rows[key].notna().all() and rows[key].nunique() == 1
    }
    if "model" in known:
        known.pop("data", None)
    rest = {key: value for key, value in group.items() if key not in ("data_fingerprint", "d_model")}
    return {**rest, **known} if known else dict(group)


def members(table: pd.DataFrame, fit: FitResult, runs: pd.DataFrame | None = None) -> pd.DataFrame:
    """The rows of a table that belong to the fit's group; columns that only `runs` has are looked up by run_id."""
    for key, value in fit.group.items():
        if value is None:
            continue
        if key in table.columns:
            table = table[_equal(table, key, value)]
        elif runs is not None and {"run_id", key} <= set(runs.columns):
            table = table[table["run_id"].isin(runs.loc[_equal(runs, key, value), "run_id"])]
    return table


def _equal(table: pd.DataFrame, key: str, value: Any) -> Any:
    """Flags of the rows that have this value; in a file, a number can be 32, 32.0 or text."""
    return (tables.numbers(table, key) if isinstance(value, int | float) else table[key]) == value
