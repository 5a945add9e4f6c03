"""Two studies side by side: which fits belong together, how settings differ, and what is not comparable."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from fit.data import columns
from fit.data.flops import described
from fit.law.errors import FitError
from fit.law.result import FitResult
from fit.law.selection import OptimumSelection
from fit.study.study_tables import StudyTables
from fit.views.page.fit_format import fit_name
from fit.views.page.marked_runs import SIDE
from fit.views.page.run_table import counted, distinct_values
from fit.views.page.study_report import StudyReport, study_report

# Runs that differ in one of these saw other activations, whose variance is the denominator of their normalized MSE.
DATA = ("data_fingerprint", "data", "model", "layer", "d_model")
# The laws that a reader asks for first.
FIRST = ("L_C", "L_N", "L_NK")
NOT_KNOWN = "not known"


@dataclass(frozen=True)
class Side:
    """One of the two studies. letter: A or B; name: how the page calls it."""

    letter: str
    name: str
    report: StudyReport

    @property
    def runs(self) -> pd.DataFrame:
        return self.report.runs


@dataclass(frozen=True)
class Setting:
    """A setting whose values are not the same in A and B."""

    column: str
    meaning: str
    a: str
    b: str


@dataclass(frozen=True)
class FitPair:
    """The fits of one law to one group of both studies. refusal: why their numbers have no common scale, or None."""

    law: str
    formula: str
    name: str
    a: FitResult
    b: FitResult
    refusal: str | None = None


@dataclass(frozen=True)
class Pair:
    """Two studies. fits: of the laws that both have; alone: a sentence for each fit that only one of them has."""

    a: Side
    b: Side
    settings: tuple[Setting, ...]
    doubts: tuple[str, ...]
    fits: tuple[FitPair, ...]
    alone: tuple[str, ...]

    @property
    def sides(self) -> tuple[Side, Side]:
        return self.a, self.b


def pair(a: StudyTables, b: StudyTables) -> Pair:
    """Two studies as they are compared.

    Raises
    ------
    FitError
        If both are the same table, or one has no rows.
    """
    paths = [study.path for study in (a, b)]
    if None not in paths and len({Path(str(path)).resolve() for path in paths}) == 1:
        raise FitError(
            f"A and B are the same table, {paths[0]}: name two studies, or one for a page of its own."
        )
    for letter, study in (("A", a), ("B", b)):
        if study.runs is None or study.runs.empty:
            raise FitError(f"{letter}, {study.path}, has no rows: there is nothing to compare.")
    reports = [study_report(study) for study in (a, b)]
    names = _names(reports, paths)
    one, other = (
        Side(letter, name, report) for letter, name, report in zip("AB", names, reports, strict=True)
    )
    fits, alone = _matched(one, other)
    settings = tuple(_settings(one.runs, other.runs))
    return Pair(one, other, settings, tuple(_doubts(one, other, settings)), fits, alone)


def _names(reports: Sequence[StudyReport], paths: Sequence[Path | None]) -> list[str]:
    """The names of the studies; of their folders where these are alike; else A and B."""
    names = [report.name for report in reports]
    if names[0] == names[1]:
        names = [path.parent.name if path else "" for path in paths]
    return names if names[0] != names[1] and all(names) else ["A", "B"]


def together(pair: Pair) -> pd.DataFrame:
    """The runs of both studies in one table, with the study's name in the column `side`."""
    parts = [side.runs.assign(**{SIDE: side.name}) for side in pair.sides]
    return pd.concat(parts, ignore_index=True)


def _settings(a: pd.DataFrame, b: pd.DataFrame) -> Iterator[Setting]:
    for name, column in columns.axes().items():
        one, other = _values(a, name), _values(b, name)
        if one != other:
            yield Setting(name, column.label or column.meaning, one or NOT_KNOWN, other or NOT_KNOWN)


def _values(runs: pd.DataFrame, name: str) -> str:
    """The values of a setting, empty where no run has one."""
    if name not in runs.columns or not runs[name].notna().any():
        return ""
    return distinct_values(runs, name)


