"""Judges a fit: does it predict the largest scale from the smaller ones, and do the rows identify its parameters?"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from fit.engine import Flags
from fit.errors import FitError
from fit.estimate import Estimate, estimate
from fit.laws import Array, Law
from fit.result import Param, Point, integral
from fit.rows import Rows
from fit.uncertainty import intervals

CORRELATED = 0.95


def largest_scale(law: Law, rows: Rows) -> tuple[str, float, Flags]:
    """The scale that is held out: its input, the largest value that stays in training, and which rows are held out.

    The largest n of L(N) and L(N, K), the last octave of C of L(C).
    """
    name = law.inputs[0]
    values = rows.x[name]
    held = values > values.max() / 2 * (1 + 1e-9) if name == "flops" else values == values.max()
    return name, float(values[~held].max(initial=0.0)), held


def held_out(law: Law, rows: Rows, replicates: Rows | None) -> dict[str, Any]:
    """The fit without the largest scale, and what it says of that scale. FitError when too few rows remain.

    {"input", "up_to": largest value trained on, "rows": trained on, "rms_log", "points": one for each held-out row with
    predicted [low, high] (95 % for a measurement), measured, relative_error = predicted/measured − 1, inside}. The keys
    of a single point are repeated beside "points".
    """
    name, up_to, held = largest_scale(law, rows)
    train, test = rows.only(~held), rows.only(held)
    at = estimate(law, train.x, train.loss, train.weights)
    if replicates is not None:
        replicates = replicates.only(replicates.x[name] <= up_to * (1 + 1e-9))
    low, high = intervals(at, replicates).measurement(test.x)
    logs = at.log_loss(test.x)
    points = [
        {
            **{key: float(values[i]) for key, values in test.x.items()},
            "predicted": float(np.exp(logs[i])),
            "low": float(low[i]),
            "high": float(high[i]),
            "measured": float(test.loss[i]),
            "relative_error": float(np.exp(logs[i]) / test.loss[i] - 1),
            "inside": bool(low[i] <= test.loss[i] <= high[i]),
        }
        for i in range(len(test.loss))
    ]
    rms = float(np.sqrt(np.mean((logs - np.log(test.loss)) ** 2)))
    whole = {"input": name, "up_to": up_to, "rows": len(train.loss), "rms_log": rms, "points": points}
    return {**whole, **points[0]} if len(points) == 1 else whole


def try_held_out(law: Law, rows: Rows, replicates: Rows | None) -> tuple[dict[str, Any] | None, list[str]]:
    """`held_out`, or None and the reason as a warning."""
    try:
        return held_out(law, rows, replicates), []
    except FitError as error:
        return None, [f"No check at the largest scale. Without it {error}"]


def correlations(at: Estimate) -> Array:
    """Correlation of the internal parameters, (p, p); NaN for those of a vanished floor."""
    covariance = at.basis.inverse @ at.covariance() @ at.basis.inverse.T
    scale = np.sqrt(np.diag(covariance))
    with np.errstate(invalid="ignore", divide="ignore"):
        return covariance / np.outer(scale, scale)


def trade_offs(at: Estimate) -> list[str]:
    """A warning when the rows hardly tell two parameters apart; the strongest pair is named.

    An intercept and a slope of one term do not count: how they correlate is a matter of the unit of the input.
    """
    law, corr = at.law, correlations(at)
    found = []
    for i, first in enumerate(law.internal):
        for j, second in enumerate(law.internal[:i]):
            own = {law.terms[law.term_of(name)].params[0] for name in (first, second)}
            same = law.term_of(first) == law.term_of(second)
            if abs(corr[i, j]) > CORRELATED and not (same and own & {first, second}):
                found.append((abs(corr[i, j]), corr[i, j], *sorted((first, second), key=law.params.index)))
    if not found:
        return []
    _, value, first, second = max(found)
    others = ", ".join(f"{a} and {b} {c:+.2f}" for _, c, a, b in sorted(found, reverse=True)[1:])
    also = f"; also {others}" if others else ""
    text = f"{first} and {second} trade off (corr {value:+.2f}{also}): compare predictions, not exponents."
    return [text.replace("-", "−")]


def unidentified(law: Law, params: Mapping[str, Param]) -> list[str]:
    """A warning for each parameter whose interval has no end."""
    texts = []
    for name in law.params:
        param = params[name]
        if param.value is None:
            continue
        sides = [side for side, end in (("lower", param.low), ("upper", param.high)) if end is None]
        if sides:
            texts.append(
                f"{name} is not identified: its 95 % interval has no {' and no '.join(sides)} end. "
                "Do not quote it; add rows over a wider range."
            )
    return texts


def absent_floor(at: Estimate, params: Mapping[str, Param]) -> list[str]:
    """A warning when the best fit has no irreducible loss."""
    if not at.floor_vanished:
        return []
    if "E" in params:
        return ["E went to 0: these rows show no irreducible loss. Its interval says how much they allow."]
    return ["The irreducible term went to 0: these rows show none, and its parameters are undefined."]


def few_agree(at: Estimate) -> list[str]:
    """A warning when most starts ended elsewhere, so that a better optimum may have been missed."""
    if 2 * at.agree >= at.tried:
        return []
    return [f"Only {at.agree} of {at.tried} starts reached the best optimum: it may not be the global one."]


def fitted_points(rows: Rows, at: Estimate) -> tuple[Point, ...]:
    """The fitted rows: inputs, nmse, predicted."""
    predicted = np.exp(at.log_loss(rows.x))
    return tuple(
        {
            **{k: integral(v[i]) for k, v in rows.x.items()},
            "nmse": float(rows.loss[i]),
            "predicted": float(predicted[i]),
        }
        for i in range(len(rows.loss))
    )
