"""By how much one study is cheaper than the other: `saescale compare` on the page, and why where it does not know."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fit.law.errors import FitError
from fit.law.options import FitOptions
from fit.study.answers.compute_ratio import ComputeRatio, compute_ratios
from fit.study.fitting import prepared
from fit.views.format import with_interval
from fit.views.page.fit_format import group_name
from fit.views.page.pair.sides import Pair, Side

CONSTANT = {True: "constant", False: "not constant", None: "not known whether constant"}


@dataclass(frozen=True)
class Ratio:
    """The compute of B over that of A at equal loss, for one group. parts: at the loss of each third of the range."""

    name: str
    losses: str
    value: str
    parts: tuple[str, ...]
    constant: str
    cautions: tuple[str, ...]


@dataclass(frozen=True)
class Cheaper:
    """The facts of the section. reason: why there is no ratio, else None."""

    a: str
    b: str
    ratios: tuple[Ratio, ...]
    reason: str | None = None


def cheaper(pair: Pair) -> Cheaper:
    """The facts of the section."""
    a, b = pair.sides
    try:
        found = compute_ratios(*(_curve_groups(side) for side in pair.sides))
    except FitError as error:
        return Cheaper(a.name, b.name, (), str(error))
    return Cheaper(a.name, b.name, tuple(map(_ratio, found)))


def _curve_groups(side: Side) -> Any:
    """The curves behind L(C). What was left out of them is said by the study's own page."""
    tables = side.report.tables
    assert tables.runs is not None
    return prepared(tables.runs, tables.curves, None, None, FitOptions(), lambda text: None).curve_groups


def _ratio(found: ComputeRatio) -> Ratio:
    low, high = found.losses
    group: Mapping[str, Any] = found.group
    return Ratio(
        name=group_name(group) or "all runs",
        losses=f"{low:.3g} to {high:.3g}",
        value=with_interval(found.ratio, found.low, found.high),
        parts=tuple(f"{with_interval(p.ratio, p.low, p.high)} at {p.loss:.3g}" for p in found.parts),
        constant=CONSTANT[found.constant],
        cautions=tuple(caution.text for caution in found.cautions),
    )
