"""The top of the page: the name, the answer in one sentence, the claims it rests on, and the few numbers to know."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from fit.law.caution import Kind
from fit.law.laws import L_NK
from fit.law.result import FitResult, Param
from fit.regimes.verdict import Outcome
from fit.views.format import MISSING, REGIMES, greek
from fit.views.lines.law_table import merged_groups
from fit.views.lines.verdict import Judgement, judgements
from fit.views.page.cost import hours
from fit.views.page.fit_format import fit_name, group_name, held_out_error, held_out_inside, interval
from fit.views.page.run_table import (
    as_floats,
    cell_text,
    converged_counts,
    counted,
    ended_count,
    known,
    states,
)
from fit.views.page.study_report import StudyReport

# The laws for the exponents in the first sentence, with their variable. Each regime uses the first one that was fitted.
LAWS = {
    "converged": (("L_N", "N"), ("L_N_pure", "N"), ("L_NK", "N")),
    "compute": (("L_C", "C"), ("L_C_pure", "C")),
}
EXPONENT = "alpha"
OUTCOMES = {Outcome.HOLDS: "holds", Outcome.REFUTED: "is refuted", Outcome.UNDECIDED: "is undecided"}
# More exponents than this are given as a range.
MOST_VALUES = 3


@dataclass(frozen=True)
class Trend:
    """The trend of the loss in one regime, L ∝ variable^−exponent.

    exponent: its letter; values: with intervals. refuted: of which of these fits the rows refute the law, `k = 32`.
    """

    regime: str
    has_floor: bool
    variable: str
    exponent: str
    values: str
    refuted: str | None


@dataclass(frozen=True)
class KeyFigure:
    """One number in the row below the first sentence, with its description."""

    name: str
    value: str
    about: str = ""


@dataclass(frozen=True)
class GroupVerdict:
    """The verdict on the paper's claims about the runs of one group.

    name: empty if it is the only one. outcomes: each claim with its outcome, as `“…” is refuted and “…” holds`.
    """

    name: str
    outcomes: str
    judgements: tuple[Judgement, ...]


@dataclass(frozen=True)
class Summary:
    """The head of the page.

    formulas: the fitted laws, for a page without a trend. converged: `3 runs of 14`, None if it is unknown. verdicts:
    of each group of runs, on the paper's claims about L(C) and L(N).
    """

    name: str
    trends: tuple[Trend, ...]
    formulas: tuple[str, ...]
    converged: str | None
    key_figures: tuple[KeyFigure, ...]
    verdicts: tuple[GroupVerdict, ...] = ()


def summary(report: StudyReport) -> Summary:
    """The facts of the head of the page."""
    trends = [trend for regime in LAWS if (trend := _trend(report, regime))]
    count = converged_counts(report.runs)
    return Summary(
        name=report.name,
        trends=tuple(trends),
        formulas=tuple(dict.fromkeys(fit.formula for fit in report.fits)),
        converged=f"{counted(count[0], 'run')} of {len(report.runs):,}" if count else None,
        key_figures=tuple(_key_figures(report)),
        verdicts=tuple(_verdicts(report)),
    )


def _verdicts(report: StudyReport) -> Iterator[GroupVerdict]:
    groups = report.regimes.groups if report.regimes else ()
    for group in groups:
        if claims := judgements(group):
            name = group_name(group.group) if len(groups) > 1 else ""
            yield GroupVerdict(name, _outcomes(claims), tuple(claims))


def _outcomes(claims: Sequence[Judgement]) -> str:
    """`“the batch size moves L(C) substantially” holds and “…” is undecided`: each claim with its outcome."""
    texts = [f"“{judged.claim}” {OUTCOMES[judged.outcome]}" for judged in claims]
    return " and ".join(filter(None, [", ".join(texts[:-1]), texts[-1]]))


def _trend(report: StudyReport, regime: str) -> Trend | None:
    """The exponents of the first law of a regime that was fitted."""
    for law, variable in LAWS[regime]:
        exponents = [
            (name, param)
            for fit in report.fits
            if fit.law == law
            for name, param in _exponents(fit)
            if param.value is not None
        ]
        if exponents:
            fits = [fit for fit in report.fits if fit.law == law]
            # Where E went to 0 in every fit, the rows show no floor, though the law has one.
            floor = not law.endswith("_pure") and any(
                all(caution.kind is not Kind.NO_FLOOR for caution in fit.cautions) for fit in fits
            )
            refuted = [fit.group for fit in fits if fit.refutation]
            where = merged_groups(refuted).replace("=", " = ") if refuted else None
            return Trend(REGIMES[regime], floor, variable, greek(EXPONENT), _values(exponents), where)
    return None


def _exponents(fit: FitResult) -> Iterator[tuple[str, Param]]:
    """The exponent of a fit with the fit's name; of a joint law the exponent at each k."""
    if EXPONENT in fit.params and fit.law != L_NK.name:
        yield fit_name(fit), fit.params[EXPONENT]
    else:
        yield from ((group_name(q.at), q) for q in fit.derived.values() if q.name == EXPONENT)


