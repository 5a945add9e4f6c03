"""The laws: for each formula its fits side by side, parameters with intervals, held-out error and rival laws."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fit.data.number_format import percent, scale, significant
from fit.views.page.fit_format import REGIMES, fit_name, held_out_error, held_out_inside, interval
from fit.views.page.render import MISSING
from fit.views.page.run_table import cell_text, known
from fit.views.page.source import Fit, Source

# How the names of laws begin, in the order in which the laws are shown; a longer prefix before a shorter one.
ORDER = ("L_NK", "L_ND", "L_N", "L_C", "N_C", "D_C", "LR_C", "T_N", "LR_N")
ALL_ROWS = "all rows"


@dataclass(frozen=True)
class Parameter:
    """A value and its interval, which is empty for a value that is not defined."""

    value: str
    interval: str


@dataclass(frozen=True)
class HeldOutRow:
    """A held-out measurement beside its prediction; verdict: whether it is inside the interval."""

    inputs: str
    predicted: str
    measured: str
    error: str | None
    verdict: str | None


@dataclass(frozen=True)
class SensitivityRow:
    """E and α of L(C) with one analysis choice changed."""

    choice: str
    flops: str
    min_flops: str
    points: str
    alpha: str
    floor: str


@dataclass(frozen=True)
class FitRow:
    """One fit. parameters: in the order of the family. rule: how its rows were chosen."""

    name: str
    parameters: tuple[Parameter, ...]
    held_out_error: str
    held_out_inside: str
    residual: str
    rows: str
    starts: str
    rule: str | None
    trained_up_to: str
    held_out: tuple[HeldOutRow, ...]
    sensitivity: tuple[SensitivityRow, ...]
    note: str | None


@dataclass(frozen=True)
class DerivedRow:
    """The derived quantities under one condition, in the order of the table's names."""

    at: str
    values: tuple[str | None, ...]


@dataclass(frozen=True)
class DerivedTable:
    """Quantities that follow from the parameters, as E and α at each k."""

    names: tuple[str, ...]
    rows: tuple[DerivedRow, ...]


@dataclass(frozen=True)
class Rival:
    """A law in a comparison; fitted: whether it is the one that was asked for."""

    name: str
    error: str
    fitted: bool


@dataclass(frozen=True)
class Comparison:
    """The laws that a fit was compared with, the best first."""

    name: str
    laws: tuple[Rival, ...]


@dataclass(frozen=True)
class Family:
    """All fits of one formula. parameters: the names of those that any of them has."""

    law: str
    formula: str
    response: str
    notes: tuple[str, ...]
    parameters: tuple[str, ...]
    fits: tuple[FitRow, ...]
    derived: DerivedTable | None
    comparisons: tuple[Comparison, ...]


@dataclass(frozen=True)
class Laws:
    """skipped: what could not be fitted or read, and why."""

    families: tuple[Family, ...]
    skipped: tuple[str, ...]


def laws(source: Source) -> Laws:
    """The facts of the section."""
    families: dict[tuple[str, str], list[Fit]] = {}
    for fit in source.laws:
        families.setdefault((fit["law"], str(fit.get("formula") or fit["law"])), []).append(fit)
    ordered = sorted(families.items(), key=lambda item: _rank(item[0][0]))
    return Laws(tuple(_family(law, formula, fits) for (law, formula), fits in ordered), source.skipped)


def _rank(law: str) -> int:
    return next((i for i, prefix in enumerate(ORDER) if law.startswith(prefix)), len(ORDER))


def _family(law: str, formula: str, fits: Sequence[Fit]) -> Family:
    names = tuple(dict.fromkeys(name for fit in fits for name in fit.get("params") or {}))
    flops = fits[0].get("flops")
    convention = [f"C in FLOPs, {flops} convention"] if flops else []
    regime = REGIMES.get(fits[0].get("regime") or "", "")
    return Family(
        law=law,
        formula=formula,
        response=str(fits[0].get("response") or "nmse").replace("nmse", "NMSE"),
        notes=tuple(filter(None, [regime, *convention, _interval_methods(fits)])),
        parameters=names,
        fits=tuple(_fit_row(fit, names) for fit in fits),
        derived=_derived_table(fits),
        comparisons=tuple(_comparison(fit) for fit in fits if fit.get("comparison")),
    )


