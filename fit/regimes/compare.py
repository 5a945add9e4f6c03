"""Compares the two regimes: L(C), trained for the best use of compute, and L(N), trained to convergence."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from fit.compute.fit import CurveGroup, curve_groups
from fit.compute.frontier import LOOSER
from fit.compute.optimal_point import ComputeOptimal, compute_optimal_points
from fit.converged.runs import converged
from fit.converged.tails import at_limits
from fit.converged.tails import ends as ends_of
from fit.converged.tokens import to_convergence
from fit.data import tables
from fit.law.caution import Caution, read_cautions, texts
from fit.law.errors import FitError
from fit.law.json_values import plain, record
from fit.law.options import KEEP, FitOptions
from fit.law.result import FitResult
from fit.regimes import batch, budgets, floors
from fit.regimes.batch import Batch
from fit.regimes.budgets import Budgets, ConvergenceTokens, convergence_tokens
from fit.regimes.floors import Floor
from fit.regimes.lr_ratio import Ratio, lr_ratio
from fit.regimes.lr_readings import LrReadings, lr_readings, optima_by_tokens
from fit.regimes.verdict import Verdict, verdict

WITHOUT_CURVES = "Without curves the losses on the way to convergence are not known."


@dataclass(frozen=True)
class Group:
    """The comparison at one k, or of a table without k.

    group: the column values that all its rows share. ratio: ρ at one batch size, by the law LR_NR. reasons: which
    inputs were missing. lr: lr* and ρ of every batch size. batch_by_tokens: the test of L(C) at equal tokens.
    convergence: tokens to convergence of each n and batch size. verdict: None in files of older versions.
    """

    group: Mapping[str, Any]
    ratio: Ratio
    batch: tuple[Batch, Batch]
    budgets: tuple[Budgets, ...]
    reasons: tuple[str, ...]
    lr: LrReadings | None = None
    batch_by_tokens: tuple[Batch, ...] = ()
    convergence: tuple[ConvergenceTokens, ...] = ()
    verdict: Verdict | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for fits.json."""
        tests = {
            name: [test.to_dict() for test in getattr(self, name)] for name in ("batch", "batch_by_tokens")
        }
        return {**asdict(self), **tests}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Group":
        lr, judged = content.get("lr"), content.get("verdict")
        return record(
            cls,
            content,
            ratio=Ratio.from_dict(content["ratio"]),
            batch=tuple(Batch.from_dict(test) for test in content["batch"]),
            budgets=tuple(Budgets.from_dict(row) for row in content["budgets"]),
            lr=lr and LrReadings.from_dict(lr),
            batch_by_tokens=tuple(Batch.from_dict(test) for test in content.get("batch_by_tokens", ())),
            convergence=tuple(record(ConvergenceTokens, row) for row in content.get("convergence", ())),
            verdict=judged and Verdict.from_dict(judged),
        )


@dataclass(frozen=True)
class Regimes:
    """The comparison of the two regimes.

    groups: one for each k. floors: those of every law. reasons: which inputs were missing. caution: what a comparison
    of different n under L(C) means.
    """

    groups: tuple[Group, ...]
    floors: tuple[Floor, ...]
    cautions: tuple[Caution, ...]
    reasons: tuple[str, ...] = ()
    caution: str = LOOSER

    def to_dict(self) -> dict[str, Any]:
        """Plain data for fits.json."""
        content = {
            "groups": [group.to_dict() for group in self.groups],
            "floors": [asdict(floor) for floor in self.floors],
            "cautions": [asdict(caution) for caution in self.cautions],
            "warnings": texts(self.cautions),
            "reasons": self.reasons,
            "caution": self.caution,
        }
        return plain(content)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Regimes":
        """The regimes of fits.json. Raises FitError if a part is absent."""
        return record(
            cls,
            content,
            groups=tuple(Group.from_dict(group) for group in content["groups"]),
            floors=tuple(record(Floor, floor) for floor in content["floors"]),
            cautions=read_cautions(content),
        )


