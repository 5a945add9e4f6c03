"""Widens the intervals of a fit by an error that its rows share, such as that of every extrapolated L∞ of a study."""

from collections.abc import Iterable, Sequence

import numpy as np

from fit.law.estimate import Estimate, estimate
from fit.law.functionals import DerivedQuantities
from fit.law.intervals.choose import Intervals
from fit.law.law import Array, Derived, Inputs
from fit.law.rows import Rows


class SharedError:
    """The intervals of a fit, with each end moved out by what an error does to the quantity that all rows share.

    The rows are fitted again with their losses at the two 95 % ends of that error. A quantity q with the interval q − a
    to q + b, and the value q + δ at one of the ends, gets q − √(a² + δ₋²) to q + √(b² + δ₊²), with δ₋ and δ₊ the
    largest of the δ on that side: the two errors are independent, as are several shared errors, whose squares are
    summed. For a positive quantity, q is its logarithm.

    The residuals of a fit cannot show such an error: when all L∞ of a study are 1 % too low, so is the law, and its
    interval by itself is as narrow as before.
    """

    def __init__(self, alone: Intervals, at: Estimate, moved: Sequence[Estimate]) -> None:
        self.alone, self.at, self.moved = alone, at, tuple(moved)
        self.method = alone.method

    @classmethod
    def of(cls, alone: Intervals, at: Estimate, rows: Rows, shifts: Iterable[Array]) -> "SharedError":
        """shifts: ln of the factors on the losses, (rows,), at the lower and the upper end of each shared error."""
        objective = at.problem.objective
        moved = [
            estimate(at.law, Rows(rows.x, rows.loss * np.exp(s), rows.weights), objective) for s in shifts
        ]
        return cls(alone, at, moved)

    def parameters(self) -> dict[str, tuple[float, float]]:
        """Interval of each public parameter by name."""
        law, ends = self.at.law, self.alone.parameters()
        here, *there = (law.values(at.theta()) for at in (self.at, *self.moved))
        wider = {}
        for name in law.params:
            values = [float(np.squeeze(values[name])) for values in (here, *there)]
            low, high = (np.atleast_1d(end) for end in ends[name])
            log = name in law.logs
            lower, upper = self._wider(np.array(values)[:, None], low, high, log)
            wider[name] = float(lower[0]), float(upper[0])
        return wider

    def law(self, x: Inputs) -> tuple[Array, Array]:
        """Interval of the law's L at inputs (m,)."""
        return self._wider(self._predicted(x), *self.alone.law(x), log=True)

    def measurement(self, x: Inputs) -> tuple[Array, Array]:
        """Interval of a new measurement of L at inputs (m,)."""
        return self._wider(self._predicted(x), *self.alone.measurement(x), log=True)

    def numbers(self, derived: Sequence[Derived]) -> tuple[Array, Array]:
        """Interval of derived quantities, (m,) each; of the logarithm for those with `log`."""
        which = np.arange(len(derived))
        values = []
        for at in (self.at, *self.moved):
            theta = np.repeat(at.solution.theta, len(derived), axis=0)
            alive = np.repeat(at.solution.alive, len(derived), axis=0)
            values.append(DerivedQuantities(at.basis, derived).evaluate(theta, alive, which)[0])
        return self._wider(np.array(values), *self.alone.numbers(derived), log=False)

    def _predicted(self, x: Inputs) -> Array:
        return np.exp([at.log_loss(x) for at in (self.at, *self.moved)])

    @staticmethod
    def _wider(values: Array, low: Array, high: Array, log: bool) -> tuple[Array, Array]:
        """values: of the fit, then of those that were moved, (1 + 2 errors, m). Without a value there is no end."""
        to, back = (np.log, np.exp) if log else (np.asarray, np.asarray)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            value, low, high = to(values), to(low), to(high)
            off = value[1:] - value[0]
            below, above = (
                np.linalg.norm(
                    np.maximum(side * off, 0).reshape(len(off) // 2, 2, off.shape[1]).max(axis=1), axis=0
                )
                for side in (-1, 1)
            )
            lower, upper = (
                value[0] - np.hypot(value[0] - low, below),
                value[0] + np.hypot(high - value[0], above),
            )
        # Where the fit has no value, as the slope of a floor that vanished, its own interval has no end either.
        lower, upper = np.where(np.isnan(lower), low, lower), np.where(np.isnan(upper), high, upper)
        lost = np.isnan(value[1:]).any(axis=0)
        lower, upper = np.where(lost, -np.inf, lower), np.where(lost, np.inf, upper)
        return np.asarray(back(lower)), np.asarray(back(upper))