def _interval_methods(fits: Sequence[Fit]) -> str:
    methods = {
        str(p.get("method")) for fit in fits for p in (fit.get("params") or {}).values() if p.get("method")
    }
    return f"intervals by {', '.join(sorted(methods))}" if (methods := methods - {"none"}) else ""


def _fit_row(fit: Fit, names: Sequence[str]) -> FitRow:
    params = fit.get("params") or {}
    starts = fit.get("starts") or {}
    held = fit.get("held_out") or {}
    extra = fit.get("extra") or {}
    return FitRow(
        name=fit_name(fit) or ALL_ROWS,
        parameters=tuple(_parameter(params.get(name)) for name in names),
        held_out_error=held_out_error(fit),
        held_out_inside=held_out_inside(fit),
        residual=_share(fit.get("rms_log")),
        rows=cell_text(fit.get("rows")),
        starts=f"{starts['agree']}/{starts['tried']}" if {"agree", "tried"} <= starts.keys() else MISSING,
        rule=(fit.get("selection") or {}).get("rule"),
        trained_up_to=scale(held["input"], held["up_to"]).replace("=", " ≤ ")
        if known(held.get("up_to"))
        else "",
        held_out=tuple(_held_out_row(point) for point in held.get("points") or []),
        sensitivity=tuple(_sensitivity_row(row) for row in extra.get("sensitivity") or []),
        note=extra.get("note"),
    )


def _parameter(param: Mapping[str, Any] | None) -> Parameter:
    value, _, ends = interval(param).partition(" ")
    return Parameter(value, ends)


def _held_out_row(point: Mapping[str, Any]) -> HeldOutRow:
    inputs = list(point)[: list(point).index("predicted")]
    verdict = None if point.get("inside") is None else "inside" if point["inside"] else "outside"
    error: Any = point.get("relative_error")
    return HeldOutRow(
        inputs=", ".join(scale(name, point[name]) for name in inputs),
        predicted=interval({**point, "value": point.get("predicted")}, 4),
        measured=_number(point.get("measured"), 4),
        error=percent(float(error), signed=True) if known(error) else None,
        verdict=verdict,
    )


def _sensitivity_row(row: Mapping[str, Any]) -> SensitivityRow:
    return SensitivityRow(
        row["choice"],
        row["flops"],
        min_flops=_number(row.get("min_flops"), 3),
        points=cell_text(row.get("points")),
        alpha=_number(row.get("alpha"), 3),
        floor=_number(row.get("E"), 3),
    )


def _derived_table(fits: Sequence[Fit]) -> DerivedTable | None:
    rows: dict[str, dict[str, str]] = {}
    for fit in fits:
        for label, param in (fit.get("derived") or {}).items():
            name, _, at = label.partition("(")
            whose = [fit_name(fit) or ALL_ROWS] if len(fits) > 1 else []
            where = ", ".join([*whose, at.rstrip(")").replace("=", " = ")])
            rows.setdefault(where, {})[name] = interval(param)
    names = tuple(dict.fromkeys(name for row in rows.values() for name in row))
    body = tuple(DerivedRow(at, tuple(row.get(name) for name in names)) for at, row in rows.items())
    return DerivedTable(names, body) if body else None


def _comparison(fit: Fit) -> Comparison:
    rivals = [
        Rival(str(rival.get("law")), _share(rival.get("held_out_rms")), rival.get("law") == fit["law"])
        for rival in fit["comparison"]
    ]
    return Comparison(fit_name(fit) or ALL_ROWS, tuple(rivals))


def _share(value: Any) -> str:
    return percent(value) if known(value) else MISSING


def _number(value: Any, digits: int) -> str:
    return significant(value, digits) if known(value) else MISSING
