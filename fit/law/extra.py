"""Further results about the rows of a fit: what E and α depend on, isoFLOP vertices, and what the paper found."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from fit.law.json_values import record


@dataclass(frozen=True)
class Choice:
    """L(C) refitted with one analysis choice changed.

    flops: the convention of C. method: the way to the frontier. min_flops: C of the first point. reason: why there is
    no fit, else None.
    """

    choice: str
    flops: str
    method: str
    min_flops: float | None
    points: int
    E: float | None
    alpha: float | None
    reason: str | None = None


@dataclass(frozen=True)
class IsoflopVertex:
    """N*, L*, D* and lr* at one budget C; curvature: d² ln L/d(ln n)² there; sizes: how many n made the parabola."""

    flops: float
    n_latents: float
    nmse: float
    tokens: float | None
    lr: float | None
    curvature: float
    sizes: float


@dataclass(frozen=True)
class IsoflopVertices:
    """The budgets with a vertex, and "C=…: why" for every other one."""

    points: tuple[IsoflopVertex, ...]
    dropped: tuple[str, ...]


@dataclass(frozen=True)
class PaperExponent:
    """The exponents g of T(n) that a paper reports, the lowest and the highest."""

    g: tuple[float, float]
    source: str


@dataclass(frozen=True)
class Extra:
    """sensitivity: the fit itself first, then one choice changed at a time. skipped: "N_C (isoflop): why" for each law
    of the compute optimum that could not be fitted. note: a sentence for the reader.
    """

    sensitivity: tuple[Choice, ...] = ()
    isoflop: IsoflopVertices | None = None
    skipped: tuple[str, ...] = ()
    paper: PaperExponent | None = None
    note: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Extra":
        isoflop, paper = content.get("isoflop"), content.get("paper")
        return record(
            cls,
            content,
            sensitivity=tuple(record(Choice, row) for row in content.get("sensitivity") or ()),
            isoflop=isoflop
            and record(
                IsoflopVertices,
                isoflop,
                points=tuple(record(IsoflopVertex, point) for point in isoflop["points"]),
            ),
            paper=paper and record(PaperExponent, paper),
        )
