"""The rows of L(N) and L(N, K): converged runs, the best of each cell, and what was left out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from fit.converged.tails import ends, limits, of_trainer
from fit.data import tables
from fit.data.equal_scale import told_apart
from fit.data.groups import GROUPS, Split, groups, split
from fit.data.vertex import short_number
from fit.law.caution import Caution, Kind
from fit.law.errors import FitError
from fit.law.json_values import integral
from fit.law.options import DROP, KEEP, UNCONVERGED
from fit.law.selection import ConvergedSelection, LeftOut

EPSILON = 0.01  # of the convergence criterion, where the table does not say: the default of the config


@dataclass(frozen=True)
class Converged:
    """The rows to fit, one for each cell (n_latents, k), with the loss in the column `nmse`.

    every: all usable runs, before the best one of each cell is chosen. group: the column values that all rows share.
    split: the columns that it is a group of. left_out: the other rows of the group, by rule.
    """

    rows: pd.DataFrame
    every: pd.DataFrame
    group: dict[str, Any]
    selection: ConvergedSelection
    cautions: tuple[Caution, ...] = ()
    split: Split = Split()
    left_out: tuple[LeftOut, ...] = ()


def converged(
    table: pd.DataFrame,
    inputs: Sequence[str] = ("n_latents",),
    unconverged: str = DROP,
    asked: Sequence[str] | None = None,
    curves: pd.DataFrame | None = None,
) -> Iterator[Converged]:
    """The rows of each group. L(N) has one group for each k; L(N, K) takes all k together.

    In our tables only runs that are done count. The best learning rate of a cell is the one with the lowest loss, see
    `best_of_cells`. A table without the columns state, converged, lr and seed is used as it is.

    Parameters
    ----------
    table : one row for each run.
    inputs : the inputs of the law.
    unconverged : whether to drop runs that are not known to be converged, to keep them as they are, or to extrapolate
        them to L∞, with its error. Runs that stopped because their L∞ was known are at that L∞ unless they are kept.
    asked : the columns to split by, instead of k and those that vary, see `groups.split`.
    curves : the evaluations that runs are extrapolated by, see `tails.limits`.
    """
    if unconverged not in UNCONVERGED:
        raise FitError(f"There is no choice {unconverged!r} for unconverged runs: {', '.join(UNCONVERGED)}.")
    tables.require(table, "n_latents", "nmse", *inputs)
    _refuse_curves(table)
    table = tables.numeric(table, "n_latents", "k", "nmse", *inputs)
    parts = split(table, ["k"], GROUPS, inputs, asked)
    for group, part in groups(table, ["k"], GROUPS, inputs, asked):
        pooled = asked is not None and not asked
        found = select(part, group, unconverged, inputs, pooled, curves)
        yield replace(found, split=parts, cautions=(*parts.cautions, *found.cautions))


def _refuse_curves(table: pd.DataFrame) -> None:
    if {"state", "converged"} & set(table.columns):
        return
    cell = [name for name in ("n_latents", "k", "lr", "seed", *GROUPS) if name in table.columns]
    for scale in {"tokens", "flops_sparse", "flops_dense"} & set(table.columns):
        if (table.groupby(cell, dropna=False)[scale].nunique() > 1).any():
            raise FitError(
                f"The table has rows of one n_latents at different {scale} and no column `converged`: they look like "
                "training curves, and L(N) takes converged runs only. Fit L_C, or map a column to converged."
            )


def select(
    part: pd.DataFrame,
    group: dict[str, Any],
    unconverged: str,
    inputs: Sequence[str] = ("n_latents",),
    pooled: bool = False,
    curves: pd.DataFrame | None = None,
) -> Converged:
    """The rows of one group. pooled: the user wants rows in one fit that another column tells apart."""
    selection = ConvergedSelection(len(part), "all rows", epsilon=_epsilon(part))
    done = part
    if "state" in part.columns:
        done = part[
            (part["state"] == "done").to_numpy(dtype=bool, na_value=False) & np.isfinite(part["nmse"])
        ]
        selection = replace(selection, not_done=len(part) - len(done))
    rows, selection, cautions = _by_convergence(done, unconverged, selection, curves)
    every = len(rows)
    rows, copies = _without_copies(rows)
    cautions += copies
    # A table of the trainer has the column k also where no run has one, as of ReLU with a penalty.
    no_k = "k" not in part.columns or ("k" not in inputs and bool(part["k"].isna().all()))
    if len(rows):
        tables.positive(rows, "n_latents", "nmse", *([] if no_k else ["k"]))
    names = ("n_latents", *([] if no_k else ["k"]), *inputs)
    cell = list(dict.fromkeys(name for name in names if name in part.columns))
    scale = [*cell, *(name for name in ("lr",) if name in rows.columns)]
    cautions += told_apart(rows, "nmse", scale, "the law", pooled)
    best, selection, edges = best_of_cells(rows, done, selection, cell)
    cautions += edges
    left_out: tuple[LeftOut, ...] = (
        LeftOut(len(part) - len(done), "not done, or without a loss"),
        LeftOut(len(done) - every, "not converged"),
        LeftOut(every - len(rows), "copies of another row"),
        LeftOut(selection.passed_over or 0, f"not at the {selection.rule}"),
    )
    if "converged" in part.columns and unconverged == DROP:
        others = done[~tables.truths(done, "converged")[0] & ~of_trainer(done)[1]]
        before = len(best)
        best, beaten = _without_beaten(best, rows, others, cell, selection.epsilon)
        left_out = (*left_out, LeftOut(before - len(best), "converged above a run that has not converged"))
        cautions += beaten
    if "converged" in part.columns and unconverged != KEEP and "extrapolated" not in best.columns:
        best = _with_gap(best, curves)
    at_limit = int(best["extrapolated"].sum()) if "extrapolated" in best.columns else None
    selection = replace(selection, used=len(best), extrapolated=at_limit)
    return Converged(best, rows, group, selection, tuple(cautions), left_out=left_out)


def _without_copies(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[Caution]]:
    """The rows without those that repeat another in every column, and a caution with their number.

    In a table that is used row by row they stay, see `fit.converged.fit`: its losses may agree by their rounding.
    """
    if not {"state", "converged", "lr", "seed"} & set(rows.columns):
        return rows, []
    again = rows.astype("string").duplicated().to_numpy()
    count = int(again.sum())
    if not count:
        return rows, []
    repeat = "1 row repeats another" if count == 1 else f"{count} rows repeat others"
    text = f"{repeat} in every column and count once: were tables joined twice?"
    return rows[~again], [Caution(Kind.ROWS, text)]


def _epsilon(part: pd.DataFrame) -> float | None:
    """The tolerance ε of the convergence criterion, None if it is unknown or differs between runs."""
    if "epsilon" not in part.columns:
        return None
    values = np.unique(tables.numbers(part, "epsilon"))
    return float(values[0]) if len(values) == 1 and np.isfinite(values[0]) else None


def _by_convergence(
    done: pd.DataFrame, unconverged: str, selection: ConvergedSelection, curves: pd.DataFrame | None
) -> tuple[pd.DataFrame, ConvergedSelection, list[Caution]]:
    """The rows left after the choice for unconverged runs, the selection with their number, and cautions."""
    if "converged" not in done.columns:
        return done, selection, [_about("No column `converged`: every row was taken as a converged run.")]
    yes, unknown = tables.truths(done, "converged")
    early = of_trainer(done)[1] if unconverged != KEEP else np.zeros(len(done), dtype=bool)
    yes, unknown = yes & ~early, unknown & ~early
    left = int((~yes & ~early).sum())
    selection = replace(selection, unconverged=left, unconverged_runs=unconverged)
    if not left and not early.any():
        return done, selection, []
    cautions = _predicted(done, early)
    runs = f"{_runs(left)} not converged{_unknown(unknown)}"
    if unconverged == KEEP:
        return done, selection, [_about(f"{runs} and kept, so L(N) is not a bound.")]
    if unconverged == DROP:
        cautions += [_about(f"{runs} and left out.")] if left else []
        if not early.any():
            return done[yes], selection, cautions
        done, yes, early = (part[yes | early] for part in (done, yes, early))
    rows, more = _at_the_limit(done, yes, early, curves)
    return rows, selection, [*cautions, *more]


def _predicted(done: pd.DataFrame, early: np.ndarray) -> list[Caution]:
    """A caution with the number of runs that are at the L∞ that the trainer predicted, and of those at their budget."""
    count = int(early.sum())
    if not count:
        return []
    by = done["ended_by"] if "ended_by" in done.columns else pd.Series(pd.NA, index=done.index)
    at_budget = int((early & (by == "budget").to_numpy(dtype=bool, na_value=False)).sum())
    rest = (
        f"; {at_budget} of them reached the budget before it was as narrow as their target"
        if at_budget
        else ""
    )
    return [_about(f"{_runs(count)} at the L∞ that the trainer predicted, weighted by its interval{rest}.")]


def _about(text: str) -> Caution:
    return Caution(Kind.ROWS, text, ("converged",))


def _at_the_limit(
    done: pd.DataFrame, yes: np.ndarray, early: np.ndarray, curves: pd.DataFrame | None
) -> tuple[pd.DataFrame, list[Caution]]:
    """Replace the loss of unconverged runs by their L∞, see `fit.converged.tails`.

    Adds the columns `extrapolated`, `nmse_inf_low` and `nmse_inf_high`, the 95 % interval of L∞, `relative_error`, the
    standard error of ln L∞, and `shared_low` and `shared_high`, ln of the factor on L∞ at the 95 % ends of the error
    that runs share. Unconverged runs without an L∞ are left out.

    A converged run keeps its loss, which is up to ε above its L∞, so every run has an error of ε/2, and the lower end
    of the shared error is that of its own tail. Without these two, the one converged run of 7 in docs/smollm2, cut at
    half their tokens, had 6/7 of all weight. early: the runs whose L∞ the trainer predicted, which are named elsewhere.
    """
    others = ~yes & ~early
    if others.any() and curves is None and not {"last_doubling", "nmse_inf"} & set(done.columns):
        tables.require(done, "last_doubling")
    known, by_curve = limits(done, curves)
    usable = yes | known["value"].notna().to_numpy()
    reached, lost = int((usable & others).sum()), int((~usable).sum())
    without = f", {lost} left out because their loss rises or nothing is known of their tails" if lost else ""
    text = (
        f"{_runs(reached + lost)} not converged: {reached} at the L∞ of their tails, by its error{without}."
    )
    cautions = [_about(text)] if others.any() else []
    blind = int((usable & others & ~by_curve).sum())
    if blind:
        text = (
            f"{blind} of them have no curve with two evaluations in its last doubling of D: their L∞ is known only "
            "from the run's row, and less well."
        )
        cautions.append(_about(text))
    seen = tables.numbers(done, "nmse")
    limit = {name: known[name].to_numpy() for name in ("value", "low", "high", "shared_low", "shared_high")}
    lowest = np.log(limit["value"] / seen) + limit["shared_low"]
    within = tables.numbers(done, "epsilon") / 2 if "epsilon" in done.columns else np.zeros(len(done))
    error = np.hypot(np.nan_to_num(within), np.where(yes, 0.0, known["relative_error"].to_numpy()))
    rows = done.assign(
        extrapolated=~yes,
        nmse=np.where(yes, seen, limit["value"]),
        nmse_inf_low=np.where(yes, np.nan, limit["low"]),
        nmse_inf_high=np.where(yes, np.nan, limit["high"]),
        relative_error=error,
        shared_low=np.nan_to_num(np.where(yes, lowest, limit["shared_low"])),
        shared_high=np.where(yes, 0.0, limit["shared_high"]),
    )
    return rows[usable], cautions


def _with_gap(rows: pd.DataFrame, curves: pd.DataFrame | None) -> pd.DataFrame:
    """Converged runs with what they may still fall: `shared_low`, ln of the factor from their loss to the lowest L∞.

    They keep their losses, so the error is one of one side: an interval reaches to where the law would be if every L∞
    were at the lower end that the runs of a study share. Of a run without a known tail that end is its ε, which is what
    its being called converged says. A loss that rises has nothing left to fall. Without any of these, nothing is added.
    """
    known = ends(rows, curves)
    lowest = np.log(known["value"] / tables.numbers(rows, "nmse")) + known["shared_low"]
    lowest = lowest.mask(known["shared_low"].isna() & known["value"].notna(), 0.0)
    if "epsilon" in rows.columns:
        lowest = lowest.fillna(pd.Series(-np.log1p(tables.numbers(rows, "epsilon")), index=rows.index))
    if lowest.isna().all():
        return rows
    return rows.assign(shared_low=np.minimum(lowest.fillna(0.0), 0.0), shared_high=0.0)


def _runs(count: int) -> str:
    return "1 run is" if count == 1 else f"{count} runs are"


def _unknown(unknown: np.ndarray) -> str:
    return f" ({int(unknown.sum())} of them not known to be)" if unknown.any() else ""


def _without_beaten(
    best: pd.DataFrame,
    converged: pd.DataFrame,
    unconverged: pd.DataFrame,
    cell: list[str],
    epsilon: float | None,
) -> tuple[pd.DataFrame, list[Caution]]:
    """The rows of `best` that are L(N) as far as is known, and cautions about unconverged runs already below.

    Where such a run is lower than every converged one of its cell by more than ε, the converged loss is not that of n
    latents: an lr that kills 97 % of the latents converges early, at an NMSE of 0.87 where another lr is at 0.41 and
    still falls. Its cell is left out. A converged loss is known to ε anyway, so a smaller difference is only told.
    """
    lowest = unconverged.groupby(cell, dropna=False)["nmse"].min()
    chosen = best.set_index(cell)["nmse"]
    reached = converged.groupby(cell, dropna=False)["nmse"].min()  # of several seeds, the mean is chosen
    ratio, least = (
        (losses / lowest.reindex(losses.index)).to_numpy(dtype=float)
        for losses in (chosen, reached.reindex(chosen.index))
    )
    far = least > 1 + (EPSILON if epsilon is None else epsilon) + 1e-12
    cautions = []
    for beaten, what, then in (
        (
            far,
            "an unconverged run is lower than the best converged one by more than ε",
            ": left out; train it on.",
        ),
        ((ratio > 1 + 1e-12) & ~far, "an unconverged run is already lower", ": train it on."),
    ):
        if not beaten.any():
            continue
        first = chosen.index[beaten][0]
        where = ", ".join(
            f"{k}={integral(v):,}"
            for k, v in zip(cell, first if isinstance(first, tuple) else (first,), strict=True)
        )
        fact = f"In {int(beaten.sum())} of {len(best)} cells ({where} first) {what}"
        cautions.append(Caution.advising(Kind.ROWS, fact, then, ("converged",)))
    return best[~far], cautions


def best_of_cells(
    rows: pd.DataFrame, tried: pd.DataFrame, selection: ConvergedSelection, cell: list[str]
) -> tuple[pd.DataFrame, ConvergedSelection, list[Caution]]:
    """One row for each cell, a sentence about how it was chosen, and cautions.

    The row is a run at the best lr of the cell, with the geometric mean over the seeds at that lr as its nmse. cell:
    the columns that define a cell, (n_latents, k) and further inputs of a law. tried: all runs, also those that did not
    converge, to show which lr were tried.

    The lowest of three seeds is biased by −0.85 standard deviations between seeds, which is 0.4 % if these are 0.5 %;
    the mean is unbiased. If several runs of one lr and seed differ in another option, the lowest loss counts. All
    columns except nmse are those of the run nearest to the mean. A table without the columns state, converged, lr and
    seed is used row by row.
    """
    if not {"state", "converged", "lr", "seed"} & set(rows.columns) or rows.empty:
        return rows, selection, []
    by = cell + [name for name in ("lr",) if name in rows.columns]
    seed = [name for name in ("seed",) if name in rows.columns]
    runs = rows.assign(ln=np.log(tables.numbers(rows, "nmse"))).sort_values([*by, "ln"], kind="stable")
    runs = runs.drop_duplicates([*by, *seed])
    groups = runs.groupby(by, dropna=False, sort=False)["ln"]
    runs = runs.assign(mean=groups.transform("mean"), seeds=groups.transform("size"))
    runs = runs.assign(off=(runs["ln"] - runs["mean"]).abs())
    best = runs.sort_values([*cell, "mean", "off"], kind="stable").drop_duplicates(cell)
    most = int(best["seeds"].max())
    average = f", averaged over up to {most} seeds" if most > 1 else ""
    rule = f"best lr of each ({', '.join(cell)}) by its nmse{average}"
    passed = len(rows) - int(best["seeds"].sum())
    selection = replace(selection, rule=rule, chosen_from=len(rows), passed_over=passed, seeds=most)
    # The loss of a single run stays exactly as it is.
    nmse = np.where(best["seeds"] == 1, best["nmse"], np.exp(best["mean"]))
    best = best.assign(nmse=nmse).drop(columns=["ln", "mean", "off"])
    return best, selection, about_lr(best, tried, cell)


def about_lr(best: pd.DataFrame, tried: pd.DataFrame, cell: list[str]) -> list[Caution]:
    """Cautions for cells with the best lr at an edge of those tried, and for cells with only one lr."""
    if "lr" not in best.columns or best["lr"].isna().any():
        return []
    lrs = tried.assign(lr=tables.numbers(tried, "lr")).groupby(cell, dropna=False)["lr"]
    tried_of = lrs.agg(["min", "max", "nunique"]).reset_index()
    chosen = best[[*cell, "lr"]].assign(lr=tables.numbers(best, "lr")).merge(tried_of, on=cell, how="left")
    swept = chosen[chosen["nunique"] > 1]
    if swept.empty:
        text = "Every cell was trained at one lr: L may be lower at another, and the exponent another too."
        return [Caution(Kind.EDGE, text, ("lr",))]
    cautions = []
    for end, word, further in (("min", "smallest", "smaller"), ("max", "largest", "larger")):
        edge = swept[swept["lr"] == swept[end]]
        if len(edge):
            first = edge.iloc[0]
            where = ", ".join(f"{name}={integral(first[name]):,}" for name in cell)
            fact = (
                f"In {len(edge)} of {len(best)} cells the best lr is the {word} that was tried ({where}: "
                f"{short_number(first['lr'])} first)"
            )
            cautions.append(Caution.advising(Kind.EDGE, fact, f": try {further} ones.", ("lr",)))
    return cautions
