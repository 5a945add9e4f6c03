"""The lower convex hull of all curves: the optimistic frontier, straight in log-log between the points it rests on."""

import numpy as np

from fit.data.curves import Candidates, falling


def hull(of: Candidates, present: np.ndarray) -> np.ndarray:
    """Indices of the vertices, by rising C, of the hull below the points `present`, (m,) flags, in (ln C, ln L).

    ln (E + A·C^−α) is convex in ln C, so a law may pass through every vertex. Between two vertices the hull is below
    the curves: a mixture of two runs that nobody trained. Its ends are vertices whatever the curves are.
    """
    kept: list[int] = []
    # Only points below all of less compute can be vertices of the falling part (Andrew 1979, the lower chain).
    for i in falling(of, present):
        while len(kept) >= 2 and not _below(of, kept[-2], kept[-1], i):
            kept.pop()
        kept.append(int(i))
    return np.array(kept, dtype=int)


def _below(of: Candidates, left: int, middle: int, right: int) -> bool:
    """Whether the middle point is below the chord from left to right."""
    x, y = of.log_c, of.log_l
    slope = (y[right] - y[left]) / (x[right] - x[left]) if x[right] > x[left] else np.inf
    return bool(y[middle] < y[left] + slope * (x[middle] - x[left]))
