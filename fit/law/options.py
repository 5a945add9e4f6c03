"""The options of a fit: how rows are chosen, laws are fitted and intervals are made."""

from dataclasses import dataclass
from typing import Any

from fit.law.caution import Caution, Kind

# What is fitted where no law is asked for; L_C then brings N_C, D_C and LR_C with it.
DEFAULT_LAWS = ("L_C", "L_N", "L_NK", "T_N", "LR_N")
KEEP, DROP, EXTRAPOLATE = UNCONVERGED = ("keep", "drop", "extrapolate")
FLOPS = ("sparse", "dense")
AUTO, PROFILE, BOOTSTRAP, DELTA = METHODS = ("auto", "profile", "bootstrap", "delta")
NONE = "none"  # ends what the fit would do by itself with --cluster and --group
FEWEST_DRAWS = 20  # with fewer, the 2.5th percentile is that of no draw in particular
# Resamplings of runs behind the intervals of L(C), each a frontier of its own, and of rows or clusters.
FRONTIERS, DRAWS = 200, 1000
UNFOLLOWED = (
    "Its intervals resample whole runs, not by {method}: points of one curve share its error, and a method that takes "
    "each for a measurement covers 33 to 46 % instead of 95."
)


@dataclass(frozen=True)
class FitOptions:
    """How rows are chosen and laws are fitted to them.

    unconverged: drop, keep or extrapolate. flops: convention of C, sparse or dense. min_flops: C below which the
    frontier is left out. objective: log, linear, huber or huber:δ. intervals: auto, profile, bootstrap or delta; those
    of L(C) and its optima always resample runs. draws: of any bootstrap, None for 1,000 of rows or clusters and 200 of
    frontiers; seed: of all resampling. weights: a column of a table with one row a measurement. cluster: the column
    whose values are runs, `none` for each row by itself, None to find out. group: the columns that split the rows into
    fits of their own, empty for none, None for the usual ones.
    """

    unconverged: str = DROP
    flops: str = "sparse"
    min_flops: float | None = None
    objective: str = "log"
    intervals: str = "auto"
    draws: int | None = None
    seed: int = 0
    weights: str | None = None
    cluster: str | None = None
    group: tuple[str, ...] | None = None

    @property
    def of_law(self) -> dict[str, Any]:
        """The keyword arguments of `fit_law`."""
        return {
            "objective": self.objective,
            "method": self.intervals,
            "draws": self.resamples,
            "seed": self.seed,
        }

    @property
    def resamples(self) -> int:
        """How many resamplings of rows or clusters are made."""
        return DRAWS if self.draws is None else self.draws

    @property
    def frontiers(self) -> int:
        """How many frontiers of resampled runs are made."""
        return FRONTIERS if self.draws is None else self.draws

    @property
    def unfollowed(self) -> list[Caution]:
        """A caution for L(C) where its intervals are not those asked for."""
        asked = self.intervals in ("profile", "delta")
        return [Caution(Kind.INTERVALS, UNFOLLOWED.format(method=self.intervals))] if asked else []
