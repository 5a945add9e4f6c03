"""What a reader of a fit should be careful with, sorted by kind where the fact is known."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """The kinds of caution, in the order in which a reader should meet them."""

    REFUTED = "refuted"
    NOT_IDENTIFIED = "not identified"
    ROWS = "rows used"
    EDGE = "edge of the grid"
    DISAGREEMENT = "disagreement"
    TRADE_OFF = "trade-off"
    INTERVALS = "intervals"
    CORRELATED = "correlated rows"
    STARTS = "starts"
    NO_FLOOR = "no floor"
    RISING = "rising"
    ANOTHER_LAW = "another law better"
    LOWER_AICC = "lower AICc"
    HELD_OUT = "held out"
    OUTLIERS = "outliers"
    EXTRAPOLATION = "extrapolation"
    OTHER = "other"

    @property
    def heading(self) -> str:
        """The heading under which cautions of this kind are listed."""
        return HEADINGS[self]


HEADINGS = {
    Kind.REFUTED: "Laws that the rows refute",
    Kind.NOT_IDENTIFIED: "Parameters that these rows do not identify",
    Kind.ROWS: "Which rows were used",
    Kind.EDGE: "Optima at the edge of what was tried",
    Kind.DISAGREEMENT: "Results that disagree with one another",
    Kind.TRADE_OFF: "Parameters that trade off against each other",
    Kind.INTERVALS: "How far the intervals can be trusted",
    Kind.CORRELATED: "Rows whose errors are not independent",
    Kind.STARTS: "Starts that do not agree",
    Kind.NO_FLOOR: "No irreducible loss",
    Kind.RISING: "A loss that rises with scale",
    Kind.ANOTHER_LAW: "Another law describes the rows better",
    Kind.LOWER_AICC: "Another law has the lower AICc, held-out scales do not decide",
    Kind.HELD_OUT: "No check on held-out scales",
    Kind.OUTLIERS: "Outliers",
    Kind.EXTRAPOLATION: "Predictions far beyond the rows",
    Kind.OTHER: "Other cautions",
}


@dataclass(frozen=True)
class Caution:
    """kind, a sentence for the reader, and the names of the parameters, columns or laws that it is about.

    fact: what is so, without what the reader could do about it; empty where the whole text says no more than that.
    """

    kind: Kind
    text: str
    of: tuple[str, ...] = ()
    fact: str = ""

    @classmethod
    def advising(cls, kind: Kind, fact: str, advice: str, of: tuple[str, ...] = ()) -> "Caution":
        """A fact, without its full stop, and what to do, with the sign that comes between them, as `: add rows.`"""
        return cls(kind, f"{fact}{advice}", of, f"{fact}.")

    @property
    def for_readers(self) -> str:
        """What somebody should know who did not make the fit, and cannot follow its advice."""
        return self.fact or self.text

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Caution":
        of = tuple(content.get("of", ()))
        return cls(Kind(content["kind"]), content["text"], of, content.get("fact", ""))


def read_cautions(content: Mapping[str, Any]) -> tuple[Caution, ...]:
    """The cautions of a fit or of the regimes in fits.json. Warnings of older files are OTHER."""
    if "cautions" not in content:
        return tuple(Caution(Kind.OTHER, text) for text in content.get("warnings") or ())
    return tuple(Caution.from_dict(each) for each in content["cautions"])


def texts(cautions: Iterable[Caution]) -> tuple[str, ...]:
    """Their sentences."""
    return tuple(caution.text for caution in cautions)
