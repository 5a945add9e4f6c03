"""Fits each law to its rows of a study's tables: L(N) and L(N, K) at convergence, L(C) at the compute optimum."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import pandas as pd

from fit.compute.fit import CurveGroup, curve_groups, fit_frontier
from fit.converged.fit import fit_budgets, fit_converged, fit_lr, fit_tokens
from fit.converged.runs import GROUPS, converged, groups
from fit.data import tables
from fit.data.curves import decays
from fit.law.errors import FitError
from fit.law.law import Law, RowSource
from fit.law.laws import named
from fit.law.options import DEFAULT_LAWS, FLOPS, FitOptions
from fit.law.result import FitResult
from fit.regimes.agreement import with_disagreements
from fit.regimes.compare import Regimes, compare
from fit.study.study_tables import RawTables


@dataclass(frozen=True)
class Study:
    """The fits of a study, and L(C) compared with L(N) if the tables have both regimes."""

    fits: tuple[FitResult, ...]
    regimes: Regimes | None


Attempt = tuple[dict[str, Any], Callable[[], list[FitResult]]]


def fit_study(
    runs: pd.DataFrame,
    curves: pd.DataFrame | None = None,
    laws: Sequence[str] | None = None,
    mapping: Mapping[str, str] | None = None,
    where: str | None = None,
    options: FitOptions | None = None,
    say: Callable[[str], None] = print,
) -> Study:
    """Like `fit_table`, with a comparison of the two regimes if both were fitted; same arguments and errors."""
    options = options or FitOptions()
    source = Source(*prepared(runs, curves, mapping, where, say), options)
    fits = _fit_all(source, laws, say)
    if not {"compute", "converged"} <= {fit.regime for fit in fits if fit.response == "nmse"}:
        return Study(tuple(fits), None)
    return Study(tuple(fits), compare(source.runs, source.curves, fits, options, source.curve_groups))


def fit_table(
    runs: pd.DataFrame,
    curves: pd.DataFrame | None = None,
    laws: Sequence[str] | None = None,
    mapping: Mapping[str, str] | None = None,
    where: str | None = None,
    options: FitOptions | None = None,
    say: Callable[[str], None] = print,
) -> list[FitResult]:
    """Fit each law to each group of rows: L_N for each k, L_NK, and L_C over the frontier of the curves.

    Parameters
    ----------
    runs : one row for each run, or any table of losses.
    curves : one row for each evaluation; without them L_C is fitted to `runs`.
    laws : names of laws; default `DEFAULT_LAWS`, as far as the table supports them.
    mapping : our column names to the table's.
    where : a condition on columns that selects rows, such as "k == 32".
    options : how the laws are fitted.
    say : called with a sentence for each law and group that is skipped.

    Raises
    ------
    FitError
        If no law could be fitted, or a column or law is unknown.
    """
    return _fit_all(Source(*prepared(runs, curves, mapping, where, say), options or FitOptions()), laws, say)


@dataclass(frozen=True)
class Source:
    """The tables of a study, as `prepared` returns them, and the options of the fit."""

    runs: pd.DataFrame
    curves: pd.DataFrame | None
    options: FitOptions

    @cached_property
    def curve_groups(self) -> list[CurveGroup]:
        """The groups of L(C), shared by its laws and by the comparison of the regimes."""
        table, name = (self.runs, "rows of the table") if self.curves is None else (self.curves, "curves")
        return list(curve_groups(table, self.options, name))


def _fit_all(source: Source, laws: Sequence[str] | None, say: Callable[[str], None]) -> list[FitResult]:
    """Fit every law that was asked for, by default `DEFAULT_LAWS`."""
    flops = source.options.flops
    if flops not in FLOPS:
        raise FitError(f"There is no convention {flops!r} of FLOPs: choose sparse or dense.")
    wanted = [_check_has_rows(named(law)) for law in dict.fromkeys(laws or DEFAULT_LAWS)]
    results: list[FitResult] = []
    failed: list[str] = []
    for law in wanted:
        fits, reasons = _fit_groups(law, source, laws is None, say)
        results += fits
        if laws and not fits:
            failed.append(f"{law.name} cannot be fitted. {' '.join(reasons)}")
            continue
        for reason in reasons:
            say(f"{law.name} skipped{'' if not fits else ' in part'}: {reason}")
    if not results:
        raise FitError(" ".join(failed) or "No law could be fitted to this table: see the reasons above.")
    for sentence in failed:
        say(sentence)
    return with_disagreements(results)


def _check_has_rows(law: Law) -> Law:
    if law.rows is RowSource.NONE:
        raise FitError(
            f"{law.name} takes the optima of both regimes, which no table has as a column: fit L_C and L_N together, "
            "and the lr ratio stands below them; in Python, `fit_law`."
        )
    return law


def prepared(
    runs: pd.DataFrame,
    curves: pd.DataFrame | None,
    mapping: Mapping[str, str] | None,
    where: str | None,
    say: Callable[[str], None] = print,
) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """The runs that meet the condition, with our column names, and the curves that belong to them."""
    chosen = RawTables(runs, curves).select(mapping or {}, where)
    for note in chosen.notes:
        say(note)
    return chosen.runs, None if chosen.curves is None else _with_columns_of_runs(chosen.curves, chosen.runs)


def _with_columns_of_runs(curves: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """The evaluations, with the columns added that only the table of runs has."""
    if not {"run_id"} <= set(runs.columns) & set(curves.columns):
        return curves
    _refuse_conflict(curves, runs)
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


def _refuse_conflict(curves: pd.DataFrame, runs: pd.DataFrame) -> None:
    """Raise FitError if a run has two different schedules in the two tables: which points count depends on it."""
    if not {"lr_schedule"} <= set(runs.columns) & set(curves.columns):
        return
    both = curves[["run_id", "lr_schedule"]].merge(runs[["run_id", "lr_schedule"]], on="run_id")
    one, other = (decays(both[[f"lr_schedule_{side}"]].set_axis(["lr_schedule"], axis=1)) for side in "xy")
    apart = both[one != other].drop_duplicates("run_id")
    if len(apart):
        run, in_curve, in_runs = apart.iloc[0]
        raise FitError(
            f"{len(apart)} runs have another lr_schedule in the curves, as {run} ({in_curve}, and {in_runs} in the "
            "table of runs): only the end of a run whose lr decays counts, so correct one."
        )


def _fit_groups(
    law: Law, source: Source, with_optima: bool, say: Callable[[str], None]
) -> tuple[list[FitResult], list[str]]:
    """The fits of one law, and for every reason why groups failed a sentence that names these groups."""
    fits: list[FitResult] = []
    reasons: dict[str, list[str]] = {}
    try:
        for group, fit in _attempts(law, source, with_optima, say):
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


def _attempts(law: Law, source: Source, with_optima: bool, say: Callable[[str], None]) -> Iterator[Attempt]:
    """For each group of rows, the values that its rows share and a function that makes its fits."""
    runs, curves, options = source.runs, source.curves, source.options
    match law.rows:
        case RowSource.FRONTIER | RowSource.OPTIMUM:
            for part in source.curve_groups:
                yield part.group, partial(fit_frontier, law, part, with_optima, say)
        case RowSource.BUDGETS:
            for group, rows in _budget_groups(law, runs if curves is None else curves):
                yield group, partial(fit_budgets, law, rows, group, options)
        case RowSource.LR:
            for group, rows in groups(runs, ["k"], GROUPS):
                yield group, partial(fit_lr, law, rows, group, options)
        case RowSource.TOKENS:
            for chosen in converged(runs, law.inputs, options.unconverged):
                yield chosen.group, partial(fit_tokens, law, chosen, curves, options)
        case _:
            for chosen in converged(runs, law.inputs, options.unconverged):
                yield chosen.group, partial(fit_converged, law, chosen, curves, options)


def _budget_groups(law: Law, table: pd.DataFrame) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """The evaluations of finished and running runs, one group per k unless k is an input."""
    tables.require(table, *law.inputs, law.response)
    table = tables.numeric(table, *law.inputs, law.response)
    yield from groups(table, ["k"], GROUPS, law.inputs)