def compare(
    runs: pd.DataFrame,
    curves: pd.DataFrame | None,
    fits: Sequence[FitResult],
    options: FitOptions,
    parts: Sequence[CurveGroup] | None = None,
) -> Regimes:
    """Compare the optimal lr, the dependence on the batch size, the floors and the budgets of the two regimes.

    If a column is missing, the result is unknown and a reason says why; no FitError is raised.

    Parameters
    ----------
    runs, curves : the runs and their curves, under our column names; curves is None if there are none.
    fits : the fits whose floors are compared.
    options : the options that the fits were made with.
    parts : the groups of the curves, if they are known already, so that their frontiers are not built again.
    """
    known = floors.floors(fits)
    cautions = tuple(floors.disagreements(known))
    table = runs if curves is None else curves
    try:
        parts = list(curve_groups(table, options)) if parts is None else parts
    except FitError as error:
        return Regimes((), tuple(known), cautions, (str(error),))
    groups = tuple(_group(_runs_of(runs, part.rows), curves, part) for part in parts)
    return Regimes(groups, tuple(known), cautions)


def _runs_of(runs: pd.DataFrame, part: pd.DataFrame) -> pd.DataFrame:
    """The runs that these curves belong to; all runs if the table has no run ids."""
    return runs[runs["run_id"].isin(part["run_id"])] if "run_id" in runs and "run_id" in part else runs


def _group(runs: pd.DataFrame, curves: pd.DataFrame | None, curve_group: CurveGroup) -> Group:
    ends = run_ends(runs, curves, curve_group.options)
    at_end = batch.at_convergence(ends.at_limits, ends.unconverged)
    by_tokens = optima_by_tokens(curve_group.rows)
    of_readings = tuple(
        test for tokens, optima in by_tokens if (test := batch.at_tokens(optima, tokens)).b is not None
    )
    try:
        points = _optimal_points(curve_group, curves)
    except FitError as error:
        unknown = Ratio((), None, None, None, None, (str(error),))
        tests = at_end, Batch("compute", reason=str(error))
        judged = verdict(None, tests, with_curves=curves is not None)
        return Group(
            curve_group.group,
            unknown,
            tests,
            (),
            ends.reasons,
            batch_by_tokens=of_readings,
            convergence=convergence_tokens(ends.known),
            verdict=judged,
        )
    tests = at_end, batch.at_compute(curve_group.frontier.candidates, points)
    ratio = _ratio(curve_group, points, curves, ends.at_limits)
    lr = lr_readings(by_tokens, _by_batch(curve_group, points, curves), ends.at_limits, ends.unconverged)
    group = Group(
        curve_group.group,
        ratio,
        tests,
        (),
        ends.reasons,
        lr,
        of_readings,
        convergence_tokens(ends.known),
        verdict(lr, tests),
    )
    if ends.best.empty:
        return group
    rows, absent = budgets.budgets(points, ends.best)
    return replace(group, budgets=tuple(rows), reasons=(*ends.reasons, *absent))


def _no_tokens() -> pd.DataFrame:
    return pd.DataFrame(columns=["n_latents", "tokens", "shared_low", "shared_high"], dtype=float)


def _optimal_points(curve_group: CurveGroup, curves: pd.DataFrame | None) -> dict[float, ComputeOptimal]:
    """The point where each n is compute-optimal. Raises FitError if the curves have no frontier."""
    if curves is None:
        raise FitError(WITHOUT_CURVES)
    return compute_optimal_points(curve_group.frontier)


def _by_batch(
    curve_group: CurveGroup, points: dict[float, ComputeOptimal], curves: pd.DataFrame | None
) -> dict[float, dict[float, ComputeOptimal]]:
    """The compute-optimal points of the curves of each batch size alone; without those that have no frontier."""
    rows = curve_group.rows
    if "batch_tokens" not in rows or rows["batch_tokens"].isna().any():
        return {}
    if tables.single(rows["batch_tokens"]):
        return {float(rows["batch_tokens"].iloc[0]): points}
    found = {}
    for B, part in rows.groupby("batch_tokens"):
        try:
            found[float(str(B))] = _optimal_points(replace(curve_group, rows=part), curves)
        except FitError:
            continue  # the verdict says that this batch size has no lr* under L(C)
    return found


def _ratio(
    curve_group: CurveGroup,
    points: dict[float, ComputeOptimal],
    curves: pd.DataFrame | None,
    converged: pd.DataFrame,
) -> Ratio:
    """ρ at one batch size, since lr* depends on it: the one with the most pairs (n, lr), the smallest in a tie."""
    rows = curve_group.rows
    if "batch_tokens" not in rows or "batch_tokens" not in converged or tables.single(rows["batch_tokens"]):
        return lr_ratio(points, converged)
    pairs = rows[["batch_tokens", *({"n_latents", "lr"} & set(rows.columns))]].drop_duplicates()
    count = pairs.groupby("batch_tokens").size()
    B = count.index[int(np.argmax(count.to_numpy()))]
    about = f"Of {len(count)} batch sizes only B={B:,.0f} counts here."
    rows, converged = (part[(part["batch_tokens"] == B).to_numpy(bool)] for part in (rows, converged))
    try:
        return lr_ratio(_optimal_points(replace(curve_group, rows=rows), curves), converged, (about,))
    except FitError as error:
        return Ratio((), None, None, None, None, (about, str(error)))


