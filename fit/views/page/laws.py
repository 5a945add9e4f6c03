"""The laws, a table each as `saescale fit` prints it; behind it its rows, rival laws and what was held out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fit.data.flops import described
from fit.law.checks.held_out import HeldOutPoint
from fit.law.intervals.choose import NONE
from fit.law.result import Choice, FitResult
from fit.views.format import MISSING, in_one_notation, percent, scale, significant, with_interval
from fit.views.lines.law_table import LawTable, law_tables
from fit.views.lines.rows import row_lines
from fit.views.page.fit_format import fit_name, optional_percent
from fit.views.page.run_table import cell_text
from fit.views.page.study_report import StudyReport

ALL_ROWS = "all rows"


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
    """The making of one fit.

    cells: its estimates in the order of the family's parameters, then the residual and the starts that agree. rule: how
    its rows were chosen. row_lines: what became of every row.
    """

    name: str
    cells: tuple[str, ...]
    rule: str | None
    row_lines: tuple[str, ...]
    trained_up_to: str
    held_out: tuple[HeldOutRow, ...]
    sensitivity: tuple[SensitivityRow, ...]
    note: str | None


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
    """All fits of one formula.

    table: as `saescale fit` prints it. notes: how C is counted, and the method of the intervals. refuted: a sentence
    with its size for each fit that its rows refute. parameters: the names of all that occur in these fits.
    """

    table: LawTable
    notes: tuple[str, ...]
    refuted: tuple[str, ...]
    parameters: tuple[str, ...]
    fits: tuple[FitRow, ...]
    comparisons: tuple[Comparison, ...]


@dataclass(frozen=True)
class Laws:
    """The facts of the section. skipped: the laws that were not fitted or not read, and why."""

    families: tuple[Family, ...]
    skipped: tuple[str, ...]


def laws(report: StudyReport) -> Laws:
    """The facts of the section, the law that describes the rows best first."""
    return Laws(tuple(map(_family, law_tables(report.fits, most_rows=None))), report.notes)


def _family(table: LawTable) -> Family:
    fits = table.fits
    names = tuple(dict.fromkeys(name for fit in fits for name in fit.params))
    convention = f"C in FLOPs, {described(fits[0].flops)}" if fits[0].flops else ""
    return Family(
        table=table,
        notes=tuple(filter(None, [convention, _interval_methods(fits)])),
        refuted=tuple(
            f"{fit_name(fit)}: {fit.refutation}" if fit_name(fit) else fit.refutation
            for fit in fits
            if fit.refutation
        ),
        parameters=names,
        fits=tuple(_fit_rows(fits, names)),
        comparisons=tuple(_comparison(fit) for fit in fits if fit.comparison),
    )


def _interval_methods(fits: Sequence[FitResult]) -> str:
    methods = sorted({param.method for fit in fits for param in fit.params.values()} - {NONE})
    return f"intervals by {', '.join(methods)}" if methods else ""


def _fit_rows(fits: Sequence[FitResult], names: Sequence[str]) -> Iterator[FitRow]:
    columns = [in_one_notation([fit.params.get(name) for fit in fits]) for name in names]
    columns.append([optional_percent(fit.rms_log) for fit in fits])
    columns.append([f"{fit.starts.agree}/{fit.starts.tried}" if fit.starts else MISSING for fit in fits])
    for fit, cells in zip(fits, zip(*columns, strict=True), strict=True):
        held = fit.held_out
        yield FitRow(
            name=fit_name(fit) or ALL_ROWS,
            cells=cells,
            rule=fit.selection.rule if fit.selection else None,
            row_lines=tuple(row_lines(fit.rows_used)),
            trained_up_to=scale(held.input, held.score.up_to).replace("=", " ≤ ") if held else "",
            held_out=tuple(map(_held_out_row, held.points)) if held else (),
            sensitivity=tuple(map(_sensitivity_row, fit.extra.sensitivity)),
            note=fit.extra.note,
        )


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


def _comparison(fit: FitResult) -> Comparison:
    rivals = [
        Rival(law.law, optional_percent(law.held_out_rms), law.law == fit.law, law.refuted)
        for law in fit.comparison
    ]
    return Comparison(fit_name(fit) or ALL_ROWS, tuple(rivals))


def _number(value: float | None) -> str:
    return MISSING if value is None else significant(value, 3)
