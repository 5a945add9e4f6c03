"""Whether a fit to the smaller scales predicts the largest ones: the rows held out, the fits without them, errors."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from fit.law.caution import Caution, Kind
from fit.law.checks.lack_of_fit import independent
from fit.law.errors import FitError
from fit.law.estimate import Estimate, estimate
from fit.law.intervals.choose import NONE, intervals
from fit.law.intervals.misfit import carrying_misfit
from fit.law.intervals.shared import SharedError
from fit.law.json_values import finite, record
from fit.law.law import Array, Law
from fit.law.losses import Objective
from fit.law.options import FitOptions
from fit.law.rows import Rows
from fit.law.solver import Flags

# At most this many of the largest scales are held out, and never more than a third of them.
MOST_SCALES = 3
# With more different values than this, scales are octaves, as those of C always are.
MOST_VALUES = 20
# A held-out scale of a table of 10⁶ rows has 10⁵; the error is over all, the points listed are the first.
MOST_POINTS = 1_000


@dataclass(frozen=True)
class Score:
    """How well the fit to the scales up to `up_to` predicts those above: rms_log, of ln predicted − ln measured.

    rows: trained on; held: held out.
    """

    up_to: float
    rows: int
    held: int
    rms_log: float


@dataclass(frozen=True)
class HeldOutPoint:
    """A held-out row: its inputs by name, the prediction with its 95 % interval for a measurement, and the measurement.

    relative_error: predicted/measured − 1. inside: whether the measurement is in the interval, None without one.
    """

    inputs: Mapping[str, float]
    predicted: float
    low: float | None
    high: float | None
    measured: float
    relative_error: float
    inside: bool | None


@dataclass(frozen=True)
class HeldOut:
    """What the fit without the largest scale says of that scale.

    input: whose largest values are held out. score: of that fit. points: the held-out rows, at most `MOST_POINTS`.
    splits: the scores without the largest, the two largest … scales.
    """

    input: str
    score: Score
    points: tuple[HeldOutPoint, ...]
    splits: tuple[Score, ...]

    def to_dict(self) -> dict[str, Any]:
        """For fits.json: the inputs of a point also beside its numbers, and a single point also beside "points"."""
        points = [
            {
                **point.inputs,
                **{name: value for name, value in asdict(point).items() if name != "inputs"},
                "inputs": dict(point.inputs),
            }
            for point in self.points
        ]
        splits = [asdict(score) for score in self.splits]
        whole = {"input": self.input, **asdict(self.score), "points": points, "splits": splits}
        return {**whole, **points[0]} if len(points) == 1 else whole

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], inputs: Sequence[str]) -> "HeldOut":
        """What fits.json holds. inputs: of the law, for points of older files, which do not name theirs."""
        points = tuple(
            record(
                HeldOutPoint,
                point,
                inputs=point.get("inputs") or {name: point[name] for name in inputs if name in point},
            )
            for point in content["points"]
        )
        splits = tuple(record(Score, score) for score in content["splits"])
        return cls(content["input"], record(Score, content), points, splits)


@dataclass(frozen=True)
class Split:
    """The largest scales, `test`, and the fit `at` to the others, `train`; held: which of all rows are in `test`."""

    train: Rows
    test: Rows
    at: Estimate
    held: Flags

    @property
    def up_to(self) -> float:
        """The largest scale trained on."""
        return float(self.train.x[self.at.law.inputs[0]].max())

    @property
    def score(self) -> Score:
        error = self.at.log_loss(self.test.x) - np.log(self.test.loss)
        rms = float(np.sqrt(np.mean(error**2)))
        return Score(self.up_to, len(self.train.loss), len(self.test.loss), rms)


def scales(law: Law, rows: Rows) -> Array:
    """The scale of each row: the largest n of L(N) and L(N, K), octaves of C of L(C), by rising numbers from 0."""
    values = rows.x[law.inputs[0]]
    distinct, number = np.unique(values, return_inverse=True)
    if law.inputs[0] != "flops" and len(distinct) <= MOST_VALUES:
        return number.astype(float)
    return np.ceil(np.log2(values / values.max()) - 1e-9) - np.ceil(
        np.log2(values.min() / values.max()) - 1e-9
    )


def largest(law: Law, rows: Rows) -> Iterator[Flags]:
    """Which rows are held out: the largest scale, the two largest, the three largest, while a law is left to fit."""
    scale = scales(law, rows)
    values = np.unique(scale[rows.weights > 0])
    for count in range(1, min(MOST_SCALES, max(1, len(values) // 3)) + 1):
        if count < len(values):
            yield scale >= values[-count]


def splits(law: Law, rows: Rows, objective: Objective) -> tuple[list[Split], str | None]:
    """The fits without the rows of each `largest`, up to the first that leaves too few rows; or the reason for none."""
    all_splits: list[Split] = []
    for held in largest(law, rows):
        train = rows.only(~held)
        try:
            all_splits.append(Split(train, rows.only(held), estimate(law, train, objective), held))
        except FitError as error:
            return all_splits, str(error)
    return (
        all_splits,
        None if all_splits else f"{law.name} has rows at one {law.inputs[0]} only: add runs at other values.",
    )


def held_out(
    all_splits: Sequence[Split],
    options: FitOptions,
    replicates: Rows | None = None,
    refuted: bool = False,
    shared: Array | None = None,
) -> HeldOut:
    """What the fit without the largest scale says of that scale.

    Parameters
    ----------
    all_splits : the fits without the largest, the two largest … scales.
    options : how intervals are made.
    replicates : resamplings of all rows to use instead of drawing them.
    refuted : whether the intervals carry a misfit.
    shared : ln of the factors on the losses of all rows at both 95 % ends of each error that they share, (2 errors,
        rows). The interval of a prediction then holds what this error does to the rows trained on, as the intervals of
        the fit to all rows do, see `SharedError`.

    Raises
    ------
    FitError
        If too few of the replicates keep enough rows.
    """
    first = all_splits[0]
    scores = tuple(split.score for split in all_splits)
    points = _points(first, options, replicates, refuted, shared)
    return HeldOut(first.at.law.inputs[0], scores[0], points, scores)


def _points(
    split: Split, options: FitOptions, replicates: Rows | None, refuted: bool, shared: Array | None
) -> tuple[HeldOutPoint, ...]:
    at, test = split.at, split.test
    replicates = None if replicates is None else _up_to(replicates, split)
    ends = intervals(at, split.train, replicates, options.intervals, options.resamples, options.seed)
    if refuted:
        ends = carrying_misfit(ends, at, independent(at, split.train))
    if shared is not None:
        ends = SharedError.of(ends, at, split.train, shared[:, ~split.held])
    low, high = ends.measurement(test.x)
    predicted = np.exp(at.log_loss(test.x))
    known = ends.method != NONE
    return tuple(
        HeldOutPoint(
            {key: float(values[i]) for key, values in test.x.items()},
            float(predicted[i]),
            finite(low[i]),
            finite(high[i]),
            float(test.loss[i]),
            float(predicted[i] / test.loss[i] - 1),
            bool(low[i] <= test.loss[i] <= high[i]) if known else None,
        )
        for i in range(min(len(test.loss), MOST_POINTS))
    )


def _up_to(replicates: Rows, split: Split) -> Rows:
    """The rows of the replicates up to the largest scale trained on, of those that keep enough for a refit."""
    name = split.at.law.inputs[0]
    some = replicates.only(replicates.x[name] <= split.up_to * (1 + 1e-9))
    enough = (some.weights > 0).sum(axis=1) > len(split.at.law.internal)
    if 2 * enough.sum() < len(enough):
        raise FitError(
            f"only {enough.sum()} of {len(enough)} draws have more than {len(split.at.law.internal)} rows: "
            "intervals need more runs."
        )
    return replace(some, weights=some.weights[enough])


def try_held_out(
    all_splits: Sequence[Split],
    reason: str | None,
    options: FitOptions,
    replicates: Rows | None = None,
    refuted: bool = False,
    shared: Array | None = None,
) -> tuple[HeldOut | None, list[Caution]]:
    """`held_out`, or None and the reason as a caution."""
    try:
        if not all_splits:
            raise FitError(reason)
        return held_out(all_splits, options, replicates, refuted, shared), []
    except FitError as error:
        text = f"No check at the largest scale. Without it {error}"
        return None, [Caution(Kind.HELD_OUT, text)]