_CELL_OF_LR = {"n_latents", "batch_tokens", "lr", "nmse"}


@dataclass(frozen=True)
class RunEnds:
    """The ends of the runs of a group.

    every: all converged runs. best: the one that represents each n, with its tokens to convergence. known: those that
    represent each n and batch size, with theirs. at_limits: the converged runs whose L∞ is known, with it.
    unconverged: the other done runs with `lowest`, the lower 95 % end of their L∞, where that is known, and NaN for the
    converged ones whose L∞ is not. reasons: which inputs are missing.
    """

    every: pd.DataFrame = field(default_factory=pd.DataFrame)
    best: pd.DataFrame = field(default_factory=pd.DataFrame)
    known: pd.DataFrame = field(default_factory=_no_tokens)
    at_limits: pd.DataFrame = field(default_factory=pd.DataFrame)
    unconverged: pd.DataFrame = field(default_factory=pd.DataFrame)
    reasons: tuple[str, ...] = ()


def run_ends(runs: pd.DataFrame, curves: pd.DataFrame | None, options: FitOptions) -> RunEnds:
    """The ends of the runs by whether they converged."""
    try:
        groups = list(converged(runs, unconverged=options.unconverged, asked=options.group, curves=curves))
    except FitError as error:
        return RunEnds(reasons=(str(error),))
    every = pd.concat([group.every for group in groups])
    of_each = pd.concat([group.rows for group in groups])
    best = of_each.sort_values("nmse").drop_duplicates("n_latents")
    # Who keeps unconverged runs asks for last losses.
    at_end, without = (every, 0) if options.unconverged == KEEP else at_limits(every, curves)
    others, unknown = _unconverged(runs, every, curves)
    if without and _CELL_OF_LR <= set(every.columns):
        doubtful = tables.numeric(every[~every.index.isin(at_end.index)], *_CELL_OF_LR)
        others = pd.concat([others, doubtful.assign(converged=True, lowest=np.nan)])
    ends = RunEnds(every, pd.DataFrame(), _no_tokens(), at_end, others, _without_limit(without, unknown))
    if best.empty:
        return replace(ends, reasons=("No run is done and converged.", *ends.reasons))
    try:
        known, _ = to_convergence(of_each, curves)
    except FitError as error:
        return replace(ends, reasons=(str(error), *ends.reasons))
    best = best.assign(tokens=known["tokens"].reindex(best.index)).sort_values("n_latents")
    return replace(ends, best=best, known=known)


def _without_limit(converged: int, unconverged: int) -> tuple[str, ...]:
    """A sentence about runs that do not count for want of a known tail."""
    counts = {"converged": converged, "not converged": unconverged}
    texts = [f"{count} of those {which}" for which, count in counts.items() if count]
    if not texts:
        return ()
    return (
        f"{' and '.join(texts)} have no curve with two evaluations in its last doubling, and no last_doubling, so "
        "their L∞ is not known, and they do not count for lr*(L(N)) or for the batch size.",
    )


def _unconverged(
    runs: pd.DataFrame, every: pd.DataFrame, curves: pd.DataFrame | None
) -> tuple[pd.DataFrame, int]:
    """The done runs that did not converge and whose L∞ has a lower end, and how many more have none.

    A loss that rises has no L∞; what it has reached is its end. Where the tail is not known, the last loss says
    nothing: the run might fall below all others.
    """
    if not _CELL_OF_LR | {"state", "converged"} <= set(runs.columns):
        return pd.DataFrame(), 0
    done = (runs["state"] == "done").to_numpy(dtype=bool, na_value=False) & np.isfinite(
        tables.numbers(runs, "nmse")
    )
    others = runs[done & ~runs.index.isin(every.index)]
    if others.empty:
        return pd.DataFrame(), 0
    numeric = tables.numeric(others, "n_latents", "batch_tokens", "lr", "nmse")
    lowest = ends_of(others, curves)["low"]
    return numeric.assign(lowest=lowest), int(lowest.isna().sum())
