"""Proposes which cells of a study to train next, so that a chosen number of a law becomes known better for its cost."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from sweeps.config.phases import steps
from sweeps.config.schema import Design
from sweeps.errors import SweepError
from sweeps.planning import cost
from sweeps.planning.design.cells import Runs, cell, ended, groups_of, has_inputs, of_group, untrained
from sweeps.planning.plan import Plan
from sweeps.planning.runs import PlannedRun

if TYPE_CHECKING:
    import pandas as pd

    from fit.law.law import Inputs, Law
    from fit.law.result import FitResult
    from fit.study.answers.target import Target

# Without a budget, the share of what the untrained cells cost that a design may spend: on the published GPT-4 SAEs this
# share of the grid predicts the large ones as well as all of it (benchmarks/laws/design.py).
SHARE = 0.35
# Rows of a first fit beyond what the law needs at least.
SPARE = 2


@dataclass(frozen=True)
class Wanted:
    """What a user wants to know better. budget: in worker-hours, or in FLOPs where the throughput is unknown."""

    target: "Target"
    budget: float | None


@dataclass(frozen=True)
class Interval:
    """The target, or one of several numbers of it, by the runs so far. An end is None where it is open."""

    label: str
    value: float | None
    low: float | None
    high: float | None
    positive: bool

    def narrowed(self, width: float, half: float) -> tuple[float, float] | None:
        """The interval at `width` times its present width; an open one by its linear half width `half` instead."""
        if self.value is None or self.positive and not self.value > 0:
            return None
        to, back = (math.log, math.exp) if self.positive else (float, float)
        centre = to(self.value)
        ends = [
            sign * half if end is None or (self.positive and not end > 0) else to(end) - centre
            for sign, end in ((-1, self.low), (1, self.high))
        ]
        return back(centre + width * ends[0]), back(centre + width * ends[1])


@dataclass(frozen=True)
class Line:
    """A cell of a proposal: its runs, their cost, that of all up to it, what is expected after them, and the batch."""

    runs: tuple[PlannedRun, ...]
    cost: float
    spent: float
    width: float | None
    interval: tuple[float, float] | None
    now: bool


@dataclass(frozen=True)
class Proposal:
    """The next cells to train. law: fitted to the runs so far, None before there are enough for a first fit.

    unit: of costs, `CPU-h`, `GPU-h` or `FLOPs`. whole: what all untrained cells cost. notes: sentences for the reader.
    """

    plan: Plan
    target: "Target"
    law: str | None
    rows: int
    unit: str
    budget: float
    whole: float
    present: tuple[Interval, ...]
    lines: tuple[Line, ...]
    notes: tuple[str, ...] = ()


def wanted(config: DictConfig) -> Wanted | None:
    """What `design` of a config asks for; None if it is off. Raises SweepError or FitError for a bad target."""
    asked = config.design
    if not asked.on:
        return None
    if asked.target is None:
        raise SweepError(
            "design=true needs a target, what should become known better: design.target=alpha, design.target=E, or "
            "'design.target=L(n_latents=131072,k=32)'."
        )
    from fit.study.answers.target import read_target

    if asked.budget is not None and not (math.isfinite(asked.budget) and asked.budget > 0):
        raise SweepError(f"design.budget is {asked.budget:g}; it must be a finite number above 0.")
    return Wanted(read_target(asked.target, asked.law), asked.budget)


def given(config: DictConfig) -> dict[str, Any]:
    """The keys of `design` that a config sets, each with the value that it has where nothing sets it."""
    usual = Design()
    names = (field.name for field in fields(Design))
    return {
        f"design.{name}": getattr(usual, name)
        for name in names
        if config.design[name] != getattr(usual, name)
    }


def refuse(overrides: Sequence[str]) -> None:
    """Raise SweepError if the command line, or one of its studies, sets a key of `design`, which nothing launches."""
    for step in steps(overrides):
        keys = {} if step.composed is None else given(step.composed)
        if keys:
            off = " ".join(
                f"{key}={'null' if value is None else str(value).lower()}" for key, value in keys.items()
            )
            raise SweepError(
                f"{', '.join(keys)}: a design is of `saescale plan`, which prints the command that launches "
                f"what it proposes: leave it out of the command or of the study's file, or launch with {off}."
            )


def propose(plan: Plan, want: Wanted) -> Proposal:
    """The cells of a plan that are best trained next for a target, from the runs of the study that have ended.

    Raises SweepError where nothing can be proposed.
    """
    from fit.law.laws import LAWS

    cells = untrained(plan)
    if not cells:
        raise SweepError(
            f"Every cell of {plan.title} is trained: give a larger grid, as sae.n_latents=geom(…)."
        )
    _costs(plan, want, cells)  # a budget that pays nothing is refused before the fits
    tables, notes = ended(plan)
    if tables is None:
        none = f"No {'other ' if notes else ''}run of {plan.title} has ended."
        return _first(plan, want, [*notes, none])
    reasons = []
    for name in want.target.laws:
        law = LAWS[name]
        try:
            cells = untrained(plan, law)
        except SweepError:
            continue  # `_first` gives the reason if no other law takes this grid
        fits, why = _fits(name, tables)
        reasons += why
        for fit in fits:
            own = [runs for runs in cells if of_group(runs[0], fit, law)]
            if own and _matches(fit.group, want.target):
                return _designed(plan, want, law, fit, own, [*notes, *_other(len(cells) - len(own), fit)])
    return _first(plan, want, [*notes, *reasons])


def _other(count: int, fit: "FitResult") -> list[str]:
    """A note on the cells that a law cannot be designed for, because they are of another group."""
    return [_other_group(count, _label(fit))] if count else []


def _other_group(count: int, label: str) -> str:
    cells_are = "1 cell is" if count == 1 else f"{count} cells are"
    return f"{cells_are} of another group than {label}, and left out."


def _designed(
    plan: Plan,
    want: Wanted,
    law: "Law",
    fit: "FitResult",
    groups: Sequence[Runs],
    notes: Sequence[str],
) -> Proposal:
    """The design by a law that is fitted."""
    import numpy as np

    from fit.law.checks.lack_of_fit import independent
    from fit.study.answers.design import design
    from fit.study.answers.target import quantities

    at, rows = fit.estimate, fit.fitted_rows
    assert at is not None
    notes = [*notes]
    notes += [f"{caution.kind}: {caution.text}" for caution in fit.cautions if caution.kind == "refuted"]
    weight = independent(at, rows) / rows.runs if rows.shared else 1.0
    unit, costs, budget = _costs(plan, want, groups)
    cells = [cell(law, group, price, weight) for group, price in zip(groups, costs, strict=True)]
    x = {name: np.concatenate([rows.x[name], *(one.at[name] for one in cells)]) for name in law.inputs}
    made = design(at, rows, quantities(want.target, law, at.basis, x), cells, budget)
    assert made.added  # `_costs` has refused a budget that pays no cell
    present = _present(fit, law, want.target, x)
    one = present[0] if len(present) == 1 else None
    lines = tuple(
        Line(
            tuple(groups[each.cell]),
            costs[each.cell],
            each.cost,
            each.width,
            None if one is None else one.narrowed(each.width, made.half),
            each.now,
        )
        for each in made.added
    )
    return Proposal(
        plan, want.target, _label(fit), fit.rows, unit, budget, sum(costs), present, lines, tuple(notes)
    )


def _first(plan: Plan, want: Wanted, reasons: Sequence[str]) -> Proposal:
    """Cells for a first fit, spread over the grid, where the runs so far have none."""
    from fit.law.laws import LAWS

    why = []
    for name in want.target.laws:
        law = LAWS[name]
        try:
            cells = untrained(plan, law)
        except SweepError as error:
            why.append(f"{name}: {str(error).rstrip('.')}")
            continue
        if not cells:
            why.append(f"every cell of {name} is trained")
            continue
        if not all(has_inputs(runs[0], law) for runs in cells):
            why.append(f"{name} takes {', '.join(law.inputs)}")
            continue
        for group, numbers in groups_of(cells, law):
            if not _matches(group, want.target):
                continue
            own = [cells[number] for number in numbers]
            label, left_out = _labelled(name, group), len(cells) - len(own)
            notes = [*reasons]
            if left_out:
                notes.append(_other_group(left_out, label))
            made = _start(plan, want, law, own, notes)
            if isinstance(made, Proposal):
                return made
            why.append(f"{label}{made}")
    raise SweepError(
        f"{want.target} cannot be designed for with this grid: {'; '.join(dict.fromkeys([*why, *reasons]))}"
    )


def _start(
    plan: Plan, want: Wanted, law: "Law", groups: Sequence[Runs], notes: Sequence[str]
) -> Proposal | str:
    """A first fit of one law to one group of cells, or why there is none, to follow the name of the law."""
    import numpy as np

    from fit.law.errors import FitError
    from fit.study.answers.design import start
    from fit.study.answers.target import missing_values

    unit, costs, budget = _costs(plan, want, groups)
    cells = [cell(law, group, price, 1.0) for group, price in zip(groups, costs, strict=True)]
    inputs = {one: np.concatenate([each.at[one][-1:] for each in cells]) for one in law.inputs}
    if absent := missing_values(law, inputs):
        return f" needs {absent}"
    try:
        chosen = start(cells, law.inputs, budget, len(law.internal) + 2 + SPARE)
    except FitError as error:
        return f": {error}"
    spent, lines = 0.0, []
    for i in chosen:
        spent += costs[i]
        lines.append(Line(tuple(groups[i]), costs[i], spent, None, None, True))
    spread = f"These cells are spread over the grid for a first fit of {law.name}: plan again when they have ended."
    return Proposal(plan, want.target, None, 0, unit, budget, sum(costs), (), tuple(lines), (*notes, spread))


def _matches(group: Mapping[str, Any], target: "Target") -> bool:
    """Whether a group is of the k that the target names, if it is of one."""
    return group.get("k") is None or "k" not in target.at or float(group["k"]) == target.at["k"]


def _costs(
    plan: Plan, want: Wanted, groups: Sequence[Sequence[PlannedRun]]
) -> tuple[str, list[float], float]:
    """The unit of costs, the cost of each cell, and the budget."""
    rate = plan.throughput
    unit = "FLOPs" if rate is None else "GPU-h" if plan.launcher.device == "cuda" else "CPU-h"
    costs = [
        sum(
            run.flops_sparse if rate is None else (cost.seconds(run.config, rate) or 0.0) / 3600
            for run in runs
        )
        for runs in groups
    ]
    budget = max(SHARE * sum(costs), min(costs)) if want.budget is None else want.budget
    if budget < min(costs):
        counts = (
            ""
            if rate
            else " It counts FLOPs as long as the throughput is not known: launcher.flops_per_s gives it."
        )
        raise SweepError(
            f"design.budget is {budget:.3g} {unit}, and the cheapest untrained cell costs {min(costs):.3g}: raise it."
            f"{counts}"
        )
    allowed = plan.grid.gpu_hours
    if allowed is not None and rate is not None:
        budget = min(budget, allowed - (plan.hours_spent if plan.phase is not None else 0.0))
        if budget <= 0:
            raise SweepError(f"budget.gpu_hours is {allowed:g}, and nothing of it is left: raise it.")
    return unit, costs, budget


def _fits(law: str, tables: "tuple[pd.DataFrame, pd.DataFrame]") -> tuple[list["FitResult"], list[str]]:
    """The fits of a law to the runs that have ended, and why there are none."""
    from fit.law.errors import FitError
    from fit.study.fitting import fit_table

    try:
        return fit_table(*tables, [law], say=lambda text: None), []
    except FitError as error:
        return [], [str(error)]


def _present(fit: "FitResult", law: "Law", target: "Target", x: "Inputs") -> tuple[Interval, ...]:
    """The target with its 95 % interval, by the runs so far. x: the inputs of the rows, and of the cells."""
    from fit.study.answers.target import derived_of

    if target.is_loss:
        at = {name: target.at[name] for name in law.inputs}
        value, low, high = (float(part[0]) for part in fit.predict(at, "law"))
        ends = [end if math.isfinite(end) and end > 0 else None for end in (low, high)]
        return (Interval(str(target), value, ends[0], ends[1], positive=True),)
    derived = derived_of(target, law, x)
    if not derived:
        one = fit.params[target.name]
        return (Interval(target.name, one.value, one.low, one.high, target.name in law.logs),)
    numbers = ((label, each.log, fit.number(each)) for label, each in derived.items())
    return tuple(Interval(label, one.value, one.low, one.high, log) for label, log, one in numbers)


def _label(fit: "FitResult") -> str:
    return _labelled(fit.law, fit.group)


def _labelled(law: str, group: Mapping[str, Any]) -> str:
    values = ", ".join(f"{name}={value}" for name, value in group.items() if value is not None)
    return f"{law} ({values})" if values else law
