"""Proposes which cells of a study to train next, so that a chosen number of a law becomes known better for its cost."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from sweeps.errors import SweepError
from sweeps.ledger.run_folder import ENDED
from sweeps.planning import cost
from sweeps.planning.plan import Plan
from sweeps.planning.runs import PlannedRun

if TYPE_CHECKING:
    import pandas as pd

    from fit.law.law import Inputs, Law
    from fit.law.result import FitResult
    from fit.study.answers.design import Cell
    from fit.study.answers.target import Target

# Without a budget, the share of what the untrained cells cost that a design may spend: on the published GPT-4 SAEs this
# share of the grid predicts the large ones as well as all of it (benchmarks/design.py).
SHARE = 0.35
# Rows of a first fit beyond what the law needs at least.
SPARE = 2
# The rows of a run at its budgets are taken at its end and at these many halvings of it.
OCTAVES = 5
# Runs that agree in these, as those of a sweep of lr, give a law one row.
_CELL = ("n_latents", "k", "max_tokens", "data", "activation", "batch_tokens", "seed")


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


def propose(plan: Plan, want: Wanted) -> Proposal:
    """The cells of a plan that are best trained next for a target, from the runs of the study that have ended.

    Raises SweepError where nothing can be proposed.
    """
    from fit.law.laws import LAWS

    groups = _untrained(plan)
    if not groups:
        raise SweepError(
            f"Every cell of {plan.title} is trained: give a larger grid, as sae.n_latents=geom(…)."
        )
    _costs(plan, want, groups)  # a budget that pays nothing is refused before the fits
    tables, reasons = _ended(plan), []
    if tables is None:
        return _first(plan, want, groups, [f"No run of {plan.title} has ended."])
    for name in want.target.laws:
        law = LAWS[name]
        fits, why = _fits(name, tables)
        reasons += why
        for fit in fits:
            own = [group for group in groups if _of_group(group[0], fit, law)]
            if own and _matches(fit, want.target):
                return _designed(plan, want, law, fit, own, len(groups) - len(own))
    return _first(plan, want, groups, reasons)


def _designed(
    plan: Plan,
    want: Wanted,
    law: "Law",
    fit: "FitResult",
    groups: list[list[PlannedRun]],
    left_out: int,
) -> Proposal:
    """The design by a law that is fitted."""
    import numpy as np

    from fit.law.checks.lack_of_fit import independent
    from fit.study.answers.design import design
    from fit.study.answers.target import quantities

    at, rows = fit.estimate, fit.fitted_rows
    assert at is not None
    notes = []
    if left_out:
        notes.append(f"{left_out} cells are of another group than {_label(fit)}, and left out.")
    notes += [f"{caution.kind}: {caution.text}" for caution in fit.cautions if caution.kind == "refuted"]
    weight = independent(at, rows) / rows.runs if rows.shared else 1.0
    unit, costs, budget = _costs(plan, want, groups)
    cells = [_cell(law, group, price, weight) for group, price in zip(groups, costs, strict=True)]
    x = {name: np.concatenate([rows.x[name], *(cell.at[name] for cell in cells)]) for name in law.inputs}
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


def _first(plan: Plan, want: Wanted, groups: list[list[PlannedRun]], reasons: Sequence[str]) -> Proposal:
    """Cells for a first fit, spread over the grid, where the runs so far have none."""
    import numpy as np

    from fit.law.errors import FitError
    from fit.law.laws import LAWS
    from fit.study.answers.design import start
    from fit.study.answers.target import missing_values

    unit, costs, budget = _costs(plan, want, groups)
    why = []
    for name in want.target.laws:
        law = LAWS[name]
        if not all(_has(group[0], law) for group in groups):
            why.append(f"{name} takes {', '.join(law.inputs)}")
            continue
        cells = [_cell(law, group, price, 1.0) for group, price in zip(groups, costs, strict=True)]
        inputs = {one: np.concatenate([cell.at[one][-1:] for cell in cells]) for one in law.inputs}
        if absent := missing_values(law, inputs):
            why.append(f"{name} needs {absent}")
            continue
        try:
            chosen = start(cells, law.inputs, budget, len(law.internal) + 2 + SPARE)
        except FitError as error:
            why.append(f"{name}: {error}")
            continue
        spent, lines = 0.0, []
        for i in chosen:
            spent += costs[i]
            lines.append(Line(tuple(groups[i]), costs[i], spent, None, None, True))
        spread = f"These cells are spread over the grid for a first fit of {name}: plan again when they have ended."
        notes = [*reasons, spread]
        return Proposal(plan, want.target, None, 0, unit, budget, sum(costs), (), tuple(lines), tuple(notes))
    raise SweepError(
        f"{want.target} cannot be designed for with this grid: {'; '.join(dict.fromkeys([*why, *reasons]))}"
    )


def _untrained(plan: Plan) -> list[list[PlannedRun]]:
    """The untrained runs by cell: those of equal inputs and seed, as the lr of a sweep, are one cell of the law."""
    groups: dict[tuple[Any, ...], list[PlannedRun]] = {}
    trained = set()
    for run in plan.runs:
        columns = _columns(run)
        key = tuple(columns[name] for name in _CELL)
        if plan.states.get(run.run_id) in ENDED:
            trained.add(key)
        else:
            groups.setdefault(key, []).append(run)
    return [runs for key, runs in groups.items() if key not in trained]


def _columns(run: PlannedRun) -> dict[str, Any]:
    """What a run's row in runs.parquet has, as far as groups of rows and inputs of laws are concerned."""
    config = run.config
    own = {"seed": config.seed, "data": run.data["name"], "d_model": config.data.d_model}
    own |= {"data_fingerprint": config.data.fingerprint, "tokens": config.train.budget}
    return asdict(config.sae) | asdict(config.train) | own


def _has(run: PlannedRun, law: "Law") -> bool:
    columns = _columns(run)
    return all(columns.get(name) is not None for name in law.inputs)


def _of_group(run: PlannedRun, fit: "FitResult", law: "Law") -> bool:
    columns = _columns(run)
    known = {name: value for name, value in fit.group.items() if value is not None and name in columns}
    same = (str(columns[name]) == str(value) for name, value in known.items())
    return _has(run, law) and all(same)


def _matches(fit: "FitResult", target: "Target") -> bool:
    """Whether a fit is of the k that the target names, if it is of one."""
    return fit.group.get("k") is None or "k" not in target.at or float(fit.group["k"]) == target.at["k"]


def _cell(law: "Law", runs: Sequence[PlannedRun], price: float, weight: float) -> "Cell":
    import numpy as np

    from fit.study.answers.design import Cell

    columns = _columns(runs[0])
    count = OCTAVES + 1 if "tokens" in law.inputs else 1
    at = {name: np.full(count, float(columns[name])) for name in law.inputs}
    if "tokens" in at:
        at["tokens"] = at["tokens"] / 2.0 ** np.arange(OCTAVES, -1, -1)
    return Cell(at, price, weight)


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


def _ended(plan: Plan) -> "tuple[pd.DataFrame, pd.DataFrame] | None":
    """The tables of the runs that have ended: of the study, or of the phase; None if there are none."""
    from sweeps.ledger.tables import collect

    ids = None if plan.phase is None else [run.run_id for run in plan.runs]
    runs, curves = collect(plan.study, ids)
    runs = runs[runs["state"].isin(ENDED)]
    return (runs, curves[curves["run_id"].isin(runs["run_id"])]) if len(runs) else None


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
    values = ", ".join(f"{name}={value}" for name, value in fit.group.items())
    return f"{fit.law} ({values})" if values else fit.law
