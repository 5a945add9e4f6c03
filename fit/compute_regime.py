"""L(C) of one group of curves, with N*(C), D*(C), lr*(C) and how much its exponent depends on choices."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pandas as pd

from fit import tables
from fit.choices import Choices
from fit.converged import GROUPS, groups
from fit.errors import FitError
from fit.fitting import fit_law
from fit.frontier import Frontier, frontier, resampled
from fit.isoflop import isoflops
from fit.law import Law
from fit.laws import L_C
from fit.optimum import optima
from fit.result import FitResult, integral, joined
from fit.sensitivity import sensitivity


def fit_frontier(
    law: Law,
    part: pd.DataFrame,
    group: dict[str, Any],
    source: str,
    choices: Choices,
    say: Callable[[str], None],
) -> list[FitResult]:
    """The law of the frontier, and for L(C) the optimum laws that its curves support; a law alone by its name."""
    needed = len(L_C.internal) + 2
    column = f"flops_{choices.flops}"
    found = frontier(part, column, needed, choices.min_flops)

    def of_group(fit: FitResult) -> FitResult:
        return replace(fit, group=group, flops=choices.flops)

    if law.response != "nmse":
        return [of_group(fit) for fit in _optima(found, choices, law.name)]
    base = _fit(law, found, source, choices)
    if law is not L_C:
        return [of_group(base)]
    moved = sensitivity(part, column, base, found, needed)
    best = optima(found, choices.frontiers, choices.seed)
    vertices = isoflops(found.candidates, min_flops=choices.min_flops)
    extra = {
        "sensitivity": list(moved.rows),
        "isoflop": {"points": vertices.points.to_dict("records"), "dropped": list(vertices.dropped)},
        "skipped": list(best.skipped),
    }
    name = ", ".join(f"{key}={value}" for key, value in group.items())
    for reason in best.skipped:
        say(f"{f'{name}: ' if name else ''}{reason}")
    base = replace(base, extra=extra, warnings=(*base.warnings, *moved.warnings, *best.warnings))
    return [of_group(fit) for fit in (base, *best.fits)]


def _fit(law: Law, found: Frontier, source: str, choices: Choices) -> FitResult:
    needed, points = len(law.internal) + 2, found.points
    # Points of as many different runs are independent measurements; points of a curve are not.
    independent = points["run_id"].is_unique
    replicates = None if independent else resampled(found, choices.frontiers, choices.seed, needed)
    how = {**choices.how, "method": choices.intervals if independent else "auto"}
    result = fit_law(law, {"flops": points["flops"]}, points["nmse"], replicates=replicates, **how)
    n = points["n_latents"].map(integral) if "n_latents" in points.columns else None
    drawn = 0 if replicates is None else len(replicates.weights)
    return replace(
        result,
        regime="compute",
        selection={**found.selection, "source": source, "draws": drawn, "seed": choices.seed},
        points=joined(result.points, {"run_id": points["run_id"], "n_latents": n}),
        warnings=(*found.warnings, *_few(found), *result.warnings),
    )


def _optima(found: Frontier, choices: Choices, name: str) -> list[FitResult]:
    best = optima(found, choices.frontiers, choices.seed)
    fits = [replace(fit, warnings=(*fit.warnings, *best.warnings)) for fit in best.fits if fit.law == name]
    if not fits:
        raise FitError(" ".join(reason for reason in best.skipped if reason.startswith(name)))
    return fits


def _few(found: Frontier) -> list[str]:
    on = found.selection["runs_on_frontier"]
    if on >= 5:
        return []
    return [
        f"Only {on} of {found.selection['runs']} runs touch the frontier: the intervals over runs rest on them alone."
    ]


def curve_groups(table: pd.DataFrame, choices: Choices) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Rows with a number, checked; batch, learning rate and n are what the frontier is taken over."""
    flops = f"flops_{choices.flops}"
    tables.require(table, flops, "nmse")
    table = tables.numeric(table, flops, "nmse", "n_latents", "k")
    if {"run_id", "state"} <= set(table.columns) or {"run_id", "step"} <= set(table.columns):
        # Our own tables: pending runs, and the end of a diverged one, have no loss.
        table = table[table["nmse"].notna() & table[flops].notna()]
        if "state" in table.columns and "lr_schedule" in table.columns:
            table = table[(table["state"] == "done") | (table["lr_schedule"] == "constant")]
    if table.empty:
        raise FitError("No run has a loss yet: there is no frontier.")
    tables.positive(table, flops, "nmse")
    yield from groups(table, ["k"], [name for name in GROUPS if name != "batch_tokens"])
