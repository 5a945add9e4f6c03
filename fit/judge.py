"""Judges a fit: does it predict the largest scales from the smaller ones, and does it do so better than other laws?"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fit.engine import Flags
from fit.errors import FitError
from fit.estimate import Estimate, estimate
from fit.law import Array, Law
from fit.laws import LAWS
from fit.losses import Objective
from fit.result import Point, finite, integral
from fit.rows import Rows
from fit.uncertainty import AUTO, intervals

# At most this many of the largest scales are held out, and never more than a third of them.
MOST_SCALES = 3
# With more different values than this, scales are octaves, as those of C always are.
MOST_VALUES = 20
# Held-out errors that differ by less than this share are a draw: AICc decides.
DRAW = 0.1
# A held-out scale of a table of 10⁶ rows has 10⁵; the error is over all, the points listed are the first.
MOST_POINTS = 1_000
# Fitted rows that a result lists: fits.json would have 300 MB for 10⁶.
MOST_FITTED = 10_000
# Laws are compared over an even sample of the rows where there are more.
MOST_COMPARED = 20_000


@dataclass(frozen=True)
class How:
    """How a law is fitted and its intervals are made, see `fit_law`."""

    objective: Objective
    replicates: Rows | None = None
    method: str = AUTO
    draws: int = 1000
    seed: int = 0


def scales(law: Law, rows: Rows) -> Array:
    """The scale of each row: the largest n of L(N) and L(N, K), octaves of C of L(C), by rising numbers from 0."""
    values = rows.x[law.inputs[0]]
    distinct, number = np.unique(values, return_inverse=True)
    if law.inputs[0] != "flops" and len(distinct) <= MOST_VALUES:
        return number.astype(float)
    return np.ceil(np.log2(values / values.max()) - 1e-9) - np.ceil(
        np.log2(values.min() / values.max()) - 1e-9
    )


def splits(law: Law, rows: Rows) -> Iterator[Flags]:
    """Which rows are held out: the largest scale, the two largest, the three largest, while a law is left to fit."""
    scale = scales(law, rows)
    values = np.unique(scale[rows.weights > 0])
    for count in range(1, min(MOST_SCALES, max(1, len(values) // 3)) + 1):
        if count < len(values):
            yield scale >= values[-count]


def held_out(law: Law, rows: Rows, how: How) -> dict[str, Any]:
    """The fit without the largest scale, and what it says of that scale. FitError when too few rows remain.

    {"input", "up_to": largest value trained on, "rows": trained on, "held": held out, "rms_log", "points": one for
    each held-out row with predicted [low, high] (95 % for a measurement), measured, relative_error =
    predicted/measured − 1, inside, "splits": the same without points for the largest, the two largest … scales}. The
    keys of a single point are repeated beside "points".
    """
    held = next(splits(law, rows), None)
    if held is None:
        raise FitError(f"{law.name} has rows at one {law.inputs[0]} only: add runs at other values.")
    name = law.inputs[0]
    train, test = rows.only(~held), rows.only(held)
    at = estimate(law, train, how.objective)
    up_to = float(train.x[name].max())
    replicates = how.replicates
    if replicates is not None:
        replicates = replicates.only(replicates.x[name] <= up_to * (1 + 1e-9))
    low, high = intervals(at, train, replicates, how.method, how.draws, how.seed).measurement(test.x)
    logs = at.log_loss(test.x)
    points = [
        {
            **{key: float(values[i]) for key, values in test.x.items()},
            "predicted": float(np.exp(logs[i])),
            "low": finite(low[i]),
            "high": finite(high[i]),
            "measured": float(test.loss[i]),
            "relative_error": float(np.exp(logs[i]) / test.loss[i] - 1),
            "inside": bool(low[i] <= test.loss[i] <= high[i]),
        }
        for i in range(min(len(test.loss), MOST_POINTS))
    ]
    whole = {
        "input": name,
        "up_to": up_to,
        "rows": len(train.loss),
        "held": len(test.loss),
        "rms_log": _rms(at, test),
        "points": points,
    }
    whole["splits"] = scores(law, rows, how.objective)
    return {**whole, **points[0]} if len(points) == 1 else whole


def scores(law: Law, rows: Rows, objective: Objective) -> list[dict[str, Any]]:
    """For each split that leaves enough rows: up_to, rows trained on, held rows, rms_log of the predictions."""
    found = []
    for held in splits(law, rows):
        train, test = rows.only(~held), rows.only(held)
        try:
            at = estimate(law, train, objective)
        except FitError:
            break
        up_to = float(train.x[law.inputs[0]].max())
        found.append(
            {"up_to": up_to, "rows": len(train.loss), "held": len(test.loss), "rms_log": _rms(at, test)}
        )
    return found


def _rms(at: Estimate, test: Rows) -> float:
    """Root mean square of ln predicted − ln measured."""
    return float(np.sqrt(np.mean((at.log_loss(test.x) - np.log(test.loss)) ** 2)))


def try_held_out(law: Law, rows: Rows, how: How) -> tuple[dict[str, Any] | None, list[str]]:
    """`held_out`, or None and the reason as a warning."""
    try:
        return held_out(law, rows, how), []
    except FitError as error:
        return None, [f"No check at the largest scale. Without it {error}"]


def aicc(at: Estimate) -> float | None:
    """n ln(D/n) + 2m + 2m(m + 1)/(n − m − 1), D the deviance, n = Σ w, m the parameters and the scatter.

    None where rows are too few for it (Hurvich & Tsai 1989), and for a fit without residuals.
    """
    alive = [len(t.internal) for t, there in zip(at.law.terms, at.solution.alive[0], strict=True) if there]
    n, m = float(at.weights.sum()), sum(alive) + 1
    if n - m - 1 <= 0 or at.deviance <= 0:
        return None
    return n * float(np.log(at.deviance / n)) + 2 * m + 2 * m * (m + 1) / (n - m - 1)


def comparison(at: Estimate, rows: Rows, objective: Objective) -> list[Mapping[str, Any]]:
    """The law and those that it is judged against, the best first: law, formula, held_out_rms, aicc, rms_log of each.

    First by the error at held-out largest scales, the root mean square over the splits that all laws could be fitted
    to; within 10 % of the best by AICc. A law that these rows cannot be fitted to is left out.
    """
    found: list[tuple[Estimate, list[dict[str, Any]]]] = []
    if len(rows.loss) > MOST_COMPARED:
        rows = rows.only(np.unique(np.linspace(0, len(rows.loss) - 1, MOST_COMPARED).astype(int)))
        at = estimate(at.law, rows, objective)
    for law in (at.law, *(LAWS[name] for name in at.law.alternatives if name in LAWS)):
        try:
            fitted = at if law is at.law else estimate(law, rows, objective)
        except FitError:
            continue
        found.append((fitted, scores(law, rows, objective)))
    if len(found) < 2:
        return []
    # A law of many parameters may leave no split: it is then judged by AICc alone, after the others.
    common = min((len(s) for _, s in found if s), default=0)
    return ranked([_score(fitted, split[:common] if split else []) for fitted, split in found])


def ranked(laws: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Laws by their held-out error, those within 10 % of the best by AICc; those without an error last."""
    known = [law["held_out_rms"] for law in laws if law["held_out_rms"] is not None]
    good = min(known, default=0.0) * (1 + DRAW)

    def rank(law: Mapping[str, Any]) -> tuple[float, float]:
        error, criterion = law["held_out_rms"], law["aicc"]
        place = np.inf if error is None else max(error, good)
        return place, np.inf if criterion is None else criterion

    return sorted(laws, key=rank)


