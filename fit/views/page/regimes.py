"""The two regimes side by side: L(C), the best use of compute, and L(N), trained to convergence."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fit.compute.frontier import LOOSER
from fit.law.result import FitResult
from fit.regimes import compare
from fit.regimes.budgets import Budgets
from fit.regimes.floors import Floor
from fit.views.format import MISSING, REGIMES, number, percent, significant
from fit.views.lines.regimes import batch_effect, lr_ratio
from fit.views.page.fit_format import group_name, held_out_error, interval
from fit.views.page.run_table import cell_text
from fit.views.page.study_report import StudyReport

# The law of the loss and the law of the best learning rate in each regime.
LAWS = {"compute": ("L_C", "LR_C"), "converged": ("L_N", "LR_N")}


@dataclass(frozen=True)
class LearningRateLaw:
    """A law of the best learning rate, with the interval of each parameter."""

    formula: str
    parameters: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Side:
    """One of the two regimes at one k."""

    formulas: tuple[str, ...]
    exponent: str
    floor: str
    held_out_error: str
    learning_rates: tuple[LearningRateLaw, ...]
    batch: str


@dataclass(frozen=True)
class Budget:
    """The compute-optimal and the converged budget of one n, read off its best run."""

    n_latents: str
    compute_tokens: str
    converged_tokens: str
    token_ratio: str
    compute_loss: str
    converged_loss: str
    loss_gap: str


@dataclass(frozen=True)
class Group:
    """The comparison at one k. findings: the ratio of the best learning rates, and sentences on missing inputs."""

    name: str
    sides: tuple[Side, ...]
    findings: tuple[str, ...]
    floors: tuple[str, ...]
    budgets: tuple[Budget, ...]


@dataclass(frozen=True)
class RegimesSection:
    """The facts of the section.

    lead: why there is no comparison, or None if there is one. caution: what a comparison of different n under L(C)
    means.
    """

    lead: str | None
    caution: str | None
    groups: tuple[Group, ...]
    reasons: tuple[str, ...]


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
        return RegimesSection(lead, LOOSER if "compute" in fitted else None, (), ())
    groups = tuple(_group(report, group, compared.floors) for group in compared.groups)
    return RegimesSection(None, compared.caution, groups, compared.reasons)


def _group(report: StudyReport, group: compare.Group, floors: Sequence[Floor]) -> Group:
    columns = group.group
    k = columns["k"] if "k" in columns else None
    effects = {test.regime: batch_effect(test) for test in group.batch}
    judged = group.lr is not None and group.lr.at_optimum.ratios  # then the verdict above has ρ
    findings = (*(() if judged else lr_ratio(group.ratio)), *group.reasons)
    return Group(
        name=group_name(columns),
        sides=tuple(
            _side(_fits(report, law, columns), _fits(report, lr, columns), effects[regime])
            for regime, (law, lr) in LAWS.items()
        ),
        findings=tuple(line.strip() for line in findings),
        floors=tuple(f"{floor.law} {interval(floor)}" for floor in floors if floor.k == k),
        budgets=tuple(map(_budget, group.budgets)),
    )


def _fits(report: StudyReport, law: str, group: Mapping[str, Any]) -> list[FitResult]:
    """The fits of one law with a group that does not contradict this one."""
    return [
        fit
        for fit in report.fits
        if fit.law == law and all(fit.group[name] == group[name] for name in fit.group.keys() & group.keys())
    ]


def _side(fits: Sequence[FitResult], learning_rates: Sequence[FitResult], batch: str) -> Side:
    laws = [
        LearningRateLaw(fit.formula, tuple((name, interval(param)) for name, param in fit.params.items()))
        for fit in learning_rates
    ]
    return Side(
        formulas=tuple(dict.fromkeys(fit.formula for fit in fits)),
        exponent=_once(_parameter(fit, "alpha") for fit in fits),
        floor=_once(_parameter(fit, "E") for fit in fits),
        held_out_error=_once(held_out_error(fit.held_out) for fit in fits),
        learning_rates=tuple(dict.fromkeys(laws)),
        batch=batch,
    )


def _parameter(fit: FitResult, name: str) -> str:
    return interval(fit.params[name] if name in fit.params else None)


def _once(texts: Iterable[str]) -> str:
    """The distinct texts; a dash if there are none."""
    return "; ".join(dict.fromkeys(texts)) or MISSING


def _budget(row: Budgets) -> Budget:
    return Budget(
        n_latents=cell_text(row.n_latents),
        compute_tokens=significant(row.compute.tokens, 3),
        converged_tokens=significant(row.converged.tokens, 3),
        token_ratio=number(row.token_ratio, 1),
        compute_loss=cell_text(row.compute.nmse, "nmse"),
        converged_loss=cell_text(row.converged.nmse, "nmse"),
        loss_gap=percent(row.loss_gap, signed=True),
    )
