"""Fits each law to its rows of a study's tables: L(N) and L(N, K) at convergence, L(C) at the compute optimum."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import pandas as pd

from fit.compute.fit import CurveGroup, curve_groups, fit_frontier
from fit.converged.fit import fit_budgets, fit_converged, fit_lr, fit_tokens
from fit.converged.lr_budgets import fit_lr_budgets
from fit.converged.runs import converged
from fit.data import tables
from fit.data.curves import decays
from fit.data.flops import with_compute
from fit.data.groups import GROUPS, Split, groups, split
from fit.data.training_runs import with_run_ids
from fit.law.errors import FitError, SkippedLaw
from fit.law.law import Law, RowSource
from fit.law.laws import named
from fit.law.options import DEFAULT_LAWS, FLOPS, NONE, FitOptions
from fit.law.result import FitResult
from fit.regimes.agreement import with_disagreements
from fit.regimes.compare import Regimes, compare
from fit.study.row_counts import Origin
from fit.study.study_tables import RawTables

# Columns that change along a curve.
ALONG_CURVES = frozenset({"tokens", "flops", *(f"flops_{name}" for name in FLOPS), "nmse", "step"})


def _unsaid(step: str) -> None:
    """What is told of each step where nobody waits."""


@dataclass(frozen=True)
class Study:
    """The fits of a study, and L(C) compared with L(N) if the tables have both regimes."""

    fits: tuple[FitResult, ...]
    regimes: Regimes | None


@dataclass(frozen=True)
class Attempt:
    """A group of rows: the values that they share, a function that makes its fits, and where its rows come from."""

    group: dict[str, Any]
    fit: Callable[[], list[FitResult]]
    origin: Origin
    rows: int


def fit_study(
    runs: pd.DataFrame,
    curves: pd.DataFrame | None = None,
    laws: Sequence[str] | None = None,
    mapping: Mapping[str, str] | None = None,
    where: str | None = None,
    options: FitOptions | None = None,
    say: Callable[[str], None] = print,
    as_read: RawTables | None = None,
    also: Sequence[str] = (),
    at: Callable[[str], None] = _unsaid,
) -> Study:
    """Like `fit_table`, with a comparison of the two regimes if both were fitted; same arguments and errors.

    The default laws are also compared where no run converged, if L(C) can be compared between batch sizes.
    at: called with the name of each step when it begins, as `L_N, k=16`.
    """
    options = options or FitOptions()
    source = prepared(runs, curves, mapping, where, options, say, as_read)
    fits = _fit_all(source, laws, say, also, at)
    # Four n give no L(N), which has three parameters, but tokens to convergence and best lr to compare.
    regimes = {fit.regime for fit in fits}
    curves_of_batches = source.curves is not None and _several_batches(source.curves)
    if "compute" not in regimes or "converged" not in regimes and (laws or not curves_of_batches):
        return Study(tuple(fits), None)
    at("L(C) against L(N)")
    return Study(tuple(fits), compare(source.runs, source.curves, fits, options, source.curve_groups))


def fit_table(
    runs: pd.DataFrame,
    curves: pd.DataFrame | None = None,
    laws: Sequence[str] | None = None,
    mapping: Mapping[str, str] | None = None,
    where: str | None = None,
    options: FitOptions | None = None,
    say: Callable[[str], None] = print,
    as_read: RawTables | None = None,
    also: Sequence[str] = (),
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
    as_read : the tables under our column names before a condition chose the rows given, so that each fit can count
        what was left out.
    also : names of laws to fit in addition to `laws`, or to the default ones.

    Raises
    ------
    FitError
        If no law could be fitted, or a column or law is unknown.
    """
    source = prepared(runs, curves, mapping, where, options or FitOptions(), say, as_read)
    return _fit_all(source, laws, say, also)


