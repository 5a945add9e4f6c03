"""Prints what a plan says about phases: the values they take, which runs are stale, and a table over all of them."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from sweeps.ledger.phase_record import Taken, Value
from sweeps.planning import cost, table
from sweeps.planning.phased import stale
from sweeps.planning.plan import Plan

# Values of one key that are listed one by one; of more, the first and the last ones.
_LISTED = 12


def heading(plan: Plan, number: int, count: int) -> str:
    """`phase 2 of 2: main (ln, stop converged)`."""
    what = f": {plan.phase} ({plan.grid.regime}, stop {plan.grid.stop})" if plan.phase else ""
    return f"phase {number} of {count}{what}"


def lines(plan: Plan) -> list[str]:
    """The values that a phase takes with what they rest on, and the runs that are stale, with the reasons."""
    listed = [*_values(plan.grid.taken)]
    if (old := stale(plan)) is not None:
        some = ", ".join(old.runs[:3]) + (", …" if len(old.runs) > 3 else "")
        runs = f"{len(old.runs)} run{'s' * (len(old.runs) != 1)}"
        listed.append(f"stale: {runs} of {plan.phase} ({some}): {'; '.join(old.reasons)}")
    record = plan.folder.record()
    if record is not None:
        left = [run for run in record.replaced if plan.study.run(run).exists]
        if left:
            reasons = "; ".join(dict.fromkeys(record.replaced[run] for run in left))
            listed.append(
                f"replaced: {len(left)} runs of earlier launches are still in the folder: {reasons}"
            )
        if record.stopped:
            listed.append(f"stopped: {record.stopped}")
    return listed


def _values(taken: Sequence[Taken]) -> list[str]:
    found = []
    for key in dict.fromkeys(one.key for one in taken):
        of_key = [one for one in taken if one.key == key]
        first = of_key[0]
        rows = f", {first.rows} rows" + (f" of {first.runs} runs" if first.runs else "") if first.law else ""
        laws = ", ".join(dict.fromkeys(one.law for one in of_key))
        found.append(f"{key} = {first.rule}{f': {laws}{rows}' if laws else ''}")
        shown = of_key if len(of_key) <= _LISTED else [*of_key[: _LISTED // 2], *of_key[-_LISTED // 2 :]]
        for index, one in enumerate(shown):
            if len(of_key) > _LISTED and index == _LISTED // 2:
                found.append(f"  … {len(of_key) - len(shown)} more")
            at = ", ".join(f"{name}={_number(value)}" for name, value in one.at.items())
            notes = f"   {'; '.join(one.notes)}" if one.notes else ""
            found.append(f"  {at}: {_number(one.value)} [{_end(one.low)}, {_end(one.high)}]{notes}")
    return found


def _end(value: Value | None) -> str:
    return "–" if value is None else _number(value)


def _number(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(_number, value)) or "none"
    if isinstance(value, float | int) and not isinstance(value, bool):
        return f"{value:,.0f}" if 100 <= abs(value) < 1e15 else f"{value:.3g}"
    return str(value)


def show(plans: Sequence[Plan]) -> None:
    """Print one row per phase: what is left to train, its hours, longest job, memory and disk; and the total."""
    shown = Table(box=None, header_style="bold", title="all phases", title_justify="left")
    hours_name = "GPU-h" if plans[0].launcher.device == "cuda" else "CPU-h"
    price = plans[0].grid.price
    columns = ["phase", "runs", "to train", "FLOPs (sparse)", hours_name]
    columns += ["money"] if price else []
    for column in (*columns, "longest job", "memory", "disk at the end", "values"):
        shown.add_column(column, justify="left" if column in ("phase", "values") else "right")
    for plan in plans:
        shown.add_row(*_row(plan, price))
    shown.add_section()
    left = [run for plan in plans for run in plan.todo]
    hours = [plan.hours(plan.todo) for plan in plans]
    known = None if None in hours else sum(h for h in hours if h is not None)
    total = [f"{len(plans)} phases", str(sum(len(plan.runs) for plan in plans)), str(len(left))]
    total += [f"{sum(run.flops_sparse for run in left):.1e}", _hours(known)]
    total += [_money(known, price)] if price else []
    disk = sum(
        cost.disk_bytes(run.config, plan.launcher.keep_state)[1] for plan in plans for run in plan.runs
    )
    shown.add_row(*total, "", "", table.size_text(disk), "")
    Console(width=None if Console().is_terminal else 150).print(shown)
    for line in _budget(plans, known):
        print(line)


def _row(plan: Plan, price: float | None) -> list[str]:
    hours = plan.hours(plan.todo)
    cells = [plan.phase or plan.study.name, str(len(plan.runs)), str(len(plan.todo))]
    cells += [f"{sum(run.flops_sparse for run in plan.todo):.1e}", _hours(hours)]
    cells += [_money(hours, price)] if price else []
    longest = max((job.seconds for job in plan.jobs if job.seconds is not None), default=None)
    memory = max((job.memory(plan.launcher) for job in plan.jobs), default=0)
    disk = sum(cost.disk_bytes(run.config, plan.launcher.keep_state)[1] for run in plan.runs)
    values = "guesses" if plan.grid.waiting else "from the ledger" if plan.grid.specs else ""
    return [
        *cells,
        "–" if longest is None else f"{longest / 3600:.3g} h",
        table.size_text(memory) if memory else "–",
        table.size_text(disk),
        values,
    ]


def _hours(hours: float | None) -> str:
    return "–" if hours is None else f"{hours:.4g}" if hours >= 0.01 else f"{hours:.2g}"


def _money(hours: float | None, price: float | None) -> str:
    return "–" if hours is None or price is None else f"{hours * price:,.2f}"


def _budget(plans: Sequence[Plan], hours: float | None) -> list[str]:
    """A line on the budget of a study in phases: what has been spent, and the phase before which it stops."""
    first = plans[0]
    allowed = first.grid.gpu_hours
    if allowed is None or first.phase is None or hours is None:
        return []
    spent = first.hours_spent
    total = spent
    for plan in plans:
        total += plan.hours_left or 0.0
        if total > allowed:
            return [
                f"budget: {spent:.2f} h spent and {hours:.2f} h to come, of {allowed:g} h: it stops before {plan.phase}"
            ]
    return [f"budget: {spent:.2f} h spent and {hours:.2f} h to come, of {allowed:g} h, fits"]
