"""The laws: the fits of each formula side by side, with parameters, intervals, held-out error and rival laws."""

from collections.abc import Sequence
from dataclasses import dataclass

from fit.data.flops import described
from fit.law.checks.held_out import HeldOutPoint
from fit.law.intervals.choose import NONE
from fit.law.result import Choice, FitResult, Param
from fit.views.format import MISSING, REGIMES, percent, scale, significant, with_interval
from fit.views.lines.rows import row_lines
from fit.views.page.fit_format import (
    fit_name,
    group_name,
    held_out_error,
    held_out_inside,
    interval,
    optional_percent,
)
from fit.views.page.run_table import cell_text
from fit.views.page.study_report import StudyReport

# Prefixes of the names of laws, in the order in which the page lists the laws; a longer prefix stands before a shorter.
ORDER = ("L_NK", "L_ND", "L_N", "L_C", "N_C", "D_C", "LR_C", "T_N", "LR_N")
ALL_ROWS = "all rows"


@dataclass(frozen=True)
class Parameter:
    """A value and its interval, which is empty if the value is undefined."""

    value: str
    interval: str


@dataclass(frozen=True)
class HeldOutRow:
    """A held-out measurement and its prediction. verdict: whether the measurement lies inside the interval."""

    inputs: str
    predicted: str
    measured: str
    error: str
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
    """One fit.

    parameters: in the order of the family. rule: how its rows were chosen. row_lines: what became of every row.
    """

    name: str
    parameters: tuple[Parameter, ...]
    held_out_error: str
    held_out_inside: str
    residual: str
    rows: str
    starts: str
    rule: str | None
    row_lines: tuple[str, ...]
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
    """Quantities derived from the parameters, such as E and α at each k."""

    names: tuple[str, ...]
    rows: tuple[DerivedRow, ...]


@dataclass(frozen=True)
class Rival:
    """A law in a comparison. fitted: whether it is the law that the user asked for. refuted: by the rows."""

    name: str
    error: str
    fitted: bool
    refuted: bool = False


@dataclass(frozen=True)
class Comparison:
    """The laws of a comparison, the best first."""

    name: str
    laws: tuple[Rival, ...]


@dataclass(frozen=True)
class Family:
    """All fits of one formula. parameters: the names of all parameters that occur in these fits.

    refuted: a sentence with its size for each fit that its rows refute.
    """

    law: str
    formula: str
    response: str
    notes: tuple[str, ...]
    refuted: tuple[str, ...]
    parameters: tuple[str, ...]
    fits: tuple[FitRow, ...]
    derived: DerivedTable | None
    comparisons: tuple[Comparison, ...]


@dataclass(frozen=True)
class Laws:
    """The facts of the section. skipped: the laws that were not fitted or not read, and why."""

    families: tuple[Family, ...]
    skipped: tuple[str, ...]


def laws(report: StudyReport) -> Laws:
    """The facts of the section."""
    families: dict[tuple[str, str], list[FitResult]] = {}
    for fit in report.fits:
        families.setdefault((fit.law, fit.formula), []).append(fit)
    ordered = sorted(families.values(), key=lambda fits: _rank(fits[0].law))
    return Laws(tuple(_family(fits) for fits in ordered), report.notes)


def _rank(law: str) -> int:
    return next((i for i, prefix in enumerate(ORDER) if law.startswith(prefix)), len(ORDER))


def _family(fits: Sequence[FitResult]) -> Family:
    first = fits[0]
    names = tuple(dict.fromkeys(name for fit in fits for name in fit.params))
    convention = f"C in FLOPs, {described(first.flops)}" if first.flops else ""
    regime = REGIMES.get(first.regime or "", "")
    return Family(
        law=first.law,
        formula=first.formula,
        response=first.response_name,
        notes=tuple(filter(None, [regime, convention, _interval_methods(fits)])),
        refuted=tuple(
            f"{fit_name(fit)}: {fit.refutation}" if fit_name(fit) else fit.refutation
            for fit in fits
            if fit.refutation
        ),
        parameters=names,
        fits=tuple(_fit_row(fit, names) for fit in fits),
        derived=_derived_table(fits),
        comparisons=tuple(_comparison(fit) for fit in fits if fit.comparison),
    )


def _interval_methods(fits: Sequence[FitResult]) -> str:
    methods = sorted({param.method for fit in fits for param in fit.params.values()} - {NONE})
    return f"intervals by {', '.join(methods)}" if methods else ""


def _fit_row(fit: FitResult, names: Sequence[str]) -> FitRow:
    held = fit.held_out
    return FitRow(
        name=fit_name(fit) or ALL_ROWS,
        parameters=tuple(_parameter(fit.params[name] if name in fit.params else None) for name in names),
        held_out_error=held_out_error(held),
        held_out_inside=held_out_inside(held),
        residual=optional_percent(fit.rms_log),
        rows=cell_text(fit.rows),
        starts=f"{fit.starts.agree}/{fit.starts.tried}" if fit.starts else MISSING,
        rule=fit.selection.rule if fit.selection else None,
        row_lines=tuple(row_lines(fit.rows_used)),
        trained_up_to=scale(held.input, held.score.up_to).replace("=", " ≤ ") if held else "",
        held_out=tuple(map(_held_out_row, held.points)) if held else (),
        sensitivity=tuple(map(_sensitivity_row, fit.extra.sensitivity)),
        note=fit.extra.note,
    )


def _parameter(param: Param | None) -> Parameter:
    value, _, ends = interval(param).partition(" ")
    return Parameter(value, ends)


def _held_out_row(point: HeldOutPoint) -> HeldOutRow:
    verdicts = {None: None, True: "inside", False: "outside"}
    return HeldOutRow(
        inputs=", ".join(scale(name, value) for name, value in point.inputs.items()),
        predicted=with_interval(point.predicted, point.low, point.high, digits=4),
        measured=significant(point.measured, 4),
        error=percent(point.relative_error, signed=True),
        verdict=verdicts[point.inside],
    )


def _sensitivity_row(choice: Choice) -> SensitivityRow:
    return SensitivityRow(
        choice.choice,
        choice.flops,
        min_flops=_number(choice.min_flops),
        points=cell_text(choice.points),
        alpha=_number(choice.alpha),
        floor=_number(choice.E),
    )


def _derived_table(fits: Sequence[FitResult]) -> DerivedTable | None:
    rows: dict[str, dict[str, str]] = {}
    for fit in fits:
        whose = fit_name(fit) or ALL_ROWS if len(fits) > 1 else ""
        for quantity in fit.derived.values():
            at = ", ".join(filter(None, [whose, group_name(quantity.at)]))
            rows.setdefault(at, {})[quantity.name] = interval(quantity)
    names = tuple(dict.fromkeys(name for row in rows.values() for name in row))
    body = tuple(DerivedRow(at, tuple(row.get(name) for name in names)) for at, row in rows.items())
    return DerivedTable(names, body) if body else None


def _comparison(fit: FitResult) -> Comparison:
    rivals = [
        Rival(law.law, optional_percent(law.held_out_rms), law.law == fit.law, law.refuted)
        for law in fit.comparison
    ]
    return Comparison(fit_name(fit) or ALL_ROWS, tuple(rivals))


def _number(value: float | None) -> str:
    return MISSING if value is None else significant(value, 3)
