"""Fits a study's tables, every law to its rows: L(N) and L(N, K) at convergence, L(C) at the best use of compute."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

from fit import tables
from fit.choices import FLOPS, Choices
from fit.compute_regime import curve_groups, fit_frontier
from fit.converged import GROUPS, Converged, converged, groups
from fit.converged_regime import fit_budgets, fit_converged, fit_lr, fit_tokens
from fit.errors import FitError
from fit.law import Law
from fit.laws import L_C, L_N, L_NK, LR_N, T_N, named
from fit.regimes import Regimes, compare
from fit.result import FitResult

# What is fitted where no law is asked for; L_C then brings N_C, D_C and LR_C with it.
DEFAULT = (L_C.name, L_N.name, L_NK.name, T_N.name, LR_N.name)


@dataclass(frozen=True)
class Study:
    """The fits of a study, and L(C) against L(N) where the tables have both regimes."""

    fits: tuple[FitResult, ...]
    regimes: Regimes | None


Attempt = tuple[dict[str, Any], Callable[[], list[FitResult]]]


def fit_study(
    runs: pd.DataFrame,
    curves: pd.DataFrame | None = None,
    laws: Sequence[str] | None = None,
    mapping: Mapping[str, str] | None = None,
    where: str | None = None,
    choices: Choices | None = None,
    say: Callable[[str], None] = print,
) -> Study:
    """`fit_table`, and the two regimes against each other where both were fitted. Arguments and errors as there."""
    choices = choices or Choices()
    fits = fit_table(runs, curves, laws, mapping, where, choices, say)
    if not {"compute", "converged"} <= {fit.regime for fit in fits if fit.response == "nmse"}:
        return Study(tuple(fits), None)
    return Study(tuple(fits), compare(*prepared(runs, curves, mapping, where), fits, choices))


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
    laws: default `DEFAULT`, as far as the table supports them. mapping: our column names to the table's. where:
    condition on columns. A law or group that is skipped is told through `say`. FitError when a law that was asked for,
    or every law, fails.
    """
    choices = choices or Choices()
    if choices.flops not in FLOPS:
        raise FitError(f"There is no convention {choices.flops!r} of FLOPs: choose sparse or dense.")
    wanted = [named(law) for law in dict.fromkeys(laws or DEFAULT)]
    runs, curves = prepared(runs, curves, mapping, where)
    results: list[FitResult] = []
    for law in wanted:
        fits, reasons = _fit_groups(law, runs, curves, choices, say)
        if not fits and laws:
            raise FitError(f"{law.name} cannot be fitted. {' '.join(dict.fromkeys(reasons))}")
        for reason in dict.fromkeys(reasons):
            say(f"{law.name} skipped{'' if not fits else ' in part'}: {reason}")
        results += [fit for fit in fits if not laws or fit.law == law.name]
    if not results:
        raise FitError("No law could be fitted to this table: see the reasons above.")
    return results


def prepared(
    runs: pd.DataFrame, curves: pd.DataFrame | None, mapping: Mapping[str, str] | None, where: str | None
) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """The runs under our column names where the condition holds, and the curves that belong to them."""
    runs = tables.where(tables.renamed(runs, mapping or {}), where)
    if curves is None:
        return runs, None
    return runs, _belonging(tables.renamed(curves, mapping or {}, partial=True), runs, where)


def _belonging(curves: pd.DataFrame, runs: pd.DataFrame, where: str | None) -> pd.DataFrame:
    """The evaluations of the chosen runs, with the columns that only the runs' table has."""
    if not {"run_id"} <= set(runs.columns) & set(curves.columns):
        return tables.where(curves, where)
    extra = [
        c
        for c in (
            "state",
            "k",
            "n_latents",
            "lr",
            "lr_schedule",
            "batch_tokens",
            "data_fingerprint",
            "activation",
        )
        if c in runs.columns and c not in curves.columns
    ]
    return curves.merge(runs[["run_id", *extra]].drop_duplicates("run_id"), on="run_id", how="inner")


def _fit_groups(
    law: Law, runs: pd.DataFrame, curves: pd.DataFrame | None, choices: Choices, say: Callable[[str], None]
) -> tuple[list[FitResult], list[str]]:
    """The fits of one law and the reasons for which groups failed, each with its groups."""
    fits: list[FitResult] = []
    reasons: dict[str, list[str]] = {}
    try:
        for group, fit in _attempts(law, runs, curves, choices, say):
            try:
                fits += fit()
            except FitError as error:
                name = ", ".join(f"{key}={value}" for key, value in group.items())
                reasons.setdefault(str(error), []).append(name)
    except FitError as error:
        reasons.setdefault(str(error), []).append("")
    return fits, [_reason("; ".join(filter(None, names)), text) for text, names in reasons.items()]


def _reason(groups: str, text: str) -> str:
    return f"{groups}: {text}" if groups else text


def _attempts(
    law: Law, runs: pd.DataFrame, curves: pd.DataFrame | None, choices: Choices, say: Callable[[str], None]
) -> Iterator[Attempt]:
    """For each group of rows what they have in common, and how its fits are made."""
    if "flops" in law.inputs:
        source = "rows of the table" if curves is None else "curves"
        for group, part in curve_groups(runs if curves is None else curves, choices):
            yield group, partial(fit_frontier, law, part, group, source, choices, say)
    elif "tokens" in law.inputs:
        for group, part in _budget_groups(law, runs if curves is None else curves):
            yield group, partial(fit_budgets, law, part, group, choices)
    elif law.name == LR_N.name:
        for group, part in groups(runs, ["k"], GROUPS):
            yield group, partial(fit_lr, part, group, choices)
    elif law.name == T_N.name:
        for rows in _at_convergence(law, runs, choices):
            yield rows.group, partial(fit_tokens, rows, curves, choices)
    else:
        for rows in _at_convergence(law, runs, choices):
            yield rows.group, partial(fit_converged, law, rows, choices)


def _at_convergence(law: Law, runs: pd.DataFrame, choices: Choices) -> Iterator[Converged]:
    return converged(runs, per_k="k" not in law.inputs, unconverged=choices.unconverged)


def _budget_groups(law: Law, table: pd.DataFrame) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Evaluations of done and running runs alike, one group a k unless k is an input."""
    tables.require(table, *law.inputs, law.response)
    table = tables.numeric(table, *law.inputs, law.response)
    yield from groups(table, [] if "k" in law.inputs else ["k"], GROUPS)
