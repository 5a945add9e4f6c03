"""How much a loss counts that is known with an error of its own, such as an extrapolated L∞."""

from typing import Any

import numpy as np

from fit.estimate import estimate
from fit.law import Array, Law
from fit.losses import Objective
from fit.rows import make_rows

ROUNDS = 5
# An extrapolated loss never counts for less than this share of a measured one, so that a row is never quite absent.
LEAST = 1e-3


def precision(law: Law, x: Any, loss: Any, relative_error: Any, objective: Objective) -> Array:
    """Weights (rows,): s²/(s² + s_i²), s the scatter of ln L about the law, s_i the error of row i's ln L.

    Both errors add in squares, so a row of error s counts half a measurement. s is that of the fit with these weights,
    found by a few rounds from equal ones.
    """
    own = np.square(np.asarray(relative_error, dtype=float))
    weights = np.ones(len(own))
    for _ in range(ROUNDS):
        at = estimate(law, make_rows(law, x, loss, weights), objective)
        r = at.residuals()
        # What remains of the squared residuals after the rows' own errors; rows without one tell it best.
        scatter = max(
            float((weights * (r**2 - own)).sum() / weights.sum()),
            float((weights * r**2).sum() / weights.sum()) / 10,
        )
        weights = (
            np.maximum(scatter / (scatter + own), LEAST) if scatter > 0 else np.where(own > 0, LEAST, 1.0)
        )
    return weights
