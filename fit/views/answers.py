"""Answers as text for the terminal: predictions, and what a loss needs."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from fit.law.caution import Caution
from fit.law.json_values import finite
from fit.study.answers.inverse import Needed, Needs
from fit.study.answers.prediction import Prediction, Predictions
from fit.views.format import greek, significant, with_interval

# What each response is called, and in which regime a law gives it.
QUANTITIES = {"nmse": "NMSE", "tokens": "tokens D", "n_latents": "n", "lr": "lr"}
REGIMES = {"converged": "at convergence", "compute": "best at this compute", None: ""}
DIGITS = 4


def predictions(answers: Predictions, points: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """For each point a table with a line for each law, then the cautions."""
    for row, group in groupby(answers.predictions, key=lambda one: one.row):
        of_point = list(group)
        yield ", ".join(f"{name}={value_text(value)}" for name, value in points[row].items())
        lines = [_line(one) for one in of_point]
        head = ("law", "", "predicted, 95 % of the law", "95 % of a new run", "")
        yield from _table([head, *lines])
        yield from _cautions(caution for one in of_point for caution in one.cautions)
        for one in of_point:
            if one.refuted:
                yield f"  ! {_name(one)} is refuted by its rows: its interval leaves that out."
    yield from (f"  left out: {reason}" for reason in answers.left_out)


def _with_interval(value: float, low: float | None, high: float | None) -> str:
    """A positive number with its interval; a missing lower end is 0."""
    return with_interval(value, low, high, DIGITS).replace("(−∞", "(0")


def _line(one: Prediction) -> tuple[str, ...]:
    law = _with_interval(one.value, one.low, one.high)
    new = _with_interval(one.value, one.new_low, one.new_high).partition(" ")[2]
    if one.low is None and one.high is None:
        law, new = f"{significant(one.value, DIGITS)} (no interval)", "–"
    quantity = " ".join(filter(None, (QUANTITIES.get(one.response, one.response), REGIMES.get(one.regime))))
    return _name(one), quantity, law, new, str(one.reach)


def _name(one: Prediction | Needed) -> str:
    inside = [f"{name}={value}" for name, value in one.group.items()]
    if isinstance(one, Prediction) and one.method:
        inside.append(one.method)
    return f"{one.law} ({', '.join(inside)})" if inside else one.law


def needs(answers: Needs) -> Iterator[str]:
    """A line for each law: the input that it needs, its interval, and how far that is beyond the rows."""
    first = answers.needs[0]
    yield f"{first.response}={first.target:g} needs"
    rows = []
    for one in answers.needs:
        given = ", ".join(f"{name}={value_text(value)}" for name, value in one.at.items())
        if one.value is None:
            rows.append((_name(one), given, one.reason or ""))
            continue
        interval = _with_interval(one.value, one.low, one.high)
        rows.append((_name(one), given, f"{one.input} {interval}   {one.reach}"))
    yield from _table(rows)
    yield from _cautions(caution for one in answers.needs for caution in one.cautions)
    for one in answers.needs:
        if one.refuted:
            yield f"  ! {_name(one)} is refuted by its rows: its interval leaves that out."
    yield from (f"  left out: {reason}" for reason in answers.left_out)


def _cautions(cautions: Iterator[Caution] | Any) -> Iterator[str]:
    for text in dict.fromkeys(caution.text for caution in cautions):
        yield f"  ! {greek(text)}"


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The rows with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True) if width)
        yield f"  {'   '.join(cells)}".rstrip()


def value_text(value: Any) -> str:
    """`16,777,216`, `1.3e+09`, or a text as it is."""
    if not isinstance(value, int | float):
        return str(value)
    known = finite(value)
    if known is None:
        return str(value)
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) < 1e9 else f"{value:.4g}"
