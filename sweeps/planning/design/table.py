"""Prints a proposal: the target as it is known now, the cells to train next, and how to launch them."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from sweeps.config.phases import steps
from sweeps.planning.design.propose import Interval, Proposal, given
from sweeps.planning.runs import PlannedRun

_PLAIN = re.compile(r"[\w.+-]+")


def show(proposal: Proposal) -> None:
    """Print the proposal."""
    print("\n".join(heading(proposal)))
    Console(width=None if Console().is_terminal else 150).print(table(proposal))
    print("\n".join(launching(proposal)))


def content(proposal: Proposal) -> dict[str, Any]:
    """The proposal as plain data: the cells in their order, each with its runs; costs are in `unit`."""
    return {
        "target": str(proposal.target),
        "law": proposal.law,
        "rows": proposal.rows,
        "unit": proposal.unit,
        "budget": proposal.budget,
        "cost_of_all": proposal.whole,
        "present": [vars(one) for one in proposal.present],
        "cells": [
            vars(line) | {"runs": [{"run_id": run.run_id, **run.varied} for run in line.runs]}
            for line in proposal.lines
        ],
        "notes": list(proposal.notes),
    }


def heading(proposal: Proposal) -> Iterator[str]:
    """What is wanted, what is known of it now, and what may be spent."""
    by = f", by {proposal.law}, {proposal.rows} rows" if proposal.law else ""
    yield f"design for {proposal.target}{by}"
    for one in proposal.present:
        yield f"  {one.label} now: {_value(one.value)} {_interval(one)}"
    whole, spent = proposal.whole, proposal.lines[-1].spent
    yield (
        f"{len(proposal.lines)} of the untrained cells for {_cost(spent)} {proposal.unit}, "
        f"{spent / whole:.0%} of what all of them cost (budget {_cost(proposal.budget)} {proposal.unit})"
    )
    yield from proposal.notes


def table(proposal: Proposal) -> Table:
    """One row per cell, the cheapest first: its cost, and the interval expected after it and those above it."""
    axes = [key for key, values in proposal.plan.grid.axes.items() if len(values) > 1]
    axes = [key for key in axes if all(len(varied({key: None}, line.runs)) == 0 for line in proposal.lines)]
    shown = Table(box=None, header_style="bold")
    names = [key.split(".")[-1] for key in axes] or ["cell"]
    several = any(len(line.runs) > 1 for line in proposal.lines)
    for name in (*names, *(["runs"] if several else [])):
        shown.add_column(name, justify="right")
    for name in (proposal.unit, "together"):
        shown.add_column(name, justify="right")
    if proposal.law:
        shown.add_column("width", justify="right")
    single = len(proposal.present) == 1
    if single:
        shown.add_column(f"{proposal.target} expected", justify="right")
    for number, line in enumerate(proposal.lines):
        cells = [_text(line.runs[0].varied[key]) for key in axes] or [line.runs[0].run_id]
        cells += [str(len(line.runs))] if several else []
        cells += [_cost(line.cost), _cost(line.spent)]
        if line.width is not None:
            cells.append(f"{line.width:.0%}")
        if single:
            ends = line.interval
            cells.append("–" if ends is None else f"[{_value(ends[0])}, {_value(ends[1])}]")
        last_now = line.now and number + 1 < len(proposal.lines) and not proposal.lines[number + 1].now
        shown.add_row(*cells, end_section=last_now)
    return shown


def launching(proposal: Proposal) -> Iterator[str]:
    """The command, or the grid, that trains the first batch, and what to do after it."""
    now = [run for line in proposal.lines if line.now for run in line.runs]
    later = sum(not line.now for line in proposal.lines)
    if later:
        count = len(proposal.lines) - later
        rest = f"the other {later} may change when the law has been fitted to these too."
        yield f"Train the first {count} and plan again: {rest}"
    plan = proposal.plan
    if plan.phase is None:
        import shlex

        command = overrides(plan.overrides, plan.grid.axes, now)
        command += switched_off(command)
        yield f"Launch with: saescale launch {shlex.join(command)}"
    else:
        yield f"Launch with this grid in the phase {plan.phase}:"
        yield yaml.safe_dump(
            {"grid": grid(plan.grid.axes, now)}, sort_keys=False, default_flow_style=None
        ).rstrip()


def varied(axes: Any, runs: Sequence[PlannedRun]) -> list[str]:
    """The axes in which the runs differ."""
    return [key for key in axes if len({_text(run.varied[key]) for run in runs}) > 1]


def overrides(given: Sequence[str], axes: Any, runs: Sequence[PlannedRun]) -> list[str]:
    """The overrides that were given, with those that make these runs and no others of the grid."""
    keys = [*axes]
    dropped = {"design", "grid.zip", *keys, *(f"grid.axes.{key}" for key in keys)}
    kept = [
        text
        for text in given
        if (key := text.split("=", 1)[0].lstrip("+~")) not in dropped and not key.startswith("design.")
    ]
    zipped = varied(axes, runs)
    made = []
    for key in keys:
        values = [run.varied[key] for run in runs]
        made.append(f"{key}={','.join(map(_text, values if key in zipped else values[:1]))}")
    return [*kept, *made, *([f"grid.zip=[[{','.join(zipped)}]]"] if len(zipped) > 1 else [])]


def switched_off(command: Sequence[str]) -> list[str]:
    """Overrides for the keys of `design` that the study's file sets, with which no command launches."""
    (step,) = steps(command)
    keys = {} if step.composed is None else given(step.composed)
    return [f"{key}={_text(value)}" for key, value in keys.items()]


def grid(axes: Any, runs: Sequence[PlannedRun]) -> dict[str, Any]:
    """`axes` and `zip` of a grid that has these runs and no others."""
    zipped = varied(axes, runs)
    lists = {key: [run.varied[key] for run in (runs if key in zipped else runs[:1])] for key in axes}
    return {"axes": lists} | ({"zip": [zipped]} if len(zipped) > 1 else {})


def _text(value: Any) -> str:
    if value is None:
        return "null"
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if _PLAIN.fullmatch(text) else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _cost(value: float) -> str:
    return f"{value:.3g}"


def _value(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _interval(one: Interval) -> str:
    low = ("0" if one.positive else "−∞") if one.low is None else _value(one.low)
    return f"[{low}, {'∞' if one.high is None else _value(one.high)}]"
