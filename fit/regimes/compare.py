"""Compares the two regimes: L(C), trained for the best use of compute, and L(N), trained to convergence."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from fit.compute.fit import CurveGroup, curve_groups
from fit.compute.frontier import LOOSER
from fit.compute.optimal_point import ComputeOptimal, compute_optimal_points
from fit.converged.runs import converged
from fit.converged.tokens import to_convergence
from fit.data import tables
from fit.law.caution import Caution, read_cautions, texts
from fit.law.errors import FitError
from fit.law.json_values import plain, record
from fit.law.options import FitOptions
from fit.law.result import FitResult
from fit.regimes import batch, budgets, floors
from fit.regimes.batch import Batch
from fit.regimes.budgets import Budgets
from fit.regimes.floors import Floor
from fit.regimes.lr_ratio import Ratio, lr_ratio

WITHOUT_CURVES = "Without curves the losses on the way to convergence are not known."


@dataclass(frozen=True)
class Group:
    """The comparison at one k, or of a table without k.

    group: the column values that all its rows share. reasons: which inputs were missing.
    """

    group: Mapping[str, Any]
    ratio: Ratio
    batch: tuple[Batch, Batch]
    budgets: tuple[Budgets, ...]
    reasons: tuple[str, ...]


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
            "groups": [{**asdict(g), "batch": [test.to_dict() for test in g.batch]} for g in self.groups],
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
            groups=tuple(_read_group(group) for group in content["groups"]),
            floors=tuple(record(Floor, floor) for floor in content["floors"]),
            cautions=read_cautions(content),
        )


def _read_group(content: Mapping[str, Any]) -> Group:
    return record(
        Group,
        content,
        ratio=Ratio.from_dict(content["ratio"]),
        batch=tuple(Batch.from_dict(test) for test in content["batch"]),
        budgets=tuple(Budgets.from_dict(row) for row in content["budgets"]),
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
    every, best, reasons = _converged(runs, curves, curve_group.options)
    at_end = batch.at_convergence(every)
    try:
        points = _optimal_points(curve_group, curves)
    except FitError as error:
        unknown = Ratio((), None, None, None, None, (str(error),))
        return Group(
            curve_group.group, unknown, (at_end, Batch("compute", reason=str(error))), (), tuple(reasons)
        )
    tests = at_end, batch.at_compute(curve_group.frontier.candidates, points)
    ratio = _ratio(curve_group, points, curves, every)
    if reasons:
        return Group(curve_group.group, ratio, tests, (), tuple(reasons))
    rows, absent = budgets.budgets(points, best)
    return Group(curve_group.group, ratio, tests, tuple(rows), tuple(absent))


def _optimal_points(curve_group: CurveGroup, curves: pd.DataFrame | None) -> dict[float, ComputeOptimal]:
    """The point where each n is compute-optimal. Raises FitError if the curves have no frontier."""
    if curves is None:
        raise FitError(WITHOUT_CURVES)
    return compute_optimal_points(curve_group.frontier)


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


def _converged(
    runs: pd.DataFrame, curves: pd.DataFrame | None, options: FitOptions
) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """All converged runs; the runs that represent each n, with tokens to convergence; and which inputs are missing."""
    try:
        chosen = converged(runs, unconverged=options.unconverged, asked=options.group, curves=curves)
        groups = list(chosen)
    except FitError as error:
        return pd.DataFrame(), pd.DataFrame(), [str(error)]
    every = pd.concat([group.every for group in groups])
    best = pd.concat([group.rows for group in groups]).sort_values("nmse").drop_duplicates("n_latents")
    if best.empty:
        return every, best, ["No run is done and converged."]
    try:
        known, _ = to_convergence(best, curves)
    except FitError as error:
        return every, best, [str(error)]
    return every, best.assign(tokens=known["tokens"]).sort_values("n_latents"), []
