"""lr*(n, D, B): the best lr of each size at each budget of tokens and batch size, and the law of a transferred lr."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from fit.converged.lr import lr_optima
from fit.data import tables
from fit.data.curves import decays
from fit.law.caution import Caution, Kind
from fit.law.errors import FitError
from fit.law.fit import fit_law
from fit.law.law import Law
from fit.law.options import NONE, FitOptions
from fit.law.result import FitResult
from fit.law.selection import BudgetLrSelection, LeftOut, RowsUsed, RunsBy

# Budgets below this share of the largest of a size are left out: the first steps have another best lr than a power law
# of D through the later budgets says, and it is later ones that an lr is transferred to.
SHARE = 1 / 16
PROGRESS = "tokens"
STEP = np.log(2) / 2


def fit_lr_budgets(
    law: Law, part: pd.DataFrame, group: dict[str, Any], options: FitOptions
) -> list[FitResult]:
    """Fit lr* over n, D and, if it is an input, B. At a constant lr every evaluation is a run at its budget.

    lr* of each (n, B) at each D is the vertex of ln L over ln lr, of all runs that were evaluated there. The optima of
    one (n, B) are of the same runs, so they are resampled together. Diverged runs count up to where they diverged.
    """
    cell = [name for name in law.inputs if name != PROGRESS]
    tables.require(part, "lr", "nmse", *law.inputs)
    known, counted, left_out = _evaluations(part, cell)
    best, _ = lr_optima(_with_neighbours(known, law.inputs, cell), tuple(law.inputs))
    budgets = len(known[list(law.inputs)].drop_duplicates())
    if best.empty:
        raise FitError(
            f"None of {budgets} budgets has a best lr inside its grid: try smaller or larger lr, at least three at "
            "each size."
        )
    # Of a curve, which is interpolated, an evaluation serves several budgets, so whole sizes are counted there.
    names = cell if "run_id" in part.columns else law.inputs
    behind = _agreeing(counted, best, names)
    left_out = (*left_out, LeftOut(int((~behind).sum()), f"of a {_joined(names)} without a best lr"))
    label = best[cell].astype(str).agg(" ".join, axis=1)
    runs = label.nunique()
    cluster = None if options.cluster == NONE else label
    x = {name: tables.numbers(best, name) for name in law.inputs}
    result = fit_law(law, x, tables.numbers(best, "lr"), cluster=cluster, **options.of_law)
    if "batch_tokens" not in law.inputs and tables.known_single(part, "batch_tokens") is not None:
        group = group | {
            "batch_tokens": tables.known_single(part, "batch_tokens")
        }  # it is of this batch size alone
    rule = f"vertex of ln L over ln lr at each budget from 1/{1 / SHARE:.0f} of the largest"
    selection = BudgetLrSelection(len(part), rule, len(best), budgets)
    used = RowsUsed(
        "evaluations",
        len(part),
        int(behind.sum()),
        left_out,
        runs,
        RunsBy.COLUMN if cluster is not None else RunsBy.ROWS,
        tuple(cell) if cluster is not None else (),
        "optima of one size are of the same runs" if cluster is not None else "as --cluster none asks",
    )
    cautions = []
    if budgets > len(best):
        text = (
            f"{budgets - len(best)} of {budgets} budgets have no best lr and are left out: it lies at an end of the "
            "grid, an lr beside it had ended, or no parabola fits."
        )
        cautions.append(Caution(Kind.ROWS, text, ("lr",)))
    result = replace(result, group=group, selection=selection, rows_used=used)
    return [result.with_cautions(before=cautions)]


def _evaluations(
    part: pd.DataFrame, cell: Sequence[str]
) -> tuple[pd.DataFrame, pd.DataFrame, tuple[LeftOut, ...]]:
    """The losses of every run at the budgets that count, the evaluations that they rest on, and the others by reason.

    Runs of other settings, or that ended earlier, are evaluated at other tokens: a curve is interpolated in log-log at
    half octaves of D between its evaluations. The end of a run whose lr decays, and a row without a run, stay as they
    are.
    """
    needed = ["nmse", PROGRESS, "lr", *cell]
    numbers = tables.numeric(part, *needed)[needed]
    known = part[((numbers > 0) & np.isfinite(numbers)).all(axis=1).to_numpy()]
    left = [LeftOut(len(part) - len(known), f"without a loss, {PROGRESS}, {', '.join(cell)} or lr")]
    if known.empty:
        raise FitError(
            f"None of {len(part)} evaluations has a positive number in each of {', '.join(needed)}, which lr* needs."
        )
    if "run_id" in known.columns:
        last = known[PROGRESS] >= known[PROGRESS].groupby(known["run_id"]).transform("max")
        counted = known[~decays(known) | last.to_numpy()]
        left.append(LeftOut(len(known) - len(counted), "not the end of a run whose lr decays"))
    else:
        counted = known
    least = SHARE * (1 - 1e-9) * _largest(counted, cell)
    few = int(least.isna().sum())
    left.append(LeftOut(few, f"of a {_joined(cell)} with fewer than three lr"))
    if few == len(counted):
        raise FitError(f"lr* needs three lr at each {_joined(cell)}, and none has them: train more lr.")
    early = counted[PROGRESS] < least
    left.append(LeftOut(int(early.sum()), f"below 1/{1 / SHARE:.0f} of the largest budget of their size"))
    late = counted[~early & least.notna()]
    if "run_id" not in counted.columns:
        return late, late, tuple(left)
    names = [*cell, "lr", PROGRESS, "nmse"]
    runs = counted[least.notna()].groupby("run_id")
    curves = [_on_grid(curve[names], float(least[curve.index[0]])) for _, curve in runs]
    return pd.concat(curves, ignore_index=True), late, tuple(left)


def _joined(names: Sequence[str]) -> str:
    """`n_latents`, or `(n_latents, batch_tokens)`."""
    return names[0] if len(names) == 1 else f"({', '.join(names)})"


def _agreeing(rows: pd.DataFrame, best: pd.DataFrame, names: Sequence[str]) -> np.ndarray:
    """Flags of the rows that agree with a row of `best` in some columns."""
    there = pd.MultiIndex.from_frame(best[list(names)])
    return pd.MultiIndex.from_frame(rows[list(names)]).isin(there)


def _largest(rows: pd.DataFrame, cell: Sequence[str]) -> pd.Series:
    """For each row the largest budget that three lr of its size reach; NaN if it has fewer."""
    ends = rows.groupby([*cell, "lr"])[PROGRESS].max().reset_index()
    third = ends.groupby(list(cell))[PROGRESS].apply(
        lambda each: np.sort(each)[-3] if len(each) > 2 else np.nan
    )
    keys = rows[list(cell)].apply(tuple, axis=1) if len(cell) > 1 else rows[cell[0]]
    return keys.map(third.to_dict())


def _with_neighbours(known: pd.DataFrame, inputs: Sequence[str], cell: Sequence[str]) -> pd.DataFrame:
    """The budgets at which the lr next to the best one were evaluated too, as far as the size has such lr.

    Where runs end when they have converged, the best lr may have ended and the others go on.
    """
    grid = {key: np.unique(each) for key, each in known.groupby(list(cell))["lr"]}

    def complete(budget: pd.DataFrame) -> bool:
        loss = np.log(budget["nmse"]).groupby(budget["lr"]).mean()
        lrs = grid[tuple(budget[list(cell)].iloc[0])]
        at = int(np.searchsorted(lrs, loss.idxmin()))
        return bool(np.isin(lrs[max(at - 1, 0) : at + 2], loss.index).all())

    return known.groupby(list(inputs)).filter(complete)


def _on_grid(curve: pd.DataFrame, least: float) -> pd.DataFrame:
    """The evaluations of one run at the half octaves of D within it, from `least` on; a single one as it is."""
    if len(curve) == 1:
        return curve[curve[PROGRESS] >= least]
    curve = curve.sort_values(PROGRESS)
    ln_D = np.log(curve[PROGRESS].to_numpy(dtype=float))
    low, high = max(ln_D[0], np.log(least)), ln_D[-1]
    grid = STEP * np.arange(np.ceil(low / STEP - 1e-6), np.floor(high / STEP + 1e-6) + 1)
    loss = np.exp(np.interp(grid, ln_D, np.log(curve["nmse"].to_numpy(dtype=float))))
    fixed = {name: curve[name].iloc[0] for name in curve.columns.difference([PROGRESS, "nmse"])}
    return pd.DataFrame({PROGRESS: np.exp(grid), "nmse": loss}).assign(**fixed)
