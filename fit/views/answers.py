"""Answers as text for the terminal: predictions, what a loss needs, and how to spend a budget."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from fit.law.caution import Caution
from fit.law.json_values import finite
from fit.study.answers.advise import Advice, Plan, Quantity, furthest
from fit.study.answers.inverse import Needed, Needs
from fit.study.answers.prediction import Prediction, Predictions
from fit.views.format import REGIMES, greek, significant, with_interval

# What each response is called.
QUANTITIES = {"tokens": "tokens D", "n_latents": "n", "lr": "lr"}
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
                yield f"  ! {_refuted(one)}"
    yield from (f"  left out: {reason}" for reason in answers.left_out)


def prediction_rows(answers: Predictions) -> list[dict[str, Any]]:
    """A row per prediction for a table; an end of an interval is None where it is unbounded."""
    return [
        {
            "law": one.law,
            "group": " ".join(f"{name}={value}" for name, value in one.group.items()),
            "method": one.method,
            "regime": one.regime,
            "response": one.response,
            "predicted": one.value,
            "low": one.low,
            "high": one.high,
            "new_run_low": one.new_low,
            "new_run_high": one.new_high,
            "beyond": one.reach.factor,
            "beyond_input": one.reach.input,
            "refuted": one.refuted,
            "caution": " ".join(caution.text for caution in one.cautions),
        }
        for one in answers.predictions
    ]


def _with_interval(value: float, low: float | None, high: float | None) -> str:
    """A positive number with its interval; a missing lower end is 0."""
    return with_interval(value, low, high, DIGITS).replace("(−∞", "(0")


def _line(one: Prediction) -> tuple[str, ...]:
    law = _with_interval(one.value, one.low, one.high)
    new = _with_interval(one.value, one.new_low, one.new_high).partition(" ")[2]
    if one.low is None and one.high is None:
        law, new = f"{significant(one.value, DIGITS)} (no interval)", "–"
    quantity = " ".join(
        filter(None, (QUANTITIES.get(one.response, one.response_name), REGIMES.get(one.regime or "")))
    )
    return _name(one), quantity, law, new, str(one.reach)


def _name(one: Prediction | Needed) -> str:
    inside = [f"{name}={value}" for name, value in one.group.items()]
    if isinstance(one, Prediction) and one.method:
        inside.append(one.method)
    return f"{one.law} ({', '.join(inside)})" if inside else one.law


def _refuted(one: Prediction | Needed) -> str:
    return (
        f"{_name(one)} is refuted by its rows: its interval carries the misfit that they show, and no more."
    )


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
            yield f"  ! {_refuted(one)}"
    yield from (f"  left out: {reason}" for reason in answers.left_out)


SHARES = {0.5: "half", 1.0: "budget", 2.0: "twice"}


def advice(answer: Advice) -> Iterator[str]:
    """The budget, a table for each plan, and what is missing."""
    yield f"C = {answer.budget.flops:.3g} FLOPs, {answer.budget.origin}"
    yield f"counted as {answer.formula} ({answer.convention} convention)"
    for plan in answer.plans:
        yield ""
        yield from _plan(plan)
    for reason in answer.missing:
        yield f"missing: {reason}"


def _plan(plan: Plan) -> Iterator[str]:
    group = ", ".join(f"{name}={value_text(value)}" for name, value in plan.group.items())
    yield f"{plan.regime}{f', {group}' if group else ''}      by {plan.laws}; {plan.batch}"
    rows = [("", "C", "n", "tokens D", "lr", "NMSE, 95 % of the law", "")]
    rows += [
        (
            SHARES.get(one.share, f"{one.share:g} ×"),
            f"{one.flops:.3g}",
            _number(one.n_latents),
            _number(one.tokens),
            _number(one.lr),
            _number(one.nmse, DIGITS),
            str(furthest(one)),
        )
        for one in plan.spendings
    ]
    yield from _table(rows)
    for one in plan.spendings:
        if one.share == 1 and one.as_good:
            yield "  n from {:.3g} to {:.3g} costs at most 0.5 % more loss".format(*one.as_good)
    yield from _cautions(caution for one in plan.spendings if one.share == 1 for caution in one.cautions)
    yield from (f"  ! {greek(note)}" for note in plan.notes)


def _number(one: Quantity | None, digits: int = 3) -> str:
    """A number with its interval, as far as one is known."""
    if one is None:
        return "?"
    if one.low is None and one.high is None:
        return significant(one.value, digits)
    return with_interval(one.value, one.low, one.high, digits).replace("(−∞", "(0")


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
