"""The two regimes against each other: L(C), trained for the best use of compute, and L(N), trained to convergence."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from fit import batch, budgets, floors
from fit.batch import Batch
from fit.choices import Choices
from fit.compute_regime import curve_groups
from fit.converged import converged
from fit.errors import FitError
from fit.frontier import LOOSER, frontier
from fit.laws import L_C
from fit.lr_ratio import Ratio, lr_ratio
from fit.result import FitResult
from fit.touch import touches
from fit.trained import to_convergence


@dataclass(frozen=True)
class Group:
    """The comparison at one k, or of a table without k. group: what its rows have in common. reasons: what lacks."""

    group: dict[str, Any]
    ratio: Ratio
    batch: tuple[Batch, Batch]
    budgets: tuple[dict[str, Any], ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Regimes:
    """groups: one a k. floors: of every law. warnings. caution: what comparing n under L(C) means."""

    groups: tuple[Group, ...]
    floors: tuple[dict[str, Any], ...]
    warnings: tuple[str, ...]
    caution: str = LOOSER

    def to_dict(self) -> dict[str, Any]:
        """Plain data for fits.json."""
        return asdict(self)

    def lines(self) -> list[str]:
        """For the screen."""
        text = ["L(C) against L(N)"]
        for group in self.groups:
            name = ", ".join(f"{key}={value}" for key, value in group.group.items())
            found = [*group.ratio.lines(), *(line for test in group.batch for line in test.lines())]
            found += budgets.lines(group.budgets) + list(group.reasons)
            text += [f"  {name}"] * bool(name) + [f"    {line}" for line in found]
        text += [f"  {line}" for line in floors.lines(self.floors)]
        return text + [f"  ! {warning}" for warning in (*self.warnings, self.caution)]


def compare(
    runs: pd.DataFrame, curves: pd.DataFrame | None, fits: Sequence[FitResult], choices: Choices
) -> Regimes:
    """Ratio of the optimal lr, dependence on the batch, floors, and budgets, as far as the tables tell."""
    known = floors.floors(fits)
    table = runs if curves is None else curves
    groups = tuple(_group(runs, curves, part, group, choices) for group, part in curve_groups(table, choices))
    return Regimes(groups, tuple(known), tuple(floors.disagreements(known)))


def _group(
    runs: pd.DataFrame,
    curves: pd.DataFrame | None,
    part: pd.DataFrame,
    group: dict[str, Any],
    choices: Choices,
) -> Group:
    mine = (
        runs[runs["run_id"].isin(part["run_id"])]
        if {"run_id"} <= set(runs.columns) & set(part.columns)
        else runs
    )
    every, best, reasons = _converged(mine, curves, choices)
    try:
        found = frontier(part, f"flops_{choices.flops}", len(L_C.internal) + 2, choices.min_flops)
    except FitError as error:
        unknown = Ratio((), None, None, None, None, (str(error),))
        tests = batch.at_convergence(every), Batch("compute", reason=str(error))
        return Group(group, unknown, tests, (), tuple(reasons))
    points = touches(found)
    tests = batch.at_convergence(every), batch.at_compute(found.candidates)
    rows, absent = budgets.budgets(points, best)
    return Group(group, lr_ratio(points, every), tests, tuple(rows), (*reasons, *absent))


def _converged(
    runs: pd.DataFrame, curves: pd.DataFrame | None, choices: Choices
) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """All converged runs, those that stand for each n with their tokens to convergence, and what is missing."""
    try:
        groups = list(converged(runs, per_k=True, unconverged=choices.unconverged))
    except FitError as error:
        return pd.DataFrame(), _none(), [str(error)]
    every = pd.concat([group.every for group in groups])
    best = pd.concat([group.rows for group in groups]).sort_values("nmse").drop_duplicates("n_latents")
    try:
        best, _ = to_convergence(best, curves)
    except FitError as error:
        return every, _none(), [str(error)]
    return every, best.sort_values("n_latents"), []


def _none() -> pd.DataFrame:
    return pd.DataFrame(columns=["n_latents", "nmse", "tokens"], dtype=float)
