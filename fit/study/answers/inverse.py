"""What a loss needs: the input, as n or tokens, at which a law reaches a given response."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from scipy.optimize import brentq

from fit.data.near_names import did_you_mean
from fit.law.caution import Caution, Kind
from fit.law.errors import FitError
from fit.law.json_values import integral
from fit.law.law import Array
from fit.law.result import FitResult
from fit.study.answers.prediction import Fits, label, label_of
from fit.study.answers.reach import Extent, Reach

# The search goes this far beyond the rows on both sides; what needs more is said to.
FURTHEST = 1e6
# Points of the search on a logarithmic scale. A law crosses a value once, apart from broken ones; of those the first
# crossing from the side of the small inputs counts.
GRID = 60
# The limit of a law for an endless input is read off here: x^−0.02 is 1e-6.
ENDLESS = 1e300


@dataclass(frozen=True)
class Needed:
    """What one law needs for a response.

    Parameters
    ----------
    law, group, regime, response : of the fit. target : the response that is asked for. at : the given inputs.
    input : the input that is solved for.
    value : its value; None where the law does not reach the target, or only beyond `FURTHEST` × the rows.
    low, high : 95 % interval: where the ends of the law's interval reach the target; None where they do not.
    reach : how far beyond the rows `value` is, None without one.
    refuted : whether the rows refute the law; None where their noise is not known.
    reason : a sentence that says why there is no value, None where there is one.
    cautions : sentences about this answer.
    """

    law: str
    group: Mapping[str, Any]
    regime: str | None
    response: str
    target: float
    at: Mapping[str, float]
    input: str
    value: float | None
    low: float | None
    high: float | None
    reach: Reach | None
    refuted: bool | None = None
    reason: str | None = None
    cautions: tuple[Caution, ...] = ()

    @property
    def label(self) -> str:
        """`L_N (k=32)`."""
        return label_of(self.law, self.group)


@dataclass(frozen=True)
class Needs:
    """What each law needs, the law first that describes its rows best. left_out: a sentence for each reason."""

    needs: tuple[Needed, ...]
    left_out: tuple[str, ...] = ()


def inverse(
    fits: Sequence[FitResult],
    response: str,
    target: float,
    given: Mapping[str, Any],
    laws: Sequence[str] | None = None,
) -> Needs:
    """The input at which each law reaches a target: the one input of the law that is not given.

    The interval is where the 95 % interval of the law holds the target, which for a law that falls with its input is
    the interval of the inverse itself.

    Parameters
    ----------
    fits : the fits of a study, live or read from fits.json.
    response, target : the column and the value that is asked for, as nmse = 0.1.
    given : the other inputs, and the group of a fit, as k of L_N.
    laws : names of the laws to ask; by default all.

    Raises
    ------
    FitError
        For a response or a column that no law has, a number that is not finite and positive, and where no law has just
        one input left.
    """
    known = Fits(fits, laws)
    known.check(given)
    responses = sorted({fit.response for fit in known.fits})
    if response not in responses:
        raise FitError(
            f"No law of these fits gives {response}; they give {', '.join(responses)}."
            f"{did_you_mean(response, responses)}"
        )
    if not (np.isfinite(target) and target > 0):
        raise FitError(f"{response} is {target:g}: give a finite number above 0.")
    needs: list[Needed] = []
    left: dict[str, list[str]] = {}
    silent = []
    for fit, extent in zip(known.fits, known.extents, strict=True):
        if fit.response != response or not known.matching(given, fit):
            continue
        unknown = [name for name in fit.inputs if name not in given]
        if fit.silent_because is not None:
            silent.append(fit.silent_because)
        elif len(unknown) == 1 and unknown[0] in extent.signed:
            left.setdefault(
                f"{unknown[0]} cannot be solved for, since its rows are not all positive", []
            ).append(label(fit))
        elif len(unknown) == 1:
            needs.append(_needed(fit, extent, target, given, unknown[0]))
        else:
            reason = (
                f"{' and '.join(unknown)} are open, give all but one"
                if unknown
                else "every input is given, leave one open"
            )
            left.setdefault(reason, []).append(label(fit))
    reasons = tuple(f"{', '.join(names)}: {reason}." for reason, names in left.items())
    reasons += tuple(dict.fromkeys(silent))
    if not needs:
        raise FitError(f"No law can be solved for {response}={target:g}. {' '.join(reasons)}".strip())
    return Needs(tuple(_with_spread(needs)), reasons)


def _with_spread(needs: Sequence[Needed]) -> list[Needed]:
    """The answers; those far beyond the rows with a caution that gives the spread between laws that are not refuted."""
    done = []
    for one in needs:
        if one.value is None or one.reach is None or not one.reach.far:
            done.append(one)
            continue
        values = {
            other.label: other.value
            for other in needs
            if other is one
            or (not other.refuted and (other.input, other.regime) == (one.input, one.regime))
            and {**other.group, **other.at} == {**one.group, **one.at}
            if other.value is not None
        }
        spread = "no other law of these rows says how far off it may be"
        if len(values) > 1:
            low, high = min(values, key=values.__getitem__), max(values, key=values.__getitem__)
            spread = f"laws that the rows do not refute say {values[low]:.4g} ({low}) to {values[high]:.4g} ({high})"
        text = f"{one.reach}: the answer holds only if {one.label} holds there; {spread}."
        done.append(replace(one, cautions=(Caution(Kind.EXTRAPOLATION, text, (one.input,)),)))
    return done


def _needed(fit: FitResult, extent: Extent, target: float, given: Mapping[str, Any], name: str) -> Needed:
    at = {other: float(given[other]) for other in fit.inputs if other != name}
    smallest, largest = extent.ends(name)
    grid = np.geomspace(smallest / FURTHEST, largest * FURTHEST, GRID)

    def band(x: Array) -> Array:
        """The law and both ends of its interval, as ln of them over the target, (3, m)."""
        with np.errstate(divide="ignore"):
            return np.log(np.stack(fit.predict({**at, name: x}, "law"))) - np.log(target)

    over = band(grid)
    # Where a function of the user has no value, as far from its rows, there is nothing to solve.
    defined = ~np.isnan(over[0])
    if not defined.any():
        raise FitError(f"{label(fit)} has no value at any {name} with these inputs.")
    grid, over = grid[defined], over[:, defined]
    if over[0, -1] > over[0, 0]:  # a law that rises: its upper end reaches a target first
        over, sides = -over[[0, 2, 1]], (0, 2, 1)
        sign = -1.0
    else:
        sides, sign = (0, 1, 2), 1.0

    def curve(side: int, x: float) -> float:
        return float(sign * band(np.array([x]))[side, 0])

    value, low, high = (_crossing(grid, over[row], partial(curve, side)) for row, side in enumerate(sides))
    refuted = None if fit.lack_of_fit is None or fit.lack_of_fit.noise is None else fit.lack_of_fit.refuted
    reach = None if value is None else extent.reach({**at, name: value})
    reason = None if value is not None else _reason(fit, target, at, name, over[0], grid)
    return Needed(
        fit.law,
        fit.group,
        fit.regime,
        fit.response,
        target,
        {other: integral(number) for other, number in at.items()},
        name,
        value,
        low,
        high,
        reach,
        refuted,
        reason,
    )


def _crossing(grid: Array, over: Array, at: Callable[[float], float]) -> float | None:
    """The first x at which a curve falls to 0, None if it is below 0 from the start or never falls there."""
    below = np.flatnonzero(over <= 0)
    if not len(below) or below[0] == 0:
        return None
    i = int(below[0])
    if not np.isfinite(over[i - 1 : i + 1]).all():
        return float(grid[i])
    return float(np.exp(brentq(lambda u: at(float(np.exp(u))), *np.log(grid[i - 1 : i + 1]), rtol=1e-10)))


def _reason(
    fit: FitResult, target: float, at: Mapping[str, float], name: str, over: Array, grid: Array
) -> str:
    """Why no value of the input gives the target."""
    asked = f"{fit.response}={target:g}"
    if over[0] <= 0:
        return f"{label(fit)} is at {asked} for any {name} above {grid[0]:.3g}."
    limit, low, high = (float(v[0]) for v in fit.predict({**at, name: ENDLESS}, "law"))
    if limit >= target:
        ends = f"[{low:.4g}, {high:.4g}]" if np.isfinite(high) else f"[{low:.4g}, ∞)"
        verdict = (
            "which holds the target: the rows do not say whether it can be reached"
            if low < target
            else "above the target"
        )
        return f"{asked} is below the floor of {label(fit)}, {limit:.4g} {ends}, {verdict}."
    return f"{label(fit)} reaches {asked} only beyond {name}={grid[-1]:.3g}, {FURTHEST:.0e} × the largest of its rows."