def _values(exponents: Sequence[tuple[str, Param]]) -> str:
    """`0.357 [0.340, 0.374] (k = 16) and …`, or the smallest and the largest of many."""
    if len(exponents) > MOST_VALUES:
        ordered = sorted(exponents, key=lambda item: item[1].value or 0.0)
        (first, low), (last, high) = ordered[0], ordered[-1]
        return f"{interval(low)} ({first}) to {interval(high)} ({last}) in {len(exponents)} fits"
    return " and ".join(interval(param) + (f" ({name})" if name else "") for name, param in exponents)


def _key_figures(report: StudyReport) -> Iterator[KeyFigure]:
    """Ended and converged runs, the lowest loss, the held-out error, compute and time; unknown numbers are left out."""
    runs = report.runs
    if "state" in runs.columns:
        yield KeyFigure("runs ended", f"{ended_count(runs):,} of {len(runs):,}")
    else:
        yield KeyFigure("rows", f"{len(runs):,}")
    converged = converged_counts(runs)
    if converged is not None:
        yield KeyFigure("converged", f"{converged[0]:,}", f"of {counted(sum(converged), 'run')} done")
    yield _lowest_loss(runs)
    yield from _held_out(report)
    flops = as_floats(runs, "flops_sparse").sum(min_count=1)
    if known(flops):
        yield KeyFigure("training compute", cell_text(flops, "flops"), "FLOPs, sparse convention")
    spent = hours(runs)
    if spent is not None:
        yield KeyFigure("time", cell_text(spent[0]), spent[1])


def _held_out(report: StudyReport) -> Iterator[KeyFigure]:
    """The error of the most general law at the largest scale, which was held out."""
    for law, name in (("L_NK", "L(N, K)"), ("L_N", "L(N)"), ("L_C", "L(C)")):
        for fit in report.fits:
            if fit.law == law and fit.held_out is not None:
                inside = held_out_inside(fit.held_out).replace(MISSING, "")
                about = ", ".join(filter(None, [name, fit_name(fit), inside]))
                yield KeyFigure("held-out error", held_out_error(fit.held_out), about)
                return


def _lowest_loss(runs: pd.DataFrame) -> KeyFigure:
    """The lowest loss of a done run, and its n and k."""
    runs = runs[(states(runs) == "done") & as_floats(runs, "nmse").notna()]
    loss = as_floats(runs, "nmse")
    if loss.empty:
        return KeyFigure("lowest NMSE", MISSING, "no run is done")
    best = runs.iloc[int(loss.to_numpy().argmin())]
    letters = {"n": "n_latents", "k": "k"}
    place = [f"{letter} = {cell_text(best[c])}" for letter, c in letters.items() if c in runs.columns]
    return KeyFigure("lowest NMSE", cell_text(loss.min(), "nmse"), ", ".join(place))
