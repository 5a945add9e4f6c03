"""How far a point lies beyond the rows that a law was fitted to."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog

from fit.law.law import Array
from fit.law.result import FitResult

# From this factor beyond the rows on, a prediction carries a caution: the interval assumes that the law itself holds.
FAR = 4.0
# Numbers of rows and of points may have come back from a logarithm, so they are compared with this tolerance.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Reach:
    """A point against the rows of a law, on logarithmic scales.

    An input that has 0 or negative values is measured in units of its range: 2 is one range beyond its end.

    Parameters
    ----------
    factor : how far beyond the rows the point is in the input where it is furthest; 1 inside the rows.
    input : that input, None inside the rows.
    edge : the largest or the smallest value of that input among the rows; None where every input is within its range
        and only their combination is new, as many tokens at an n that has rows with few.
    above : whether the point is beyond the largest value, not the smallest.
    in_ranges : whether the factor counts ranges of the input, from its end.
    """

    factor: float = 1.0
    input: str | None = None
    edge: float | None = None
    above: bool = True
    in_ranges: bool = False

    @property
    def far(self) -> bool:
        """Whether a caution is due."""
        return self.factor >= FAR * (1 - ROUNDING)

    def __str__(self) -> str:
        """`32 × beyond the largest n_latents (524,288)`, or `inside the rows`."""
        if self.input is None:
            return "inside the rows"
        factor = f"{self.factor:,.3g} ×"
        if self.edge is None:
            return f"{factor} in {self.input} from the nearest mix of rows"
        if self.in_ranges:
            side = "above the largest" if self.above else "below the smallest"
            return f"{self.factor - 1:,.3g} × its range {side} {self.input} ({self.edge:.3g})"
        edge = f"{self.edge:,.0f}" if 100 <= self.edge < 1e7 else f"{self.edge:.3g}"
        return f"{factor} beyond the {'largest' if self.above else 'smallest'} {self.input} ({edge})"


class Extent:
    """The rows of a fit, against which points are measured."""

    def __init__(self, fit: FitResult) -> None:
        self.inputs = fit.inputs
        values = [[point.inputs[name] for name in fit.inputs] for point in fit.points]
        self.rows: Array = np.unique(np.asarray(values, dtype=float), axis=0)
        # Inputs of a function of the user that have 0 or negative values.
        self.signed = frozenset(name for name in fit.inputs if self.ends(name)[0] <= 0)

    def ends(self, name: str) -> tuple[float, float]:
        """The smallest and the largest value of an input."""
        values = self.rows[:, self.inputs.index(name)]
        return float(values.min()), float(values.max())

    def reach(self, at: Mapping[str, float]) -> Reach:
        """How far a point is beyond the rows."""
        furthest = Reach()
        for name in self.inputs:
            low, high = self.ends(name)
            if name in self.signed:
                width = (high - low) or 1.0
                factors = 1 + (at[name] - high) / width, 1 + (low - at[name]) / width
            else:
                factors = at[name] / high, low / at[name]
            for factor, edge, above in zip(factors, (high, low), (True, False), strict=True):
                if factor > furthest.factor * (1 + ROUNDING):
                    furthest = Reach(factor, name, edge, above, name in self.signed)
        if self.signed:
            return furthest
        return self._from_hull(at) if furthest.input is None and len(self.inputs) > 1 else furthest

    def _from_hull(self, at: Mapping[str, float]) -> Reach:
        """The distance to the convex hull of the rows, for a point whose inputs are each within their range.

        It is the least t for which a weighted mean of the rows' logarithms is within t of the point's in every input.
        """
        gap = np.log([at[name] for name in self.inputs]) - np.log(self.rows)
        if (np.abs(gap).max(axis=1) < ROUNDING).any():
            return Reach()
        rows = len(gap)
        solved = linprog(
            np.append(np.zeros(rows), 1.0),
            A_ub=np.hstack([np.vstack([gap.T, -gap.T]), -np.ones((2 * gap.shape[1], 1))]),
            b_ub=np.zeros(2 * gap.shape[1]),
            A_eq=np.append(np.ones(rows), 0.0)[None],
            b_eq=[1.0],
        )
        if not solved.success or solved.x[-1] < 1e-6:
            return Reach()
        furthest = int(np.argmax(np.abs(solved.x[:-1] @ gap)))
        return Reach(float(np.exp(solved.x[-1])), self.inputs[furthest])
