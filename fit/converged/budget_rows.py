"""The rows of L(N, D) and L(N, D, K): evaluations or runs at their budgets of tokens, and which of them are one run."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from fit.converged.runs import about_lr
from fit.converged.tokens import by_budget
from fit.data import tables
from fit.data.curves import decays
from fit.data.equal_scale import lowest_lr, told_apart
from fit.data.training_runs import PROGRESS, TrainingRuns, training_runs
from fit.law.caution import Caution
from fit.law.law import Law
from fit.law.options import NONE, FitOptions
from fit.law.selection import LeftOut, RowsUsed, RunsBy

RUN = "run_id"
# Sizes and budgets, which no run has 0 of.
POSITIVE = frozenset({"n_latents", "tokens", "k", "flops", "d_model", "batch_tokens", "lr"})
# A run that ends before half of the runs of its cell have ended is no candidate for the best lr.
HALF = 0.5


@dataclass(frozen=True)
class BudgetRows:
    """The rows to fit. cluster: the run of each, None where each is a run. rule: how they were chosen."""

    rows: pd.DataFrame
    cluster: pd.Series | None
    rule: str
    used: RowsUsed
    cautions: tuple[Caution, ...] = ()


def budget_rows(part: pd.DataFrame, law: Law, options: FitOptions) -> BudgetRows:
    """The rows of one group for a law of tokens.

    Of our own tables, each budget takes the lowest curve of its n, see `by_budget`. Of other tables, the evaluations
    or runs are used as they are, at the lr with the lowest loss of each cell.
    """
    if RUN in part.columns and law.response == "nmse" and {"n_latents", PROGRESS} <= set(part.columns):
        return _of_own_tables(part, law, options)
    usable_inputs(part, law)
    tables.positive(part, law.response)
    runs = training_runs(part, law.inputs, law.response, options.cluster)
    pooled = options.group is not None and not options.group
    rows, rule, left_out, cautions = _chosen(part, law, runs, pooled)
    used = RowsUsed(
        "rows of the table",
        len(part),
        len(rows),
        left_out,
        runs.count(rows),
        runs.by,
        runs.columns,
        runs.why,
    )
    cluster = None if runs.of_row is None else runs.of_row[rows.index]
    return BudgetRows(rows, cluster, rule, used, tuple(cautions))


def _chosen(
    part: pd.DataFrame, law: Law, runs: TrainingRuns, pooled: bool
) -> tuple[pd.DataFrame, str, tuple[LeftOut, ...], list[Caution]]:
    """The rows at the best lr of each cell, the rule, the rows left out by it, and cautions."""
    rows, left_out = part, list[LeftOut]()
    if runs.of_row is not None and (decaying := decays(rows)).any():
        last = rows[PROGRESS] >= rows[PROGRESS].groupby(runs.of_row).transform("max")
        rows = rows[~decaying | last.to_numpy()]
        left_out.append(LeftOut(len(part) - len(rows), "not the end of a run whose lr decays"))
    curves = runs.of_row is not None and runs.by is not RunsBy.ASKED
    cell = [name for name in law.inputs if not (curves and name == PROGRESS)]
    candidates = (
        _ends(rows, law, runs.of_row[rows.index], cell) if curves and runs.of_row is not None else rows
    )
    scale = [*cell, *(name for name in ("lr",) if name in rows.columns and name not in cell)]
    cautions = told_apart(candidates, law.response, scale, law.name, pooled)
    best = lowest_lr(candidates, law.response, cell)
    if len(best) == len(candidates) and len(candidates):
        return rows, "all rows", tuple(left_out), cautions
    rule = f"lr with the lowest loss of each ({', '.join(cell)})"
    if curves and runs.of_row is not None:
        chosen = rows[runs.of_row[rows.index].isin(runs.of_row[best.index]).to_numpy()]
        rule = f"{rule} at the tokens that its runs share"
    else:
        chosen = best
    left_out.append(LeftOut(len(rows) - len(chosen), f"not at the {rule}"))
    return chosen, rule, tuple(left_out), [*cautions, *about_lr(best.drop_duplicates(cell), candidates, cell)]


def _ends(rows: pd.DataFrame, law: Law, run: pd.Series, cell: Sequence[str]) -> pd.DataFrame:
    """One row for each run, with its loss at the most tokens that half of the runs of its cell reach.

    Runs that end before are left out; their lr are then none to choose.
    """
    ends = rows.loc[rows[PROGRESS].groupby(run).idxmax()]
    by = ends[PROGRESS].groupby([ends[name] for name in cell], dropna=False) if cell else None
    at = by.transform(lambda tokens: tokens.quantile(HALF, interpolation="lower")) if by is not None else None
    if at is None:
        at = pd.Series(ends[PROGRESS].quantile(HALF, interpolation="lower"), index=ends.index)
    reach = ends[(ends[PROGRESS] >= at).to_numpy()]
    curves = dict(list(rows.groupby(run)))
    loss = [_loss_at(curves[run[label]], law.response, at[label]) for label in reach.index]
    return reach.assign(**{law.response: loss})


def _loss_at(curve: pd.DataFrame, response: str, tokens: float) -> float:
    """The loss of a run at some tokens, on a straight line in log-log between its evaluations."""
    curve = curve.sort_values(PROGRESS)
    return float(np.exp(np.interp(np.log(tokens), np.log(curve[PROGRESS]), np.log(curve[response]))))


def usable_inputs(rows: pd.DataFrame, law: Law) -> None:
    """Raise FitError for an input that is not finite, or not positive where it must be.

    A function of the user takes any numbers, but a size or a budget is positive whatever the law.
    """
    for name in law.inputs:
        if name not in law.as_is or name in POSITIVE:
            tables.positive(rows, name)
        else:
            tables.finite(rows, name)


def _of_own_tables(part: pd.DataFrame, law: Law, options: FitOptions) -> BudgetRows:
    """The lowest curve of each n at each budget, of a table with run ids."""
    further = [name for name in law.inputs if name not in ("n_latents", PROGRESS, "k")]
    usable_inputs(part[part["nmse"].notna() & part["tokens"].notna()], law)
    rows = by_budget(part, law.inputs)
    if options.cluster in (None, NONE):
        cluster = rows[RUN] if options.cluster is None else None
        by, columns = (RunsBy.COLUMN, (RUN,)) if options.cluster is None else (RunsBy.ROWS, ())
    else:
        tables.require(rows, str(options.cluster), option="--cluster")
        cluster, by, columns = rows[str(options.cluster)], RunsBy.ASKED, (str(options.cluster),)
    cell = f"({', '.join(['n_latents', *further])})" if further else "n"
    known = part[part["nmse"].notna() & part["tokens"].notna()]
    decaying = pd.Series(decays(known), index=known.index).groupby(known[RUN]).transform("any")
    last = known["tokens"] >= known["tokens"].groupby(known[RUN]).transform("max")
    counted = known[(~decaying | last).to_numpy()]
    lowest = counted[counted[RUN].isin(rows[RUN]).to_numpy()]
    left_out = (
        LeftOut(len(part) - len(known), "without a loss or tokens"),
        LeftOut(len(known) - len(counted), "not the end of a run whose lr decays"),
        LeftOut(len(counted) - len(lowest), f"of runs that are nowhere the lowest of their {cell}"),
    )
    runs = int(rows[RUN].nunique()) if cluster is None else int(cluster.nunique())
    why = "as --cluster asks" if by is RunsBy.ASKED else f"rows of one {RUN} are one run"
    why = "as --cluster none asks" if by is RunsBy.ROWS else why
    used = RowsUsed("evaluations", len(part), len(lowest), left_out, runs, by, columns, why)
    return BudgetRows(rows, cluster, f"lowest nmse of each {cell} at each budget of tokens", used)
