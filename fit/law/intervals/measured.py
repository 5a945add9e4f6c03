"""What nominal 95 % intervals covered in simulated tables, so that a fit can say where its own cover less."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

from fit.law.losses import Objective

# From this share on an interval passes for one of 95 %.
LEAST = 0.92
# Tables with more rows than the largest design by this factor are no longer like it.
ALIKE = 3.0


@dataclass(frozen=True)
class Coverage:
    """Shares of simulated tables whose interval held the truth, the lowest and the highest of several quantities.

    rows, law: of the design. objective: log, linear, or huber with its δ. method: profile, bootstrap or delta. tables:
    how many were simulated. quantity: the one with the lowest share, of E, the exponents, and the law's L one and two
    octaves beyond the rows.
    """

    rows: int
    law: str
    objective: str
    method: str
    tables: int
    lowest: float
    highest: float
    quantity: str


# The latest rows of `python -m benchmarks.laws.coverage --record` in benchmarks/results/; a test compares them.
MEASURED: tuple[Coverage, ...] = (
    Coverage(16, "L_N", "huber:0.001", "bootstrap", 60, 0.9166666666666666, 0.95, "L at 2×"),
    Coverage(16, "L_N", "huber:0.001", "delta", 60, 0.8833333333333333, 0.9666666666666667, "L at 2×"),
    Coverage(16, "L_N", "log", "bootstrap", 60, 0.9, 0.9166666666666666, "E"),
    Coverage(16, "L_N", "log", "delta", 60, 0.9, 0.95, "alpha"),
    Coverage(16, "L_ND", "huber:0.0001", "bootstrap", 100, 0.94, 1.0, "alpha"),
    Coverage(16, "L_ND", "huber:0.0001", "delta", 100, 0.92, 0.96, "E"),
    Coverage(16, "L_ND", "huber:0.0001", "profile", 100, 0.95, 0.99, "E"),
    Coverage(16, "L_ND", "huber:0.001", "bootstrap", 50, 0.9, 0.98, "L at 2×"),
    Coverage(16, "L_ND", "huber:0.001", "delta", 50, 0.92, 0.98, "alpha"),
    Coverage(16, "L_ND", "huber:0.001", "profile", 100, 0.93, 0.98, "E"),
    Coverage(16, "L_ND", "linear", "bootstrap", 100, 0.97, 1.0, "alpha"),
    Coverage(16, "L_ND", "linear", "delta", 100, 0.96, 1.0, "alpha"),
    Coverage(16, "L_ND", "linear", "profile", 100, 0.92, 0.98, "alpha"),
    Coverage(16, "L_ND", "log", "bootstrap", 100, 0.94, 1.0, "L at 4×"),
    Coverage(16, "L_ND", "log", "delta", 100, 0.97, 1.0, "alpha"),
    Coverage(16, "L_ND", "log", "profile", 100, 0.95, 0.99, "E"),
    Coverage(28, "L_ND", "huber:0.0001", "bootstrap", 100, 0.95, 0.96, "E"),
    Coverage(28, "L_ND", "huber:0.0001", "delta", 100, 0.93, 0.96, "beta"),
    Coverage(28, "L_ND", "huber:0.0001", "profile", 100, 0.96, 0.96, "E"),
    Coverage(28, "L_ND", "huber:0.001", "bootstrap", 50, 0.92, 0.98, "beta"),
    Coverage(28, "L_ND", "huber:0.001", "delta", 50, 0.92, 0.94, "alpha"),
    Coverage(28, "L_ND", "huber:0.001", "profile", 100, 0.95, 0.96, "L at 4×"),
    Coverage(28, "L_ND", "linear", "bootstrap", 100, 0.96, 0.98, "alpha"),
    Coverage(28, "L_ND", "linear", "delta", 100, 0.96, 0.99, "alpha"),
    Coverage(28, "L_ND", "linear", "profile", 100, 0.93, 0.97, "alpha"),
    Coverage(28, "L_ND", "log", "bootstrap", 100, 0.92, 0.96, "L at 4×"),
    Coverage(28, "L_ND", "log", "delta", 100, 0.93, 0.96, "L at 2×"),
    Coverage(28, "L_ND", "log", "profile", 100, 0.93, 0.95, "alpha"),
    Coverage(45, "L_ND", "huber:0.0001", "bootstrap", 100, 0.9, 0.96, "L at 2×"),
    Coverage(45, "L_ND", "huber:0.0001", "delta", 100, 0.92, 0.98, "L at 2×"),
    Coverage(45, "L_ND", "huber:0.0001", "profile", 100, 0.94, 0.97, "L at 2×"),
    Coverage(45, "L_ND", "huber:0.001", "bootstrap", 50, 0.84, 0.94, "L at 2×"),
    Coverage(45, "L_ND", "huber:0.001", "delta", 50, 0.86, 0.96, "L at 2×"),
    Coverage(45, "L_ND", "huber:0.001", "profile", 100, 0.94, 0.96, "L at 2×"),
    Coverage(45, "L_ND", "linear", "bootstrap", 100, 0.94, 0.96, "alpha"),
    Coverage(45, "L_ND", "linear", "delta", 100, 0.93, 0.98, "alpha"),
    Coverage(45, "L_ND", "linear", "profile", 400, 0.925, 0.9525, "alpha"),
    Coverage(45, "L_ND", "log", "bootstrap", 100, 0.91, 0.97, "E"),
    Coverage(45, "L_ND", "log", "delta", 100, 0.92, 0.96, "L at 2×"),
    Coverage(45, "L_ND", "log", "profile", 400, 0.9225, 0.9525, "alpha"),
    Coverage(240, "L_ND", "huber:0.0001", "bootstrap", 100, 0.93, 0.97, "L at 2×"),
    Coverage(240, "L_ND", "huber:0.0001", "delta", 50, 0.94, 0.98, "alpha"),
    Coverage(240, "L_ND", "huber:0.0001", "profile", 100, 0.93, 0.96, "L at 2×"),
    Coverage(240, "L_ND", "huber:0.001", "bootstrap", 100, 0.91, 0.98, "L at 4×"),
    Coverage(240, "L_ND", "huber:0.001", "delta", 50, 0.94, 0.98, "L at 2×"),
    Coverage(240, "L_ND", "huber:0.001", "profile", 100, 0.92, 0.96, "L at 4×"),
    Coverage(240, "L_ND", "linear", "bootstrap", 100, 0.94, 0.99, "beta"),
    Coverage(240, "L_ND", "linear", "delta", 50, 0.92, 1.0, "beta"),
    Coverage(240, "L_ND", "linear", "profile", 100, 0.93, 0.99, "beta"),
    Coverage(240, "L_ND", "log", "bootstrap", 100, 0.94, 0.97, "L at 2×"),
    Coverage(240, "L_ND", "log", "delta", 50, 0.94, 0.98, "alpha"),
    Coverage(240, "L_ND", "log", "profile", 100, 0.96, 0.99, "beta"),
)

# The latest row of the design "16 runs of L(N), all unfinished": every loss is the L∞ of a tail.
UNFINISHED = Coverage(16, "L_N", "log", "profile", 40, 0.85, 0.975, "alpha")


def measured(
    rows: int, objective: Objective, method: str, table: Sequence[Coverage] = MEASURED
) -> Coverage | None:
    """The measured coverage nearest to a fit of independent rows: the lowest of the designs with the nearest numbers.

    None for objectives that were not simulated, and for far more rows than the largest design.

    Parameters
    ----------
    rows : the number of independent rows.
    objective : what the fit minimised.
    method : profile, bootstrap or delta.
    table : what was measured.
    """
    same = [
        each for each in table if each.method == method and each.objective == _simulated(objective, table)
    ]
    if not same or rows > ALIKE * max(each.rows for each in same):
        return None
    nearest = min((each.rows for each in same), key=lambda count: abs(log(count / rows)))
    return min((each for each in same if each.rows == nearest), key=lambda each: each.lowest)


def better(than: Coverage, table: Sequence[Coverage] = MEASURED) -> str | None:
    """The method that covered best on the same design under the same objective, if it covered from `LEAST` on."""
    same = [
        each
        for each in table
        if (each.rows, each.law, each.objective) == (than.rows, than.law, than.objective)
        and each.lowest >= max(LEAST, than.lowest)
    ]
    return max(same, key=lambda each: each.lowest).method if same else None


def _simulated(objective: Objective, table: Sequence[Coverage]) -> str | None:
    """The simulated objective that is nearest: for Huber's the one with the nearest δ."""
    if objective.name in ("log", "linear"):
        return objective.name
    names = {each.objective for each in table if each.objective.startswith("huber:")}
    if objective.name != "huber" or not names:
        return None
    return min(names, key=lambda name: abs(log(float(name.partition(":")[2]) / objective.delta)))
