"""Compares the irreducible losses of L(C), L(N) and L(N, K)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from fit.law.caution import Caution, Kind
from fit.law.result import FitResult, Param


@dataclass(frozen=True)
class Floor:
    """The irreducible loss of a law with its 95 % interval.

    k: for L(C) the k of its curves; None in a table without k. group: the other column values that all rows share.
    """

    law: str
    k: float | None
    group: Mapping[str, Any]
    value: float | None
    low: float | None
    high: float | None


def floors(fits: Sequence[FitResult]) -> list[Floor]:
    """The E of each L(C) and L(N), and the floor exp(ζ + η ln K) of each L(N, K) at each of its k."""
    return [floor for fit in fits for floor in _floors_of(fit)]


def _floors_of(fit: FitResult) -> Iterator[Floor]:
    rest = {name: value for name, value in fit.group.items() if name != "k"}
    if fit.law in ("L_C", "L_N") and "E" in fit.params:
        yield _floor(fit.law, fit.group.get("k"), rest, fit.params["E"])
    if fit.law == "L_NK":
        for quantity in fit.derived.values():
            if quantity.name == "E":
                yield _floor(fit.law, float(quantity.at["k"]), rest, quantity)


def _floor(law: str, k: float | None, group: Mapping[str, Any], E: Param) -> Floor:
    return Floor(law, k, group, E.value, E.low, E.high)


def disagreements(known: Sequence[Floor]) -> list[Caution]:
    """A caution for each pair of laws at one k with intervals that do not overlap.

    The two floors cannot both be the lowest loss that an SAE of that k can reach. Floors of different data or of
    different d_model are not compared.
    """
    return [
        _caution(one, other)
        for one, other in combinations(known, 2)
        if _comparable(one, other) and _apart(one, other)
    ]


def _comparable(one: Floor, other: Floor) -> bool:
    shared = one.group.keys() & other.group.keys()
    same = one.k == other.k and all(one.group[name] == other.group[name] for name in shared)
    return same and one.law != other.law


def _apart(one: Floor, other: Floor) -> bool:
    """Whether there is a gap between the intervals; False if an end that faces the other interval is unknown."""
    return any(
        below.high is not None and above.low is not None and below.high < above.low
        for below, above in ((one, other), (other, one))
    )


def _caution(one: Floor, other: Floor) -> Caution:
    lower, upper = sorted((one, other), key=lambda floor: float(floor.value or 0.0))
    at = "" if one.k is None else f" at k={one.k:g}"
    text = (
        f"The floors of {lower.law}, {_interval(lower)}, and of {upper.law}, {_interval(upper)}, disagree"
        f"{at}: at least one law does not hold beyond its rows, so extrapolate neither far."
    )
    return Caution(Kind.DISAGREEMENT, text, (lower.law, upper.law))


def _interval(floor: Floor) -> str:
    """`0.09 [0.06, 0.12]`; an unknown end is written as open."""
    lower = "(−∞" if floor.low is None else f"[{floor.low:.3g}"
    upper = "∞)" if floor.high is None else f"{floor.high:.3g}]"
    return f"{floor.value:.3g} {lower}, {upper}"
