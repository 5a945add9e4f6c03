"""L(C) of one group of curves, with N*(C), D*(C), lr*(C) and how much its exponent depends on analysis choices."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pandas as pd

from fit.compute.budget_optima import budget_optima, diverged
from fit.compute.frontier import FEWEST, Frontier, frontier, resampled
from fit.compute.optima import Optima, at_the_edge_of_lr, optima
from fit.compute.sensitivity import sensitivity
from fit.data import tables
from fit.data.budgets import shared_budgets, without_diverged
from fit.data.correlation import correlated_within
from fit.data.curves import candidates, decays, excess
from fit.data.equal_scale import frontier_columns
from fit.data.flops import BY_SIZE, with_compute
from fit.data.groups import GROUPS, Split, groups, split
from fit.data.noise import noise_of_evaluations
from fit.law.caution import Caution, Kind
from fit.law.errors import FitError, SkippedLaw
from fit.law.fit import fit_law
from fit.law.json_values import integral
from fit.law.law import Law, RowSource
from fit.law.laws import L_C
from fit.law.options import FitOptions
from fit.law.result import Extra, FitResult
from fit.law.selection import LeftOut, RowsUsed, RunsBy

NEEDED = len(L_C.internal) + 2


@dataclass(frozen=True)
class CurveGroup:
    """The curves of one experiment.

    rows: their evaluations. group: the column values that all rows share. source: what the rows are, for reports.
    convention: how their C is counted; their column of it is `flops`. cautions: about which rows there are.
    following: columns that follow n and do not split the curves.
    """

    rows: pd.DataFrame
    group: dict[str, Any]
    source: str
    options: FitOptions
    convention: str
    cautions: tuple[Caution, ...] = ()
    following: tuple[str, ...] = ()

    @property
    def flops(self) -> str:
        return f"flops_{self.convention}"

    @cached_property
    def isoflop(self) -> bool:
        """Whether these rows are an isoFLOP table, so that each is a run of its own."""
        return shared_budgets(self.rows, self.flops) is not None

    @cached_property
    def frontier(self) -> Frontier:
        """The frontier of these curves. Raises FitError if there is none."""
        return frontier(self.rows, self.flops, NEEDED, self.options.min_flops)

    @cached_property
    def optima(self) -> Optima:
        """N*(C), D*(C) and lr*(C) of that frontier, or of the budgets of an isoFLOP table."""
        how = (self.options.frontiers, self.options.seed, self.options.objective)
        if not self.isoflop:
            return optima(self.frontier, *how)
        pool = candidates(self.rows, self.flops)
        assert pool.budgets is not None
        return budget_optima(pool, pool.budgets, self.options.min_flops, *how)


def fit_frontier(
    law: Law, group: CurveGroup, with_optima: bool, say: Callable[[str], None]
) -> list[FitResult]:
    """Fit the law of the frontier and, for L(C) and if asked for, the optimum laws that the curves support."""
    if law.rows is RowSource.OPTIMUM:
        fits = _optima(group, law.name)
    elif law.companions:
        fits = _with_companions(law, group, with_optima, say)
    else:
        fits = [_fit(law, group)]
    cautions = (*Split(following=group.following).cautions, *group.cautions)
    used = frontier_rows(group.rows, group.source, group.isoflop)
    return [
        replace(fit, group=group.group, flops=group.convention, rows_used=used).with_cautions(before=cautions)
        for fit in fits
    ]


def _with_companions(
    law: Law, group: CurveGroup, with_optima: bool, say: Callable[[str], None]
) -> list[FitResult]:
    """Fit L(C), how its exponent depends on the analysis choices, and the laws of the compute optimum."""
    front, base = group.frontier, _fit(law, group)
    moved = sensitivity(group.rows, group.flops, base, front, NEEDED, group.options.objective)
    best = group.optima if with_optima else Optima((), (), tuple(at_the_edge_of_lr(front)))
    extra = Extra(
        sensitivity=moved.rows,
        isoflop=front.vertices.recorded,
        skipped=tuple(skipped.text for skipped in best.skipped),
    )
    name = ", ".join(f"{key}={value}" for key, value in group.group.items())
    for skipped in best.skipped:
        say(SkippedLaw(f"{f'{name}: ' if name else ''}{skipped.text}", skipped.law, (name,)))
    base = replace(base, extra=extra).with_cautions(after=(*moved.cautions, *best.cautions))
    return [base, *best.fits]


def _fit(law: Law, group: CurveGroup) -> FitResult:
    front, points, options = group.frontier, group.frontier.points, group.options
    how: dict[str, Any] = dict(options.of_law)
    replicates, unfollowed = None, list[Caution]()
    # If every point comes from another run, the points are independent measurements. Points of one curve are not.
    if not points["run_id"].is_unique:
        unfollowed = options.unfollowed
        how |= {"method": "auto", "cluster": points["run_id"]}
        if front.selection.runs_on_frontier >= FEWEST:
            replicates = resampled(front, options.frontiers, options.seed, len(law.internal) + 2)
    noise = None if group.isoflop else noise_of_evaluations(group.rows)
    x = {"flops": points["flops"]}
    result = fit_law(law, x, points["nmse"], replicates=replicates, noise=noise, **how)
    runs = _runs(group)
    columns = frontier_columns(runs, excess(front.candidates), list(points["run_id"]))
    cautions = [*columns.cautions]
    if points["run_id"].is_unique and result.estimate is not None:
        of_points = runs.loc[list(points["run_id"])].reset_index(drop=True)
        within = correlated_within(of_points, ["flops"], result.estimate.residuals())
        cautions += [within.caution(clustered=False)] if within else []
    n = points["n_latents"].map(integral) if "n_latents" in points.columns else None
    drawn = 0 if replicates is None else len(replicates.weights)
    selection = replace(
        front.selection, source=group.source, draws=drawn, seed=options.seed, differ=columns.differ
    )
    result = replace(result, regime="compute", selection=selection)
    result = result.with_runs({"run_id": points["run_id"], "n_latents": n})
    return result.with_cautions(before=(*front.cautions, *cautions, *_few_on_frontier(front), *unfollowed))


def _runs(group: CurveGroup) -> pd.DataFrame:
    """The first row of each run of the candidates, whose run_id is the index."""
    rows = group.rows.reset_index(drop=True)
    name = "run_id" if "run_id" in rows.columns else "n_latents" if "n_latents" in rows.columns else None
    if name is None or (group.isoflop and name != "run_id"):
        return rows
    return rows.drop_duplicates(name).set_index(name, drop=False).rename_axis(None)


def frontier_rows(rows: pd.DataFrame, source: str, isoflop: bool = False) -> RowsUsed:
    """The rows that a frontier is taken over: all evaluations, and of a run whose lr decays its end.

    isoflop: whether they are an isoFLOP table, which has the end of each run only.
    """
    if isoflop:
        why = "each is one n at one budget of C"
        return RowsUsed(source, len(rows), len(rows), runs=len(rows), why=why)
    name = next((name for name in ("run_id", "n_latents") if name in rows.columns), None)
    if name is None:
        why = "no column names a run"
        return RowsUsed(source, len(rows), len(rows), runs=len(rows), why=why)
    run = rows[name]
    decaying = pd.Series(decays(rows), index=rows.index).groupby(run).transform("any")
    used = int((~decaying).sum()) + int(run[decaying].nunique())
    left_out = (LeftOut(len(rows) - used, "not the end of a run whose lr decays"),)
    why = f"rows of one {name} are one {'run' if name == 'run_id' else 'curve'}"
    runs = int(run.nunique())
    by = RunsBy.ROWS if runs == len(rows) else RunsBy.COLUMN
    why = f"each has a {name} of its own" if by is RunsBy.ROWS else why
    return RowsUsed(source, len(rows), used, left_out, runs, by, (name,), why)


def _optima(group: CurveGroup, name: str) -> list[FitResult]:
    best = group.optima
    cautions = (*group.options.unfollowed, *best.cautions)
    fits = [fit.with_cautions(after=cautions) for fit in best.fits if fit.law == name]
    if not fits:
        raise FitError(" ".join(skipped.text for skipped in best.skipped if skipped.law == name))
    return fits


def _few_on_frontier(front: Frontier) -> list[Caution]:
    """A caution if the intervals are based on very few runs."""
    on = front.selection.runs_on_frontier
    if not FEWEST <= on < 5:
        return []
    runs = front.selection.runs
    text = f"Only {on} of {runs} runs touch the frontier: the intervals over runs rest on them alone."
    return [Caution(Kind.INTERVALS, text)]


def curve_groups(table: pd.DataFrame, options: FitOptions, source: str = "curves") -> Iterator[CurveGroup]:
    """Check the rows and group those that have a loss. The frontier is taken over batch size, learning rate and n."""
    tables.require(table, "nmse")
    counted = with_compute(table, options.flops)
    flops = counted.column
    table = tables.numeric(counted.table, flops, "nmse", "n_latents", "k")
    isoflop = shared_budgets(table, flops) is not None
    if counted.convention == BY_SIZE and not isoflop:
        tables.require(table, f"flops_{options.flops}")
    if not isoflop:
        if {"run_id", "state"} <= set(table.columns) or {"run_id", "step"} <= set(table.columns):
            table = _with_losses(table, flops)
        tables.positive(table, flops, "nmse")
    note = [Caution(Kind.ROWS, counted.note, ("flops",))] if counted.note else []
    varying = [name for name in GROUPS if name != "batch_tokens"]
    following = split(table, ["k"], varying, asked=options.group).following
    for group, rows in groups(table, ["k"], varying, asked=options.group):
        names: tuple[str, ...] = ()
        if isoflop:
            rows, names = without_diverged(rows, flops)
            tables.positive(rows, flops, "nmse")
        cautions = (*note, *diverged(names))
        yield CurveGroup(rows, group, source, options, counted.convention, cautions, following)


def _with_losses(table: pd.DataFrame, flops: str) -> pd.DataFrame:
    """The rows that L(C) can use. In our own tables, pending runs and the last row of a diverged run have no loss.

    If the learning rate of a run decays, only its last row counts.
    """
    known = table[table["nmse"].notna() & table[flops].notna()]
    if known.empty:
        raise FitError("No run has a loss yet: there is no frontier.")
    if "state" not in known.columns:
        return known
    counted = known[(known["state"] == "done").to_numpy(dtype=bool, na_value=False) | ~decays(known)]
    if counted.empty:
        raise FitError(
            f"The lr of all {known['run_id'].nunique()} runs with a loss decays and none is done: only the end of such "
            "a run is a run at its budget, so there is no frontier yet."
        )
    return counted
