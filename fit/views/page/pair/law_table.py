"""The laws of two studies in one table: the estimates of A and B, and their ratio or difference with its interval."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fit.law.result import FitResult
from fit.views.format import Estimate, greek, scale, symbol, with_interval
from fit.views.page.fit_format import interval
from fit.views.page.pair.sides import FitPair, Pair

RATIO, DIFFERENCE = "B/A", "B − A"
# At most this many values of a further input, as k in L(N, K), at which predictions are compared.
MOST_INPUTS = 4


@dataclass(frozen=True)
class Compared:
    """B against A: a ratio or a difference, with its 95 % interval; an end is None where it is not known."""

    kind: str
    value: float
    low: float | None
    high: float | None

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out that A and B are equal."""
        equal = 1.0 if self.kind == RATIO else 0.0
        return (self.low is not None and self.low > equal) or (self.high is not None and self.high < equal)

    def __str__(self) -> str:
        return with_interval(self.value, self.low, self.high)


@dataclass(frozen=True)
class Reading:
    """A law at one place, with its 95 % interval."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Row:
    """One quantity of both studies. compared: None where an estimate is missing or the two have no common scale."""

    quantity: str
    a: str
    b: str
    compared: Compared | None


@dataclass(frozen=True)
class LawRows:
    """The rows of one law and group. notes: which of its fits the rows refute, and what has no common scale."""

    law: str
    formula: str
    name: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class LawTable:
    """The facts of the section. alone: a sentence for each fit that has no counterpart."""

    a: str
    b: str
    laws: tuple[LawRows, ...]
    alone: tuple[str, ...]


def law_table(pair: Pair) -> LawTable:
    """The facts of the section."""
    return LawTable(pair.a.name, pair.b.name, tuple(_law_rows(each, pair) for each in pair.fits), pair.alone)


def _law_rows(fits: FitPair, pair: Pair) -> LawRows:
    notes = [
        f"The rows of {side.name} refute it: {fit.refutation}"
        for side, fit in zip(pair.sides, (fits.a, fits.b), strict=True)
        if fit.refutation
    ]
    if fits.refusal:
        notes.append(f"Not compared: {fits.refusal}")
    return LawRows(fits.law, fits.formula, fits.name, tuple(_rows(fits)), tuple(notes))


def _rows(fits: FitPair) -> Iterator[Row]:
    a, b = fits.a, fits.b
    for name in dict.fromkeys((*a.params, *b.params)):
        one, other = a.params.get(name), b.params.get(name)
        kind = (
            RATIO if name[0].isupper() else DIFFERENCE
        )  # E, A and B are scales; exponents are written in Greek
        against = None if fits.refusal else compared(kind, one, other)
        yield Row(greek(name), interval(one), interval(other), against)
    if not fits.refusal:
        yield from _predictions(a, b)


def _predictions(a: FitResult, b: FitResult) -> Iterator[Row]:
    """The response of both laws at the largest scale that both were fitted to, which says more than the parameters."""
    x = a.inputs[0]
    ends = [[point.inputs[x] for point in fit.points] for fit in (a, b)]
    if not all(ends):
        return
    at, low = min(map(max, ends)), max(map(min, ends))
    if at < low:
        return
    others = [{tuple(p.inputs[n] for n in a.inputs[1:]) for p in fit.curve} for fit in (a, b)]
    for rest in sorted(others[0] & others[1])[:MOST_INPUTS]:
        further = dict(zip(a.inputs[1:], rest, strict=True))
        one, other = (_read(fit, at, further) for fit in (a, b))
        place = ", ".join(scale(name, value) for name, value in {x: at, **further}.items())
        yield Row(
            f"{symbol(a.response_name)} at {place}",
            interval(one),
            interval(other),
            compared(RATIO, one, other),
        )


def _read(fit: FitResult, at: float, further: dict[str, float]) -> Reading:
    """The law and its interval, read off its curve by linear interpolation in log-log."""
    x = fit.inputs[0]
    part = [p for p in fit.curve if all(p.inputs[name] == value for name, value in further.items())]
    part.sort(key=lambda point: point.inputs[x])
    log_x = np.log([point.inputs[x] for point in part])

    def value(name: str) -> float | None:
        values = [getattr(point, name) for point in part]
        if any(each is None or each <= 0 for each in values):
            return None
        return float(np.exp(np.interp(math.log(at), log_x, np.log(values))))

    return Reading(value("value"), value("low"), value("high"))


def compared(kind: str, a: Estimate | None, b: Estimate | None) -> Compared | None:
    """B/A or B − A of two independent estimates, with the 95 % interval of Zou & Donner (2008, "MOVER").

    For the difference θ_B − θ_A of estimates with intervals [l, u]:

        low = θ_B − θ_A − √((θ_B − l_B)² + (u_A − θ_A)²),  high = θ_B − θ_A + √((u_B − θ_B)² + (θ_A − l_A)²)

    It keeps the two sides of an interval that is not symmetric. The ratio is the difference of logarithms. An end that
    needs one which is not known is None; so is the whole where a value is missing or, for a ratio, not positive.
    """
    if a is None or b is None or a.value is None or b.value is None:
        return None
    if kind == RATIO and (a.value <= 0 or b.value <= 0):
        return None
    written = _log if kind == RATIO else float
    (va, la, ua), (vb, lb, ub) = (
        [None if end is None else written(end) for end in (each.value, each.low, each.high)]
        for each in (a, b)
    )
    assert va is not None and vb is not None
    away = [
        None if end is None or other is None else math.hypot(end - vb, other - va)
        for end, other in ((lb, ua), (ub, la))
    ]
    ends = [None if by is None else vb - va + sign * by for by, sign in zip(away, (-1, 1), strict=True)]
    if kind == DIFFERENCE:
        return Compared(kind, vb - va, *_known(ends))
    return Compared(
        kind, math.exp(vb - va), *_known([None if end is None else math.exp(end) for end in ends])
    )


def _log(value: float) -> float | None:
    return math.log(value) if value > 0 else None


def _known(ends: Sequence[float | None]) -> tuple[float | None, float | None]:
    """The ends, None where one is not finite."""
    low, high = (end if end is not None and math.isfinite(end) else None for end in ends)
    return low, high