@dataclass(frozen=True)
class Source:
    """The tables of a study that the laws are fitted to, how many rows they had before, and the options of the fit."""

    runs: pd.DataFrame
    curves: pd.DataFrame | None
    options: FitOptions
    as_read: RawTables
    where: str | None

    def with_inputs(self, names: Sequence[str]) -> "Source":
        """The source whose evaluations have these columns too, of their run where only the table of runs has them.

        What rises along a curve is never taken from the run's row, which has its value at the end.
        """
        runs, curves = self.as_read.runs, self.curves
        if curves is None or not {"run_id"} <= set(curves.columns) & set(runs.columns):
            return self
        of_runs = [
            name
            for name in dict.fromkeys(names)
            if name in runs.columns and name not in curves.columns and name not in ALONG_CURVES
        ]
        if not of_runs:
            return self
        one_each = runs[["run_id", *of_runs]].drop_duplicates("run_id")
        return replace(self, curves=curves.merge(one_each, on="run_id", how="left"))

    @cached_property
    def curve_groups(self) -> list[CurveGroup]:
        """The groups of L(C), shared by its laws and by the comparison of the regimes."""
        table, name = (self.runs, "rows of the table") if self.curves is None else (self.curves, "curves")
        return list(curve_groups(with_run_ids(table, f"flops_{self.options.flops}"), self.options, name))

    @property
    def of_runs(self) -> Origin:
        """The rows of the table of runs."""
        return Origin("rows of the table", len(self.as_read.runs), len(self.runs), self.where)

    @property
    def of_curves(self) -> Origin:
        """The evaluations, or the rows of the table of runs where there are none."""
        if self.curves is None or self.as_read.curves is None:
            return self.of_runs
        return Origin("evaluations", len(self.as_read.curves), len(self.curves), self.where)


def _fit_all(
    source: Source,
    laws: Sequence[str] | None,
    say: Callable[[str], None],
    also: Sequence[str] = (),
    at: Callable[[str], None] = _unsaid,
) -> list[FitResult]:
    """Fit every law that was asked for, by default `DEFAULT_LAWS`."""
    flops = source.options.flops
    if flops not in FLOPS:
        raise FitError(f"There is no convention {flops!r} of FLOPs: choose sparse or dense.")
    wanted = [_check_has_rows(named(law)) for law in dict.fromkeys([*(laws or DEFAULT_LAWS), *also])]
    source = source.with_inputs([name for law in wanted for name in law.inputs])
    results: list[FitResult] = []
    failed: list[str] = []
    skipped: list[SkippedLaw] = []
    for law in wanted:
        fits, reasons = _fit_groups(law, source, laws is None, say, at)
        results += fits
        if laws and not fits:
            why = " ".join(_reason(names, text) for text, names in reasons.items())
            failed.append(f"{law.name} cannot be fitted. {why}")
            continue
        for text, names in reasons.items():
            sentence = f"{law.name} skipped{'' if not fits else ' in part'}: {_reason(names, text)}"
            skipped.append(SkippedLaw(sentence, law.name, names if fits else ()))
    if not results:
        lines = "\n".join(["No law could be fitted to this table.", *dict.fromkeys(skipped)])
        raise FitError(" ".join(failed) or lines)
    for sentence in (*skipped, *failed):
        say(sentence)
    name = source.as_read.loss_name
    results = [replace(fit, loss_name=name) if fit.response == "nmse" else fit for fit in results]
    return with_disagreements(results)


def _several_batches(curves: pd.DataFrame) -> bool:
    return (
        "batch_tokens" in curves.columns
        and tables.numeric(curves, "batch_tokens")["batch_tokens"].nunique() > 1
    )


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
    options: FitOptions,
    say: Callable[[str], None],
    as_read: RawTables | None = None,
) -> Source:
    """The runs that meet the condition, with our column names, and the evaluations that belong to them."""
    raw = RawTables(_unique(runs), None if curves is None else _unique(curves))
    usual = tables.usual(raw.runs, mapping or {})
    names = {**usual.mapping, **(mapping or {})}
    if raw.curves is not None:
        names = {**tables.usual(raw.curves, names).mapping, **names}
    for note in replace(usual, mapping={k: v for k, v in names.items() if k not in (mapping or {})}).notes:
        say(note)
    named = raw.named(names)
    chosen, every = named.chosen(where), as_read or named
    for note in named.notes:
        say(note)
    if about := every.about_condition(chosen, where):
        say(about)
    evaluations = None if chosen.curves is None else _with_columns_of_runs(chosen.curves, every.runs)
    _check_columns(chosen.runs, evaluations, options)
    return Source(chosen.runs, evaluations, options, every, where or every.condition)


def _check_columns(runs: pd.DataFrame, curves: pd.DataFrame | None, options: FitOptions) -> None:
    """Refuse a column that an option names and no table has: a law that does not need it would be fitted without."""
    asked = {"--weights": options.weights, "--cluster": options.cluster}
    named = [(option, name) for option, name in asked.items() if name not in (None, NONE)]
    named += [("--group", name) for name in options.group or ()]
    for option, name in named:
        if curves is None or name not in curves.columns:
            tables.require(runs, str(name), option=option)


