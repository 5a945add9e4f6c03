"""Compares the irreducible losses of L(C), L(N) and L(N, K)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from fit.law.caution import Caution
from fit.law.checks.disagreement import Disagreement, Quantity, apart
from fit.law.result import FitResult, Param
from fit.regimes.agreement import same


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
    quantities = [(_quantity(floor), floor.group) for floor in known if floor.value is not None]
    return [
        Disagreement(one, other).caution
        for (one, group), (other, other_group) in combinations(quantities, 2)
        if same(one, other, group, other_group) and apart(one, other)
    ]


def _quantity(floor: Floor) -> Quantity:
    return Quantity(floor.law, "E", floor.k, float(floor.value or 0.0), floor.low, floor.high)
