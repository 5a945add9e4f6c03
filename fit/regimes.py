"""Fits a table's laws in their two regimes: L(N) and L(N, K) at convergence, L(C) at the best use of compute."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pandas as pd

from fit import tables
from fit.converged import DROP, GROUPS, Converged, converged, groups
from fit.errors import FitError
from fit.fitting import fit_law
from fit.frontier import Frontier, frontier, resampled
from fit.laws import L_C, LAWS, named
from fit.result import FitResult, Point, integral

DRAWS = 200
FLOPS = ("sparse", "dense")


@dataclass(frozen=True)
class Choices:
    """How rows are chosen.

    unconverged: drop, keep or extrapolate. flops: convention of C, sparse or dense. min_flops: C below which the
    frontier is left out. draws: resamplings of runs for the intervals of L(C), seed: of those.
    """

    unconverged: str = DROP
    flops: str = "sparse"
    min_flops: float | None = None
    draws: int = DRAWS
    seed: int = 0


def fit_table(
    runs: pd.DataFrame,
    curves: pd.DataFrame | None = None,
    laws: Sequence[str] | None = None,
    mapping: Mapping[str, str] | None = None,
    where: str | None = None,
    choices: Choices | None = None,
    say: Callable[[str], None] = print,
) -> list[FitResult]:
    """Fits each law to each group of rows: L_N for each k, L_NK, and L_C over the frontier of the curves.

    runs: one row a run, or any table of losses; curves: one row an evaluation, without them L_C uses `runs`.
    laws: default all that the table supports. mapping: our column names to the table's. where: condition on columns.
    A law or group that is skipped is told through `say`. FitError when a law that was asked for, or every law, fails.
    """
    choices = choices or Choices()
    if choices.flops not in FLOPS:
        raise FitError(f"There is no convention {choices.flops!r} of FLOPs: choose sparse or dense.")
    wanted = [named(law).name for law in laws or LAWS]
    runs = tables.where(tables.renamed(runs, mapping or {}), where)
    if curves is not None:
        curves = _belonging(tables.renamed(curves, mapping or {}, partial=True), runs, where)
    results: list[FitResult] = []
    for law in dict.fromkeys(wanted):
        fits, reasons = _fit_groups(law, runs, curves, choices)
        if not fits and laws:
            raise FitError(f"{law} cannot be fitted. {' '.join(dict.fromkeys(reasons))}")
        for reason in dict.fromkeys(reasons):
            say(f"{law} skipped{'' if not fits else ' in part'}: {reason}")
        results += fits
    if not results:
        raise FitError("No law could be fitted to this table: see the reasons above.")
    return results


def _belonging(curves: pd.DataFrame, runs: pd.DataFrame, where: str | None) -> pd.DataFrame:
    """The evaluations of the chosen runs, with the columns that only the runs' table has."""
    if not {"run_id"} <= set(runs.columns) & set(curves.columns):
        return tables.where(curves, where)
    extra = [
        c
        for c in ("state", "k", "n_latents", "lr_schedule", "data_fingerprint", "activation")
        if c in runs.columns
    ]
    extra = [c for c in extra if c not in curves.columns]
    return curves.merge(runs[["run_id", *extra]].drop_duplicates("run_id"), on="run_id", how="inner")


def _fit_groups(
    law: str, runs: pd.DataFrame, curves: pd.DataFrame | None, choices: Choices
) -> tuple[list[FitResult], list[str]]:
    """The fits of one law and, for each group that failed, the reason."""
    fits, reasons = [], []
    try:
        for group, fit in _attempts(law, runs, curves, choices):
            try:
                fits.append(fit())
            except FitError as error:
                name = ", ".join(f"{key}={value}" for key, value in group.items())
                reasons.append(f"{name}: {error}" if name else str(error))
    except FitError as error:
        reasons.append(str(error))
    return fits, reasons


