"""95 % intervals of a law's parameters and predictions, by the method that fits the rows."""

from typing import Protocol

import numpy as np

from fit.bootstrap import RunBootstrap
from fit.estimate import Estimate
from fit.laws import Array, Inputs
from fit.profile import Profile, parameters, predictions
from fit.rows import Rows


class Intervals(Protocol):
    """How sure a fit is. Ends are ±inf, of E and A also 0, where a side is unbounded."""

    @property
    def method(self) -> str: ...

    def parameters(self) -> dict[str, tuple[float, float]]: ...

    def law(self, x: Inputs) -> tuple[Array, Array]: ...

    def measurement(self, x: Inputs) -> tuple[Array, Array]: ...


class ProfileIntervals:
    """Profile likelihood with the F threshold: right for few independent rows.

    In simulations of 16 runs it covers 95 % where case bootstrap and delta method cover 50 to 72 %.
    """

    method = "profile"

    def __init__(self, at: Estimate) -> None:
        self.at = at
        self.profile = Profile(at)

    def parameters(self) -> dict[str, tuple[float, float]]:
        """Public name to its interval, without an end where the rows allow the parameter's term to be absent.

        Without its term a slope means nothing, nor does the coefficient that belongs to it; a constant floor may still
        have an upper end.
        """
        law, optional = self.at.law, self.at.without <= self.at.ssr + self.profile.delta
        named = {
            j: law.terms[j].params
            for j in range(len(law.terms))
            if optional[j] and len(law.terms[j].params) > 1
        }
        undefined = {name for params in named.values() for name in params}
        names = tuple(name for name in law.params if name not in undefined)
        low, high = self.profile.ends(parameters(self.at, names))
        ends = {name: (0.0 if name in law.logs else -np.inf, np.inf) for name in law.params}
        with np.errstate(over="ignore"):
            for name, *pair in zip(names, low, high, strict=True):
                lo, hi = np.exp(pair) if name in law.logs else pair
                ends[name] = float(lo), float(hi)
        return ends

    def law(self, x: Inputs) -> tuple[Array, Array]:
        """Interval of the law's L at inputs (m,)."""
        low, high = self.profile.ends(predictions(self.at.basis.rows(x)))
        return np.exp(low), np.exp(high)

    def measurement(self, x: Inputs) -> tuple[Array, Array]:
        """Interval of a new measurement of L at inputs (m,), its own noise included."""
        low, high = self.profile.ends(predictions(self.at.basis.rows(x)), measurement=True)
        return np.exp(low), np.exp(high)


def intervals(at: Estimate, replicates: Rows | None) -> Intervals:
    """Bootstrap over runs where resampled rows are given, profile likelihood otherwise."""
    return ProfileIntervals(at) if replicates is None else RunBootstrap(at, replicates)
