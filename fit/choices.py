"""What the user of a fit may choose."""

from dataclasses import dataclass
from typing import Any

DROP = "drop"
FLOPS = ("sparse", "dense")
# Resamplings of runs behind the intervals of L(C), each a frontier of its own, and of rows or clusters.
FRONTIERS, DRAWS = 200, 1000


@dataclass(frozen=True)
class Choices:
    """How rows are chosen and laws are fitted to them.

    unconverged: drop, keep or extrapolate. flops: convention of C, sparse or dense. min_flops: C below which the
    frontier is left out. objective: log, linear, huber or huber:δ. intervals: auto, profile, bootstrap or delta.
    draws: of a bootstrap over rows, seed: of all resampling, frontiers: resamplings of runs for L(C). weights, cluster:
    columns of a table with one row a measurement.
    """

    unconverged: str = DROP
    flops: str = "sparse"
    min_flops: float | None = None
    objective: str = "log"
    intervals: str = "auto"
    draws: int = DRAWS
    frontiers: int = FRONTIERS
    seed: int = 0
    weights: str | None = None
    cluster: str | None = None

    @property
    def how(self) -> dict[str, Any]:
        """The options of `fit_law`."""
        return {"objective": self.objective, "method": self.intervals, "draws": self.draws, "seed": self.seed}