def _doubts(a: Side, b: Side, settings: Sequence[Setting]) -> Iterator[str]:
    """What speaks against comparing the losses, or the numbers at one k, a sentence each."""
    data = {name: (_values(a.runs, name), _values(b.runs, name)) for name in DATA}
    differ = [name for name, (one, other) in data.items() if one and other and one != other]
    unknown = [name for name, (one, other) in data.items() if bool(one) != bool(other)]
    if differ:
        listed = ", ".join(f"{name} {data[name][0]} against {data[name][1]}" for name in differ)
        yield (
            f"{a.name} and {b.name} were trained on other activations ({listed}). The normalized MSE of each is "
            "divided by the variance of its own activations, so that equal losses are not equally good reconstructions."
        )
    elif not all(data["data_fingerprint"]):
        lacking = [
            side.name for side, value in zip((a, b), data["data_fingerprint"], strict=True) if not value
        ]
        also = (
            f" ({', '.join(unknown)} {'is' if len(unknown) == 1 else 'are'} known of one only)"
            if unknown
            else ""
        )
        yield (
            "Whether both were trained on the same activations, and so whether their losses have one denominator, is "
            f"not known: the table of {' and of '.join(lacking)} has no data_fingerprint{also}."
        )
    for setting in settings:
        if setting.column == "activation":
            yield (
                f"The activation function is {setting.a} in {a.name} and {setting.b} in {b.name}: only TopK and "
                "BatchTopK set L0 to k, so rows of one k need not be equally sparse."
            )
    if "run_id" in a.runs.columns and "run_id" in b.runs.columns:
        shared = len(set(a.runs["run_id"].dropna()) & set(b.runs["run_id"].dropna()))
        if shared:
            yield (
                f"Both studies have {counted(shared, 'run id')} in common, while the intervals of ratios and "
                "differences take the two as independent: if these are the same runs, the intervals are too wide."
            )


def _matched(a: Side, b: Side) -> tuple[tuple[FitPair, ...], tuple[str, ...]]:
    """The fits of one law and k that both have once, and what has no counterpart."""
    cells: dict[tuple[str, str, str], tuple[list[FitResult], list[FitResult]]] = {}
    for i, side in enumerate((a, b)):
        for fit in side.report.fits:
            cells.setdefault(_cell(fit), ([], []))[i].append(fit)
    pairs: list[FitPair] = []
    alone: list[str] = []
    for (law, _, _), (of_a, of_b) in cells.items():
        if len(of_a) == len(of_b) == 1:
            pairs.append(_fit_pair(law, of_a[0], of_b[0], a, b))
            continue
        if not of_a or not of_b:
            names = [_law_and_name(fit) for fit in of_a or of_b]
            alone.extend(f"{name}: only {(a if of_a else b).name} has it." for name in names)
        else:
            name = _law_and_name(of_a[0])
            counts = f"{len(of_a)} in {a.name} and {len(of_b)} in {b.name}"
            alone.append(f"{name}: {counts}, so that it is not clear which belong together.")
    laws = list(dict.fromkeys((*FIRST, *(each.law for each in pairs))))
    return tuple(sorted(pairs, key=lambda each: laws.index(each.law))), tuple(alone)


def _law_and_name(fit: FitResult) -> str:
    """`L_N, k = 8, B = 256`."""
    return ", ".join(filter(None, [fit.law, fit_name(fit)]))


def _cell(fit: FitResult) -> tuple[str, str, str]:
    """Law, way to the optimum, and k of a fit; further columns of the group differ between studies."""
    k = fit.group.get("k")
    method = fit.selection.method if isinstance(fit.selection, OptimumSelection) else ""
    return (
        fit.law,
        method or "",
        "" if k is None else f"{float(k):g}" if isinstance(k, int | float) else str(k),
    )


def _fit_pair(law: str, one: FitResult, other: FitResult, a: Side, b: Side) -> FitPair:
    shared = {key: value for key, value in one.group.items() if key == "k" or other.group.get(key) == value}
    name = fit_name(replace(one, group=shared))
    refusal = None
    if one.flops != other.flops:
        refusal = (
            f"C is counted in FLOPs of the {described(one.flops)} in {a.name} and of the {described(other.flops)} in "
            f"{b.name}: fit both with one --flops."
        )
    elif one.response_name != other.response_name:
        refusal = f"{a.name} has {one.response_name} and {b.name} {other.response_name}, which are other quantities."
    elif one.formula != other.formula:
        refusal = f"{a.name} has {one.formula} and {b.name} {other.formula}, which are other laws."
    return FitPair(law, one.formula, name, one, other, refusal)
