"""L(N), L(N, K), T(n) and lr*(n) of one group of converged runs, and L(N, D) of their curves."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from fit.converged.budget_rows import budget_rows
from fit.converged.error_weights import error_weights
from fit.converged.lr import comparable, lr_optima
from fit.converged.runs import Converged
from fit.converged.tails import LIMIT, loss_column, shared_errors
from fit.converged.tokens import to_convergence
from fit.data import tables
from fit.data.correlation import correlated_rows, correlated_within
from fit.data.flops import Compute
from fit.data.noise import noise_of_evaluations, noise_of_runs
from fit.data.training_runs import PROGRESS, TrainingRuns, names_sizes, training_runs
from fit.law.caution import Caution, Kind, texts
from fit.law.diagnostics import all_unfinished
from fit.law.errors import FitError
from fit.law.fit import fit_law
from fit.law.json_values import integral
from fit.law.law import Array, Law
from fit.law.losses import objective
from fit.law.options import PROFILE, FitOptions
from fit.law.result import Extra, FitResult, PaperExponent
from fit.law.selection import BudgetSelection, LeftOut, LrSelection, RowsUsed

# Tokens to convergence of GPT-2 small and of GPT-4 (Gao et al. 2024, Fig. 11).
PAPER_G = (0.60, 0.65)
# Columns of the run that represents a point.
OF_RUN = ("run_id", "lr", "batch_tokens", "seed", "tokens")
# Columns of a run that was extrapolated.
OF_LIMIT = ("extrapolated", "nmse_inf_low", "nmse_inf_high")


def fit_converged(
    law: Law, chosen: Converged, curves: pd.DataFrame | None, options: FitOptions
) -> list[FitResult]:
    """Fit the law at convergence. Extrapolated losses are weighted by their errors. curves: may show the noise.

    The intervals hold what all runs may still fall together, whether they converged or were extrapolated.
    """
    rows = _some(chosen)
    x, y = {name: tables.numbers(rows, name) for name in law.inputs}, tables.numbers(rows, law.response)
    weights = _weights(rows, options)
    shared = None
    if "shared_low" in rows.columns:
        shared = shared_errors(tables.numbers(rows, "shared_low"), tables.numbers(rows, "shared_high"), x)
    if "relative_error" in rows.columns:
        own = tables.numbers(rows, "relative_error")
        weights = error_weights(law, x, y, own, objective(options.objective), weights)
    runs = training_runs(rows, law.inputs, law.response, options.cluster)
    noise = noise_of_runs(rows, chosen.every, curves) if law.response == "nmse" else None
    how = {"weights": weights, "noise": noise, "shared": shared}
    result, runs, correlated = _independent(law, rows, runs, options, x, y, how)
    of_run = {name: rows.get(name) for name in (*OF_RUN, *OF_LIMIT)}
    result = result.with_runs({**of_run, "oracle": _known(rows, "nmse_oracle")})
    result = replace(result, rows_used=_rows_used(chosen, runs))
    cautions = [*_repeated(rows, law, options), *correlated]
    if "extrapolated" in rows.columns and rows["extrapolated"].all() and not _any_converged(rows):
        cautions.append(all_unfinished(len(rows)))
    return [_with_selection(chosen, result.with_cautions(before=cautions))]


def _any_converged(rows: pd.DataFrame) -> bool:
    """Whether a run that is at its predicted L∞ had also converged when it stopped."""
    return "converged" in rows.columns and bool(tables.truths(rows, "converged")[0].any())


def _independent(
    law: Law,
    rows: pd.DataFrame,
    runs: TrainingRuns,
    options: FitOptions,
    x: Mapping[str, Array],
    y: Array,
    how: Mapping[str, Any],
) -> tuple[FitResult, TrainingRuns, list[Caution]]:
    """The fit, with runs whose rows are independent of those of other runs as far as the table shows it.

    Where each row was taken for a run and residuals are correlated within the values of a column that names runs, these
    are the runs of a second fit, if its parameters then have intervals and the column does not just name sizes; a
    caution says so, or else what the intervals lack.

    Parameters
    ----------
    law, rows, x, y : what is fitted to what.
    runs : what was taken as one run.
    options : of the fit.
    how : further arguments of `fit_law`.
    """
    cluster = None if runs.of_row is None else runs.of_row[rows.index]
    result = fit_law(law, x, y, cluster=cluster, **how, **options.of_law)
    if cluster is not None or result.estimate is None:
        return result, runs, []
    within = correlated_within(rows, law.inputs, result.estimate.residuals())
    if within is None:
        return result, runs, []
    fixed = [name for name in law.inputs if name not in (PROGRESS, "k")]
    of_sizes = names_sizes(rows, within.column, fixed)
    if options.cluster is None and options.intervals != PROFILE and not of_sizes:
        by_run = within.training_runs(rows)
        again = fit_law(law, x, y, cluster=by_run.of_row, **how, **options.of_law)
        if any(param.low is not None for param in again.params.values()):
            return again, by_run, [within.caution(clustered=True)]
    refuted = result.lack_of_fit is not None and result.lack_of_fit.refuted
    return result, runs, [within.caution(clustered=False, refuted=refuted)]


def fit_tokens(
    law: Law, chosen: Converged, curves: pd.DataFrame | None, options: FitOptions
) -> list[FitResult]:
    """Fit T(n) to the runs that L(N) is fitted to. The intervals hold the error of L∞ that these runs share."""
    rows, rule = to_convergence(_some(chosen), curves)
    left = len(chosen.rows) - len(rows)
    absent = f"{left} of {len(chosen.rows)} runs have no tokens to convergence ({rule}) and are left out."
    x = {"n_latents": tables.numbers(rows, "n_latents")}
    runs = training_runs(rows, law.inputs, law.response, options.cluster)
    shared = shared_errors(rows["shared_low"].to_numpy(), rows["shared_high"].to_numpy(), x)
    tokens = tables.numbers(rows, "tokens")
    result = fit_law(law, x, tokens, cluster=runs.of_row, shared=shared, **options.of_law)
    low, high = PAPER_G
    note = f"The paper's exponents are {low:.2f} for GPT-2 small and {high:.2f} for GPT-4."
    extra = Extra(paper=PaperExponent(PAPER_G, "Gao et al. 2024, Fig. 11"), note=note)
    result = replace(result, extra=extra).with_runs({name: rows.get(name) for name in OF_RUN})
    represented = sum(used.rows for used in chosen.left_out) + len(chosen.rows)
    others = LeftOut(chosen.selection.runs - represented, "other seeds of a run that is used")
    without = LeftOut(left, f"without tokens to convergence ({rule})")
    chosen = replace(
        chosen,
        rows=rows,
        selection=replace(chosen.selection, used=len(rows), tokens_rule=rule),
        left_out=(*chosen.left_out, others, without),
    )
    result = replace(result, rows_used=_rows_used(chosen, runs))
    cautions = [Caution(Kind.ROWS, absent, ("tokens",))] if left else []
    return [_with_selection(chosen, result.with_cautions(before=cautions))]


def fit_lr(
    law: Law,
    part: pd.DataFrame,
    group: dict[str, Any],
    options: FitOptions,
    curves: pd.DataFrame | None = None,
) -> list[FitResult]:
    """Fit lr*(n) at convergence, with lr* from a parabola through the lr grid of each n, over L∞ where it is known.

    Only converged runs are used, whatever `options` choose for unconverged runs. curves: may show the tails.
    """
    converged, left = _usable(part)
    compared = comparable(converged, curves)
    usable = compared.rows
    best, reasons = lr_optima(usable)
    if best.empty:
        raise FitError(" ".join(reasons) or "No n was trained at three lr.")
    least = len(law.internal) + 2  # as for any law, but here with the reasons why lr* is unknown
    if len(best) < least:
        known = _joined_sizes(tuple(tables.numbers(best, "n_latents")))
        why = " ".join(reasons)
        raise FitError(
            f"{law.name} needs lr* at {least} n or more, and it is known at n_latents={known}. {why}".strip()
        )
    result = fit_law(
        law, {"n_latents": tables.numbers(best, "n_latents")}, tables.numbers(best, "lr"), **options.of_law
    )
    loss = "L∞" if loss_column(usable) == LIMIT else "L"
    selection = LrSelection(len(part), f"vertex of ln {loss} over ln lr", len(best), tuple(reasons))
    few = _joined_sizes(compared.by_last_loss)
    about = "the last loss L of each run, as no tail is known"
    if loss == "L∞":
        about = "L∞ of each run by its tail" + (f", and the last loss at n_latents={few}" if few else "")
    elif few:
        about = "the last loss L of each run, as the tails of fewer than three lr are known at each n"
    note = f"lr* of each n is the {selection.rule}, with {about}."
    unknown = [Caution(Kind.ROWS, reason, ("lr",)) for reason in reasons]
    if few:
        count = int(pd.Series(tables.numbers(usable, "n_latents")).isin(compared.by_last_loss).sum())
        text = (
            f"At n_latents={few} the tails of fewer than three lr are known, so the {count} runs there are compared by "
            "their last losses; runs at small lr end further above their L∞, so lr* may be too high."
        )
        unknown.append(Caution(Kind.ROWS, text, ("lr",)))
    with_optimum = int(pd.Series(tables.numbers(usable, "n_latents")).isin(best["n_latents"]).sum())
    left_out = (
        LeftOut(len(part) - len(converged), "not done, or not converged"),
        LeftOut(
            compared.left_out,
            "without last_doubling or two evaluations in a last doubling, so that L∞ is not known",
        ),
        LeftOut(len(usable) - with_optimum, "of n that have no best lr"),
    )
    runs = training_runs(usable, law.inputs, law.response, options.cluster)
    used = RowsUsed("runs", len(part), with_optimum, left_out, with_optimum, runs.by, runs.columns, runs.why)
    result = replace(result, regime="converged", group=group, selection=selection, rows_used=used)
    result = replace(result, extra=replace(result.extra, note=note))
    return [result.with_cautions(before=[*left, *unknown])]


def fit_budgets(
    law: Law, part: pd.DataFrame, group: dict[str, Any], options: FitOptions, compute: Compute | None = None
) -> list[FitResult]:
    """Fit L(N, D) or L(N, D, K). At a constant lr every evaluation is a run at its budget; whole runs are resampled.

    compute: how C was counted, for a law that takes it.
    """
    chosen = budget_rows(part, law, options)
    rows = chosen.rows
    x = {name: tables.numbers(rows, name) for name in law.inputs}
    weights = _weights(rows, options)
    y, noise = tables.numbers(rows, law.response), noise_of_evaluations(part)
    used = chosen.used
    runs = TrainingRuns(used.runs_by, used.run_columns, used.why, chosen.cluster)
    how = {"weights": weights, "noise": noise}
    result, runs, correlated = _independent(law, rows, runs, options, x, y, how)
    selection = BudgetSelection(part.get("run_id", pd.Series(part.index)).nunique(), chosen.rule, len(rows))
    cautions = [*chosen.cautions, *_repeated(rows, law, options), *correlated]
    if runs.of_row is None and result.estimate is not None:
        cautions += correlated_rows(x, result.estimate.residuals(), chosen.used.why)
    if correlated and runs.of_row is not None:
        used = replace(used, runs=runs.count(rows), runs_by=runs.by, run_columns=runs.columns, why=runs.why)
    result = replace(result, group=group, selection=selection, rows_used=used)
    if compute is not None:
        result = replace(result, flops=compute.convention)
        cautions += [Caution(Kind.ROWS, compute.note, ("flops",))] if compute.note else []
    return [result.with_runs({"run_id": rows.get("run_id")}).with_cautions(before=cautions)]


def _joined_sizes(sizes: Iterable[float]) -> str:
    return ", ".join(f"{integral(n):,}" for n in sizes)


def _some(chosen: Converged) -> pd.DataFrame:
    if chosen.rows.empty:
        reasons = " ".join(texts(chosen.cautions))
        raise FitError(f"None of {chosen.selection.runs} runs is done and converged. {reasons}".strip())
    return chosen.rows


def _rows_used(chosen: Converged, runs: TrainingRuns) -> RowsUsed:
    """What became of the rows of a group of converged runs."""
    used = chosen.selection.runs - sum(part.rows for part in chosen.left_out)
    count = used if runs.of_row is None else runs.count(chosen.rows)
    return RowsUsed(
        "runs", chosen.selection.runs, used, chosen.left_out, count, runs.by, runs.columns, runs.why
    )


def _with_selection(chosen: Converged, result: FitResult) -> FitResult:
    result = replace(result, regime="converged", group=chosen.group, selection=chosen.selection)
    return result.with_cautions(before=chosen.cautions)


def _usable(part: pd.DataFrame) -> tuple[pd.DataFrame, list[Caution]]:
    """The runs that are done and converged, and a caution about runs that are done but did not converge."""
    if "state" in part.columns:
        part = part[(part["state"] == "done").to_numpy(dtype=bool, na_value=False)]
    if "converged" not in part.columns:
        text = "No column `converged`: every row was taken as a converged run."
        return part, [Caution(Kind.ROWS, text, ("converged",))]
    yes, _ = tables.truths(part, "converged")
    left = int((~yes).sum())
    if not left:
        return part[yes], []
    runs_are = "1 run is" if left == 1 else f"{left} runs are"
    text = f"{runs_are} not converged and left out: the best lr is another before convergence."
    return part[yes], [Caution(Kind.ROWS, text, ("converged",))]


def _weights(rows: pd.DataFrame, options: FitOptions) -> Array | None:
    """The column of weights that the user named. Raises FitError if the table does not have it."""
    if options.weights is None:
        return None
    tables.require(rows, options.weights, option="--weights")
    return tables.numbers(rows, options.weights)


def _known(rows: pd.DataFrame, column: str) -> pd.Series | None:
    """A column of numbers, None if it is absent or empty."""
    if column not in rows.columns or rows[column].isna().all():
        return None
    return pd.Series(tables.numbers(rows, column))


def _repeated(rows: pd.DataFrame, law: Law, options: FitOptions) -> list[Caution]:
    """A caution about rows that agree in every input and in the loss, since they count twice."""
    same: Mapping[str, Any] = {name: tables.numbers(rows, name) for name in (*law.inputs, law.response)}
    count = int(pd.DataFrame(same).duplicated().sum())
    if not count or options.weights:
        return []
    rows_are = "1 row repeats" if count == 1 else f"{count} rows repeat"
    fact = f"{rows_are} another in every input and in the loss, and count again"
    return [Caution.advising(Kind.ROWS, fact, ": were tables joined twice?")]