def _score(at: Estimate, split: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    rms = np.sqrt(np.mean([s["rms_log"] ** 2 for s in split])) if split else None
    return {
        "law": at.law.name,
        "formula": at.law.formula,
        "held_out_rms": None if rms is None else float(rms),
        "aicc": aicc(at),
        "rms_log": float(np.sqrt((at.weights * at.residuals() ** 2).sum() / at.weights.sum())),
    }


def beaten(law: Law, laws: Sequence[Mapping[str, Any]]) -> list[str]:
    """A warning where another law predicts the largest scales better."""
    if not laws or laws[0]["law"] == law.name:
        return []
    mine = next(one for one in laws if one["law"] == law.name)
    best = laws[0]
    if mine["held_out_rms"] is None or best["held_out_rms"] is None:
        return [f"{best['law']} has the lower AICc: {best['formula']}."]
    return [
        f"{best['law']} predicts held-out scales better: {best['formula']}, "
        f"{100 * best['held_out_rms']:.2g} % against {100 * mine['held_out_rms']:.2g} %."
    ]


def fitted_points(rows: Rows, at: Estimate, named: Mapping[int, float]) -> tuple[Point, ...]:
    """The fitted rows: row, inputs, the response, predicted, residual = ln predicted − ln measured, weight, outlier.

    row: index into the rows given. Of a long table an even sample, and the outliers.
    """
    shown = np.unique(
        np.linspace(0, len(rows.loss) - 1, min(len(rows.loss), MOST_FITTED)).round().astype(int)
    )
    predicted, r = np.exp(at.log_fitted()), at.residuals()
    return tuple(
        {
            "row": i,
            **{k: integral(v[i]) for k, v in rows.x.items()},
            at.law.response: float(rows.loss[i]),
            "predicted": float(predicted[i]),
            "residual": float(r[i]),
            "weight": float(rows.weights[i]),
            "outlier": i in named,
        }
        for i in map(int, np.union1d(shown, np.array(list(named), dtype=int)))
    )