def _unique(table: pd.DataFrame) -> pd.DataFrame:
    """A copy with labels that name one row each, as two tables that were joined may not have."""
    return table.copy(deep=False) if table.index.is_unique else table.reset_index(drop=True)


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
            "parametrization",
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
    law: Law, source: Source, with_optima: bool, say: Callable[[str], None], at: Callable[[str], None]
) -> tuple[list[FitResult], dict[str, list[str]]]:
    """The fits of one law, and the groups that failed, by the reason."""
    fits: list[FitResult] = []
    reasons: dict[str, list[str]] = {}
    try:
        for attempt in _attempts(law, source, with_optima, say):
            name = ", ".join(f"{key}={value}" for key, value in attempt.group.items())
            at(", ".join(filter(None, [law.name, name])))
            try:
                fits += [attempt.origin.counted(fit, attempt.rows) for fit in attempt.fit()]
            except FitError as error:
                reasons.setdefault(str(error), []).append(name)
    except FitError as error:
        reasons.setdefault(str(error), []).append("")
    return fits, reasons


def _reason(names: Sequence[str], text: str) -> str:
    named = "; ".join(filter(None, names))
    return f"{named}: {text}" if named else text


def _attempts(law: Law, source: Source, with_optima: bool, say: Callable[[str], None]) -> Iterator[Attempt]:
    """The groups of rows that a law is fitted to."""
    runs, curves, options = source.runs, source.curves, source.options
    match law.rows:
        case RowSource.FRONTIER | RowSource.OPTIMUM:
            parts = source.curve_groups
            usable = sum(len(part.rows) for part in parts)
            for part in parts:
                by = tuple(part.group)
                origin = replace(source.of_curves, usable=usable, split=Split(by, part.following))
                yield Attempt(
                    part.group, partial(fit_frontier, law, part, with_optima, say), origin, len(part.rows)
                )
        case RowSource.BUDGETS:
            table = runs if curves is None else curves
            compute = with_compute(table, options.flops) if "flops" in law.inputs else None
            if compute is not None:
                table = compute.table.assign(flops=compute.table[compute.column])
            tables.require(table, *law.inputs, law.response)
            table = tables.numeric(table, *law.inputs, law.response)
            split_by = split(table, ["k"], GROUPS, law.inputs, options.group)
            origin = replace(source.of_curves, split=split_by)
            for group, rows in groups(table, ["k"], GROUPS, law.inputs, options.group):
                fit = partial(fit_budgets, law, rows, group, options, compute)
                yield Attempt(group, partial(_cautioned, fit, split_by), origin, len(rows))
        case RowSource.LR:
            split_by = split(_some(runs, source), ["k"], GROUPS, asked=options.group)
            origin = replace(source.of_runs, split=split_by)
            for group, rows in groups(runs, ["k"], GROUPS, asked=options.group):
                fit = partial(fit_lr, law, rows, group, options, curves)
                yield Attempt(group, partial(_cautioned, fit, split_by), origin, len(rows))
        case RowSource.LR_BUDGETS:
            table = runs if curves is None else curves
            tables.require(table, "lr", "nmse", *law.inputs)
            table = tables.numeric(table, *law.inputs, "lr", "nmse")
            split_by = split(table, ["k"], GROUPS, law.inputs, options.group)
            origin = replace(source.of_curves, split=split_by)
            for group, rows in groups(table, ["k"], GROUPS, law.inputs, options.group):
                fit = partial(fit_lr_budgets, law, rows, group, options)
                yield Attempt(group, partial(_cautioned, fit, split_by), origin, len(rows))
        case _:
            usable_runs = _some(runs, source)
            for chosen in converged(usable_runs, law.inputs, options.unconverged, options.group, curves):
                origin = replace(source.of_runs, split=chosen.split)
                tokens = law.rows is RowSource.TOKENS
                fit = (
                    partial(fit_tokens, law, chosen, curves, options)
                    if tokens
                    else partial(fit_converged, law, chosen, curves, options)
                )
                yield Attempt(chosen.group, fit, origin, chosen.selection.runs)


def _cautioned(fit: Callable[[], list[FitResult]], split_by: Split) -> list[FitResult]:
    return [result.with_cautions(before=split_by.cautions) for result in fit()]


def _some(runs: pd.DataFrame, source: Source) -> pd.DataFrame:
    """The runs; FitError if a condition on evaluations left none of them."""
    if runs.empty:
        if source.where is None:
            raise FitError("The table has no rows.")
        raise FitError(f"No run has {source.where} in its own row: only the laws of curves have rows here.")
    return runs
