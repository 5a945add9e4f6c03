"""How a fit was made beside its rows: with it, a result that was read back from fits.json predicts as the live one."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from fit.law.estimate import Estimate, estimate, improved, internal
from fit.law.intervals.bootstrap import Bootstrap
from fit.law.intervals.choose import Intervals, ProfileIntervals, intervals
from fit.law.intervals.misfit import carrying_misfit
from fit.law.intervals.shared import SharedError
from fit.law.json_values import finite, record
from fit.law.law import Array, Law
from fit.law.losses import Objective
from fit.law.rows import RUNS, Rows


class Fitted(NamedTuple):
    """An estimate, its intervals, those of the parameters by name, and the recipe that makes all of them again."""

    at: Estimate
    ends: Intervals
    bounds: Mapping[str, tuple[float, float]]
    recipe: "Recipe"


@dataclass(frozen=True)
class Recipe:
    """What a fit and its intervals depend on, beside the law and the rows.

    Parameters
    ----------
    objective, delta, tau : name, δ and τ of the objective; δ is None where it is infinite.
    method, draws, seed : of the intervals, as they were asked for.
    cluster : the number of the run of each row; None if every row is a run of its own.
    refits : internal parameters of the refits to resampled runs, where these cannot be drawn again from the fitted
        rows, as for a frontier; the parameters of a vanished floor are None.
    measurements : as how many independent measurements the rows of a law count that they refute, see `misfit`; None
        for a law that they do not refute.
    shared : ln of the factors on the losses at both 95 % ends of each error that the rows share, see `SharedError`.
    unit : what the refits resample.
    """

    objective: str
    delta: float | None
    method: str
    draws: int
    seed: int
    cluster: tuple[int, ...] | None = None
    refits: tuple[tuple[float | None, ...], ...] | None = None
    measurements: float | None = None
    tau: float = 0.5
    shared: tuple[tuple[float, ...], ...] | None = None
    unit: str = RUNS

    @classmethod
    def made(cls, minimised: Objective, rows: Rows, method: str, draws: int, seed: int) -> "Recipe":
        """The recipe of a fit that is about to be made."""
        cluster = None if rows.cluster is None else tuple(int(label) for label in rows.cluster)
        return cls(minimised.name, finite(minimised.delta), method, draws, seed, cluster, tau=minimised.tau)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Recipe":
        return record(cls, content)

    @property
    def minimised(self) -> Objective:
        """The objective."""
        return Objective(self.objective, np.inf if self.delta is None else self.delta, self.tau)

    def fitted(self, law: Law, rows: Rows, replicates: Rows | None = None) -> Fitted:
        """Fit the law to the rows and make its intervals, see `with_intervals`."""
        return self.with_intervals(estimate(law, rows, self.minimised), rows, replicates)

    def with_intervals(self, at: Estimate, rows: Rows, replicates: Rows | None = None) -> Fitted:
        """An estimate with its intervals; where profiling runs into a lower optimum, with that one, profiled anew.

        replicates: resampled rows to use instead of drawing them. Raises FitError as `intervals.choose.intervals` does.
        """
        fitted = self._with_usual_intervals(at, rows, replicates)
        if self.measurements is not None:
            fitted = self._widened(fitted)
        return fitted if self.shared is None else self._sharing(fitted, rows)

    def sharing(self, fitted: Fitted, rows: Rows, shifts: Array) -> Fitted:
        """The fit with intervals that hold an error that the rows share. shifts: (2 errors, rows), see `Recipe`."""
        shared = tuple(tuple(float(value) for value in shift) for shift in shifts)
        return replace(fitted.recipe, shared=shared)._sharing(fitted, rows)

    def _sharing(self, fitted: Fitted, rows: Rows) -> Fitted:
        shifts = [np.array(shift, dtype=float) for shift in self.shared or ()]
        ends = SharedError.of(fitted.ends, fitted.at, rows, shifts)
        return Fitted(fitted.at, ends, ends.parameters(), replace(fitted.recipe, shared=self.shared))

    def refuted(self, fitted: Fitted, measurements: float) -> Fitted:
        """The fit with intervals that carry the misfit of a law that the rows refute."""
        return replace(fitted.recipe, measurements=measurements)._widened(fitted)

    def _widened(self, fitted: Fitted) -> Fitted:
        ends = carrying_misfit(fitted.ends, fitted.at, self.measurements)
        bounds = fitted.bounds if ends is fitted.ends else ends.parameters()
        return Fitted(fitted.at, ends, bounds, replace(fitted.recipe, measurements=self.measurements))

    def _with_usual_intervals(self, at: Estimate, rows: Rows, replicates: Rows | None) -> Fitted:
        if self.refits is not None:
            known = Bootstrap.of_refits(at, self._theta(), self.unit, self.seed)
            return Fitted(at, known, known.parameters(), self)
        for _ in range(3):
            ends = intervals(at, rows, replicates, self.method, self.draws, self.seed)
            bounds = ends.parameters()
            better = ends.profile.better if isinstance(ends, ProfileIntervals) else None
            if better is None:
                break
            at = improved(at, better)
        if replicates is None or not isinstance(ends, Bootstrap):
            return Fitted(at, ends, bounds, self)
        draws = internal(at.basis, ends.solutions)
        refits = tuple(tuple(finite(value) for value in theta) for theta in draws)
        return Fitted(at, ends, bounds, replace(self, refits=refits, unit=replicates.unit))

    def _theta(self) -> Array:
        return np.array(
            [[np.nan if value is None else value for value in theta] for theta in self.refits or ()],
            dtype=float,
        )
