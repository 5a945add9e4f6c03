"""What every law of a study predicts at given inputs, with intervals, how far that is beyond the rows, and cautions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from fit.data.near_names import did_you_mean
from fit.law.caution import Caution, Kind
from fit.law.errors import FitError
from fit.law.fit import fit_law
from fit.law.json_values import finite, integral
from fit.law.laws import LAWS
from fit.law.result import FitResult
from fit.law.selection import OptimumSelection
from fit.study.answers.reach import Extent, Reach

# An alternative of a law with an AICc higher than the best by more than this has essentially no support from the rows
# (Burnham & Anderson 2002, §2.6).
NO_SUPPORT = 10.0


@dataclass(frozen=True)
class Prediction:
    """What one law says at one point.

    Parameters
    ----------
    row : number of the point, from 0.
    law, group, regime : of the fit. method : how its rows were chosen, where a law has several ways.
    response : the column that is predicted. response_name : what the table calls it. at : the inputs of the law.
    value : of the law. low, high : 95 % interval of the law's own value; None where a side is unbounded.
    new_low, new_high : 95 % interval of a new run, its noise included.
    reach : how far beyond the rows the point is.
    refuted : whether the rows refute the law; None where their noise is not known.
    others : other laws that the rows do not refute, with what they say there; only from `FAR` on.
    cautions : sentences about this prediction.
    """

    row: int
    law: str
    method: str | None
    group: Mapping[str, Any]
    regime: str | None
    response: str
    at: Mapping[str, float]
    value: float
    low: float | None
    high: float | None
    new_low: float | None
    new_high: float | None
    reach: Reach
    refuted: bool | None = None
    others: Mapping[str, float] = field(default_factory=dict)
    cautions: tuple[Caution, ...] = ()
    response_name: str = "NMSE"


@dataclass(frozen=True)
class Predictions:
    """The predictions by point, at each point the law first that describes its rows best; and which laws said nothing.

    left_out: a sentence for each reason.
    """

    predictions: tuple[Prediction, ...]
    left_out: tuple[str, ...] = ()


class Fits:
    """The fits of a study, ordered by how well they describe their rows.

    Laws that their rows refute come last. Then the held-out error counts, if every law of the same response has one
    over two points or more, and otherwise the root mean square of the residuals.
    """

    def __init__(self, fits: Sequence[FitResult], laws: Sequence[str] | None = None) -> None:
        every = [fit for fit in fits if not laws or fit.law in laws]
        for name in laws or ():
            if not any(fit.law == name for fit in fits):
                there = sorted({fit.law for fit in fits})
                raise FitError(
                    f"These fits have no law {name}; they have {', '.join(there)}.{did_you_mean(name, there)}"
                )
        if not every:
            raise FitError("There are no fits to predict from: fit a table with `saescale fit`.")
        judged = {
            fit.response: all(_tested(one) for one in every if one.response == fit.response) for fit in every
        }
        self.fits = sorted(every, key=lambda fit: _rank(fit, judged[fit.response]))
        self.extents = [Extent(fit) for fit in self.fits]
        self.columns = sorted({name for fit in self.fits for name in (*fit.inputs, *fit.group)})

    def check(self, point: Mapping[str, Any]) -> None:
        """Raise FitError for a column that no law has, and for inputs that are not finite and positive."""
        inputs = {name for fit in self.fits for name in fit.inputs}
        signed = {name for extent in self.extents for name in extent.signed}
        for name, value in point.items():
            if name not in self.columns:
                raise FitError(
                    f"No law of these fits has {name}; they have {', '.join(self.columns)}."
                    f"{did_you_mean(name, self.columns)}"
                )
            if name not in inputs:
                continue
            try:
                known = np.isfinite(float(value)) and (float(value) > 0 or name in signed)
            except (TypeError, ValueError):
                known = False
            if not known:
                raise FitError(
                    f"{name} is {value if isinstance(value, str) else f'{value:g}'}: give a finite number"
                    f"{'' if name in signed else ' above 0'}."
                )

    def matching(self, point: Mapping[str, Any], fit: FitResult) -> bool:
        """Whether a point names no other group than that of the fit, as another k."""
        return all(_same(value, fit.group[name]) for name, value in point.items() if name in fit.group)


def label(fit: FitResult) -> str:
    """`L_N (k=32)`."""
    return label_of(fit.law, fit.group)


def label_of(law: str, group: Mapping[str, Any]) -> str:
    """`L_N (k=32)`."""
    values = ", ".join(f"{name}={value}" for name, value in group.items())
    return f"{law} ({values})" if values else law


def predict(
    fits: Sequence[FitResult], points: Sequence[Mapping[str, Any]], laws: Sequence[str] | None = None
) -> Predictions:
    """What every law says at each point whose inputs are given.

    Parameters
    ----------
    fits : the fits of a study, live or read from fits.json.
    points : for each point its columns: inputs of laws, and the group of a fit, as k of L_N.
    laws : names of the laws to ask; by default all.

    Raises
    ------
    FitError
        For a column that no law has, a number that is not finite and positive, a law that was not fitted, and where no
        law has its inputs.
    """
    known = Fits(fits, laws)
    for point in points:
        known.check(point)
    every: list[tuple[FitResult, Prediction]] = []
    left: dict[str, list[str]] = {}
    silent = []
    for fit, extent in zip(known.fits, known.extents, strict=True):
        rows = [i for i, point in enumerate(points) if known.matching(point, fit)]
        asked = [i for i in rows if set(fit.inputs) <= set(points[i])]
        if asked and fit.silent_because is not None:
            silent.append(fit.silent_because)
        elif asked:
            every += [(fit, one) for one in _of_fit(fit, extent, points, asked)]
        elif rows:
            absent = [name for name in fit.inputs if any(name not in points[i] for i in rows)]
            left.setdefault(f"{', '.join(absent)} was not given", []).append(label(fit))
        else:
            left.setdefault("its rows are of another group", []).append(label(fit))
    reasons = tuple(f"{', '.join(dict.fromkeys(names))}: {reason}." for reason, names in left.items())
    reasons += tuple(dict.fromkeys(silent))
    if not every:
        raise FitError(f"No law can answer. {' '.join(reasons)}")
    every.sort(key=lambda answer: answer[1].row)
    return Predictions(tuple(_with_spread(every)), reasons)


def _of_fit(
    fit: FitResult, extent: Extent, points: Sequence[Mapping[str, Any]], asked: Sequence[int]
) -> list[Prediction]:
    """The predictions of one fit at some of the points."""
    at = [{name: float(points[i][name]) for name in fit.inputs} for i in asked]
    x = {name: np.array([one[name] for one in at]) for name in fit.inputs}
    value, low, high = fit.predict(x, "law")
    _, new_low, new_high = fit.predict(x, "measurement")
    refuted = None if fit.lack_of_fit is None or fit.lack_of_fit.noise is None else fit.lack_of_fit.refuted
    return [
        Prediction(
            row=i,
            law=fit.law,
            method=fit.selection.method if isinstance(fit.selection, OptimumSelection) else None,
            group=fit.group,
            regime=fit.regime,
            response=fit.response,
            response_name=fit.response_name,
            at={name: integral(number) for name, number in at[j].items()},
            value=float(value[j]),
            low=_end(low[j]),
            high=_end(high[j]),
            new_low=_end(new_low[j]),
            new_high=_end(new_high[j]),
            reach=extent.reach(at[j]),
            refuted=refuted,
        )
        for j, i in enumerate(asked)
    ]


def _end(value: float) -> float | None:
    """An end of an interval of a positive number: None where it is unbounded."""
    return finite(value) if value > 0 else None


def _with_spread(answers: Sequence[tuple[FitResult, Prediction]]) -> list[Prediction]:
    """The predictions; those far beyond the rows with what other laws say there, and a caution."""
    rivals = {id(fit): Rivals(fit) for fit, _ in answers}
    done = []
    for fit, one in answers:
        if not one.reach.far:
            done.append(one)
            continue
        others = {
            label(other): rival.value
            for other, rival in answers
            if other is not fit and rival.row == one.row and not rival.refuted
            if (rival.response, rival.regime) == (one.response, one.regime)
            if {**rival.group, **rival.at} == {**one.group, **one.at}
        }
        names = {fit.law, *(name.partition(" ")[0] for name in others)}
        alternatives = rivals[id(fit)].values(one.at)
        others |= {name: value for name, value in alternatives.items() if name not in names}
        done.append(replace(one, others=others, cautions=(_far(one, {label(fit): one.value, **others}),)))
    return done


class Rivals:
    """The alternatives of a fit that its rows do not refute, fitted to the rows that the fit keeps."""

    def __init__(self, fit: FitResult) -> None:
        self.fit = fit

    @cached_property
    def fits(self) -> list[FitResult]:
        fit, made = self.fit, self.fit.recipe
        known = [law.aicc for law in fit.comparison if law.aicc is not None]
        supported = [
            law.law
            for law in fit.comparison
            if law.law != fit.law and law.law in LAWS
            if law.aicc is None or law.aicc <= min(known) + NO_SUPPORT
        ]
        if made is None or len(fit.points) < fit.rows:
            return []
        rivals = []
        for name in supported:
            x = {column: [point.inputs[column] for point in fit.points] for column in fit.inputs}
            try:
                rival = fit_law(
                    name,
                    x,
                    [point.response for point in fit.points],
                    weights=[point.weight for point in fit.points],
                    cluster=made.cluster,
                    objective=made.minimised,
                    method="delta",
                    hold_out=False,
                    compare=False,
                )
            except FitError:
                continue
            if rival.lack_of_fit is None or not rival.lack_of_fit.refuted:
                rivals.append(rival)
        return rivals

    def values(self, at: Mapping[str, float]) -> dict[str, float]:
        """What each alternative says at a point, by its name."""
        return {rival.law: float(rival.predict(dict(at))[0]) for rival in self.fits}


def _far(one: Prediction, values: Mapping[str, float]) -> Caution:
    """The caution for a point far beyond the rows, with the spread between the laws that the rows do not refute."""
    spread = "no other law of these rows says how far off it may be"
    if len(values) > 1:
        low, high = min(values, key=values.__getitem__), max(values, key=values.__getitem__)
        spread = (
            f"laws that the rows do not refute say {values[low]:.4g} ({low}) to {values[high]:.4g} ({high})"
        )
    text = f"{one.reach}: an interval holds only if its law holds there; {spread}."
    return Caution(Kind.EXTRAPOLATION, text, (one.reach.input or "",))


def _tested(fit: FitResult) -> bool:
    return fit.held_out is not None and fit.held_out.score.held > 1


def _rank(fit: FitResult, by_held_out: bool) -> tuple[bool, bool, float]:
    refuted = fit.lack_of_fit is not None and fit.lack_of_fit.refuted
    held = fit.held_out.score.rms_log if fit.held_out is not None else np.inf
    residual = np.inf if fit.rms_log is None else fit.rms_log
    return fit.response != "nmse", refuted, held if by_held_out else residual


def _same(asked: Any, of_group: Any) -> bool:
    """Whether a value that was asked for is that of a group: 32 and "32" are equal."""
    try:
        return float(asked) == float(of_group)
    except (TypeError, ValueError):
        return str(asked) == str(of_group)
