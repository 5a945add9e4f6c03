"""The two regimes side by side, a row for each group of runs: L(C), the best use of compute, and L(N), converged."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fit.compute.frontier import LOOSER
from fit.law.result import FitResult
from fit.regimes import compare
from fit.regimes.batch import Batch
from fit.regimes.budgets import Budgets
from fit.regimes.floors import Floor
from fit.views.format import MISSING, REGIMES, Estimate, in_one_notation, number, percent, significant, symbol
from fit.views.lines.law_table import Block, group_value
from fit.views.lines.regimes import REGIMES as LAWS_OF
from fit.views.lines.regimes import batch_effect, lr_ratio, regime_block
from fit.views.lines.verdict import Judgement, judgements
from fit.views.page.fit_format import group_name
from fit.views.page.run_table import cell_text
from fit.views.page.study_report import StudyReport

# The laws of the loss whose exponent is compared, in the order of the columns.
LAWS = {"L_C": "L(C)", "L_N": "L(N)", "L_NK": "L(N, K)"}
BUDGET_COLUMNS = (
    "n", "D compute-optimal", "D converged", "ratio", "L compute-optimal", "L converged", "gap",
)  # fmt: skip


@dataclass(frozen=True)
class Note:
    """A sentence and the groups that it is about, empty if it is about all of them."""

    text: str
    groups: str


@dataclass(frozen=True)
class VerdictDetails:
    """What a claim of the verdict rests on. name: of the group of runs, empty if it is the only one."""

    name: str
    judgement: Judgement


@dataclass(frozen=True)
class RegimesSection:
    """The facts of the section.

    lead: why there is no comparison, or None if there is one. caution: what a comparison of different n under L(C)
    means. table: a row for each group. budgets: a row for each n of each group, read off its best run.
    """

    lead: str | None
    caution: str | None
    table: Block | None = None
    notes: tuple[Note, ...] = ()
    verdicts: tuple[VerdictDetails, ...] = ()
    budgets: Block | None = None


def regimes(report: StudyReport) -> RegimesSection:
    """The facts of the section."""
    compared = report.regimes
    if compared is None:
        fitted = {fit.regime for fit in report.fits}
        names = " and ".join(name for regime, name in REGIMES.items() if regime in fitted)
        lead = (
            f"Only laws {names} are fitted: there is nothing to compare."
            if names
            else "Neither has a law yet."
        )
        return RegimesSection(lead, LOOSER if "compute" in fitted else None)
    notes = [*_notes(compared.groups), *(Note(reason, "") for reason in compared.reasons)]
    return RegimesSection(
        lead=None,
        caution=compared.caution,
        table=_table(report, compared),
        notes=tuple(notes),
        verdicts=tuple(_verdicts(compared.groups)),
        budgets=_budgets(compared.groups),
    )


def _table(report: StudyReport, compared: compare.Regimes) -> Block:
    """Exponents and floors of both regimes, how they differ over n, and how each depends on the batch size."""
    groups = compared.groups
    differ = regime_block(groups)
    columns: dict[str, list[str]] = {}
    for law, name in LAWS.items():
        exponents = [
            [
                (fit.group, fit.params["alpha"])
                for fit in _fits(report, law, group.group)
                if "alpha" in fit.params
            ]
            for group in groups
        ]
        if law != "L_NK":  # its α is not an exponent
            columns[f"α of {name}"] = _cells(exponents, groups)
    for law, name in LAWS.items():
        floors = [_floors(compared.floors, law, group.group) for group in groups]
        columns[f"E of {name}"] = _cells(floors, groups)
    after: dict[str, list[str]] = {}
    for regime, name in LAWS_OF.items():
        effects = [_exponent_of_batch(group.batch, regime) for group in groups]
        after[f"b of {name} ∝ B^b"] = in_one_notation(effects)
    known = {
        name: cells
        for name, cells in (*columns.items(), *after.items())
        if any(cell != MISSING for cell in cells)
    }
    keys = differ.keys
    of_differ = list(zip(*differ.rows, strict=True))
    ordered = {
        **dict(zip(differ.header[:keys], of_differ, strict=False)),
        **{name: known[name] for name in columns if name in known},
        **dict(zip(differ.header[keys:], of_differ[keys:], strict=True)),
        **{name: known[name] for name in after if name in known},
    }
    return Block(tuple(ordered), tuple(zip(*ordered.values(), strict=True)), keys)


def _cells(
    estimates: Sequence[Sequence[tuple[Mapping[str, Any], Estimate]]], groups: Sequence[compare.Group]
) -> list[str]:
    """The estimates of each group in one notation; of several, each with what it alone is of, `(B = 256)`."""
    texts = iter(in_one_notation([one for each in estimates for _, one in each]))
    cells = []
    for each, group in zip(estimates, groups, strict=True):
        named = []
        for of_fit, _ in each:
            rest = group_name({name: value for name, value in of_fit.items() if name not in group.group})
            named.append(f"{next(texts)}{f' ({rest})' if rest else ''}")
        cells.append("; ".join(named) or MISSING)
    return cells


def _fits(report: StudyReport, law: str, group: Mapping[str, Any]) -> list[FitResult]:
    """The fits of one law with a group that does not contradict this one."""
    return [
        fit
        for fit in report.fits
        if fit.law == law and all(fit.group[name] == group[name] for name in fit.group.keys() & group.keys())
    ]


def _floors(
    floors: Sequence[Floor], law: str, group: Mapping[str, Any]
) -> list[tuple[Mapping[str, Any], Estimate]]:
    return [
        (floor.group, floor)
        for floor in floors
        if floor.law == law
        and floor.k == group.get("k")
        and all(floor.group[name] == group[name] for name in floor.group.keys() & group.keys())
    ]


@dataclass(frozen=True)
class _Exponent:
    value: float | None
    low: float | None
    high: float | None


def _exponent_of_batch(tests: Iterable[Batch], regime: str) -> Estimate | None:
    test = next((test for test in tests if test.regime == regime), None)
    return None if test is None or test.b is None else _Exponent(test.b, test.low, test.high)


def _notes(groups: Sequence[compare.Group]) -> Iterator[Note]:
    """What is said about each group, each sentence once."""
    groups_of: dict[str, list[str]] = {}
    for group in groups:
        judged = group.lr is not None and group.lr.at_optimum.ratios  # then the verdict has ρ
        sentences = (
            *(() if judged else lr_ratio(group.ratio)),
            *map(batch_effect, group.batch),
            *group.reasons,
        )
        for sentence in sentences:
            groups_of.setdefault(sentence.strip(), []).append(group_name(group.group))
    for sentence, names in groups_of.items():
        every = len(names) == len(groups)
        yield Note(sentence, "" if every else "; ".join(dict.fromkeys(names)))


def _verdicts(groups: Sequence[compare.Group]) -> Iterator[VerdictDetails]:
    for group in groups:
        name = group_name(group.group) if len(groups) > 1 else ""
        yield from (VerdictDetails(name, each) for each in judgements(group) if each.details)


def _budgets(groups: Sequence[compare.Group]) -> Block | None:
    """The compute-optimal and the converged budget of each n of each group."""
    keys = tuple(dict.fromkeys(name for group in groups for name in group.group))
    rows = [
        (*(group_value(group.group.get(name)) for name in keys), *_budget(row))
        for group in groups
        for row in group.budgets
    ]
    header = (*map(symbol, keys), *BUDGET_COLUMNS)
    return Block(header, tuple(rows), len(keys) + 1) if rows else None


def _budget(row: Budgets) -> tuple[str, ...]:
    return (
        cell_text(row.n_latents),
        f"{row.compute.tokens:,.0f}",
        f"{row.converged.tokens:,.0f}",
        number(row.token_ratio, 1),
        significant(row.compute.nmse, 4),
        significant(row.converged.nmse, 4),
        percent(row.loss_gap, signed=True),
    )
