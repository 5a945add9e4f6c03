"""A fitted parameter, or a quantity derived from parameters, with its 95 % interval."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from fit.law.estimate import Estimate
from fit.law.functionals import Numbers
from fit.law.intervals.choose import Intervals
from fit.law.json_values import finite
from fit.law.law import Derived


@dataclass(frozen=True)
class Param:
    """A parameter and its 95 % interval: an end is None where that side is unbounded, value None if it is undefined.

    se: the delta method's standard error, of the logarithm for a positive parameter such as E or A; None if unknown.
    """

    value: float | None
    low: float | None
    high: float | None
    method: str
    se: float | None = None


@dataclass(frozen=True)
class DerivedQuantity(Param):
    """A quantity that follows from the parameters: its name, and the inputs that it is taken at, as {"k": 32}."""

    name: str = ""
    at: Mapping[str, float] = field(default_factory=dict)


def derived_quantities(
    at: Estimate, how: Intervals, quantities: Mapping[str, Derived]
) -> dict[str, DerivedQuantity]:
    """Each quantity that follows from the parameters, with its interval."""
    if not quantities:
        return {}
    R, listed = len(quantities), list(quantities.values())
    theta, alive = np.repeat(at.solution.theta, R, axis=0), np.repeat(at.solution.alive, R, axis=0)
    value, _, _ = Numbers(at.basis, listed).evaluate(theta, alive, np.arange(R))
    low, high = how.numbers(listed)
    with np.errstate(over="ignore"):
        ends = [
            tuple(float(np.exp(v)) if d.log else float(v) for v in part)
            for d, *part in zip(listed, value, low, high, strict=True)
        ]
    return {
        label: DerivedQuantity(
            finite(v), finite(lo), finite(hi), how.method, None, quantity.name or label, dict(quantity.at)
        )
        for (label, quantity), (v, lo, hi) in zip(quantities.items(), ends, strict=True)
    }
