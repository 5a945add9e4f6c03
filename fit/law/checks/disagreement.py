"""A quantity that two laws of the same rows both have, with intervals that do not overlap."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fit.law.caution import Caution, Kind
from fit.law.json_values import record


@dataclass(frozen=True)
class Quantity:
    """E or alpha of a law with its 95 % interval, an end None where that side is open.

    k: that of the rows, or for a law over k the one that the quantity is taken at; None in a table without k.
    """

    law: str
    symbol: str
    k: float | None
    value: float
    low: float | None
    high: float | None

    @property
    def interval(self) -> str:
        """`0.09 [0.06, 0.12]`; an unknown end is written as open."""
        lower = "(−∞" if self.low is None else f"[{self.low:.3g}"
        upper = "∞)" if self.high is None else f"{self.high:.3g}]"
        return f"{self.value:.3g} {lower}, {upper}"


@dataclass(frozen=True)
class Disagreement:
    """The same quantity in two laws. one: of the fit that has this among its results; other: of the other law."""

    one: Quantity
    other: Quantity

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Disagreement":
        """The inverse of `dataclasses.asdict`."""
        return cls(record(Quantity, content["one"]), record(Quantity, content["other"]))

    @property
    def turned(self) -> "Disagreement":
        """The same from the other law's side."""
        return Disagreement(self.other, self.one)

    @property
    def caution(self) -> Caution:
        """A sentence with both intervals, the same for both laws."""
        lower, upper = sorted((self.one, self.other), key=lambda quantity: (quantity.value, quantity.law))
        what = "The floors" if self.one.symbol == "E" else self.one.symbol
        at = "" if self.one.k is None else f" at k={self.one.k:g}"
        fact = (
            f"{what} of {lower.law}, {lower.interval}, and of {upper.law}, {upper.interval}, disagree{at}: at least "
            "one law does not hold beyond its rows"
        )
        laws = (lower.law, upper.law)
        return Caution.advising(Kind.DISAGREEMENT, fact, ", so extrapolate neither far.", laws)


def apart(one: Quantity, other: Quantity) -> bool:
    """Whether there is a gap between the intervals; False if an end that faces the other interval is unknown."""
    return any(
        below.high is not None and above.low is not None and below.high < above.low
        for below, above in ((one, other), (other, one))
    )