def _attempts(
    law: str, runs: pd.DataFrame, curves: pd.DataFrame | None, choices: Choices
) -> Iterator[tuple[dict[str, Any], Callable[[], FitResult]]]:
    if law == L_C.name:
        for group, part in _curve_groups(runs if curves is None else curves, choices):
            source = "rows of the table" if curves is None else "curves"
            yield (
                group,
                partial(_fit_frontier, part, group, source, choices),
            )
    else:
        for rows in converged(runs, per_k=law == "L_N", unconverged=choices.unconverged):
            yield rows.group, partial(_fit_converged, law, rows)


def _fit_converged(law: str, chosen: Converged) -> FitResult:
    rows = chosen.rows
    if rows.empty:
        reasons = " ".join(chosen.warnings)
        raise FitError(f"None of {chosen.selection['runs']} runs is done and converged. {reasons}".strip())
    x = {name: tables.numbers(rows, name) for name in named(law).inputs}
    result = fit_law(law, x, tables.numbers(rows, "nmse"))
    extra = {"run_id": rows.get("run_id"), "oracle": _known(rows, "nmse_oracle")}
    return replace(
        result,
        regime="converged",
        group=chosen.group,
        selection=chosen.selection,
        points=_extended(result.points, extra),
        warnings=(*chosen.warnings, *result.warnings),
    )


def _known(rows: pd.DataFrame, column: str) -> pd.Series | None:
    """A column of numbers, None where it is absent or empty."""
    if column not in rows.columns or rows[column].isna().all():
        return None
    return pd.Series(tables.numbers(rows, column))


def _extended(points: Sequence[Point], columns: Mapping[str, pd.Series | None]) -> tuple[Point, ...]:
    known = {name: list(values) for name, values in columns.items() if values is not None}
    return tuple(
        {**point, **{name: values[i] for name, values in known.items()}} for i, point in enumerate(points)
    )


def _curve_groups(table: pd.DataFrame, choices: Choices) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Rows with a number, checked; batch, learning rate and n are what the frontier is taken over."""
    flops = f"flops_{choices.flops}"
    tables.require(table, flops, "nmse")
    table = tables.numeric(table, flops, "nmse", "n_latents", "k")
    if {"run_id", "state"} <= set(table.columns) or {"run_id", "step"} <= set(table.columns):
        # Our own tables: pending runs, and the end of a diverged one, have no loss.
        table = table[table["nmse"].notna() & table[flops].notna()]
        if "state" in table.columns and "lr_schedule" in table.columns:
            table = table[(table["state"] == "done") | (table["lr_schedule"] == "constant")]
    if table.empty:
        raise FitError("No run has a loss yet: there is no frontier.")
    tables.positive(table, flops, "nmse")
    yield from groups(table, ["k"], [name for name in GROUPS if name != "batch_tokens"])


def _fit_frontier(part: pd.DataFrame, group: dict[str, Any], source: str, choices: Choices) -> FitResult:
    needed = len(L_C.internal) + 2
    found = frontier(part, f"flops_{choices.flops}", needed, choices.min_flops)
    points = found.points
    # Points of as many different runs are independent measurements; points of a curve are not.
    independent = points["run_id"].is_unique
    replicates = None if independent else resampled(found, choices.draws, choices.seed, needed)
    result = fit_law(L_C, {"flops": points["flops"]}, points["nmse"], replicates=replicates)
    n = points["n_latents"].map(integral) if "n_latents" in points.columns else None
    extra = {"run_id": points["run_id"], "n_latents": n}
    selection = {**found.selection, "source": source, "draws": 0, "seed": choices.seed}
    if replicates is not None:
        selection["draws"] = len(replicates.loss)
    return replace(
        result,
        regime="compute",
        group=group,
        flops=choices.flops,
        selection=selection,
        points=_extended(result.points, extra),
        warnings=(*found.warnings, *_few(found), *result.warnings),
    )


def _few(found: Frontier) -> list[str]:
    on = found.selection["runs_on_frontier"]
    if on >= 5:
        return []
    return [
        f"Only {on} of {found.selection['runs']} runs touch the frontier: the intervals over runs rest on them alone."
    ]
