"""The compute-optimal point of each n: the middle of the range of C where this n is on the frontier."""

from dataclasses import dataclass

import numpy as np

from fit.compute.frontier import Frontier
from fit.compute.slices import Curve, best_of


@dataclass(frozen=True)
class ComputeOptimal:
    """ln C, ln L and ln D (NaN if unknown) at the geometric middle of the range of C where n is on the frontier.

    curve: the lowest loss of n over lr, batch and seed, as a function of C. rates: the same for each known lr.
    """

    n: float
    log_c: float
    log_l: float
    log_d: float
    curve: Curve
    rates: dict[float, Curve]


def compute_optimal_points(front: Frontier) -> dict[float, ComputeOptimal]:
    """The compute-optimal point of every n that is on the frontier inside the grid of n, by rising n.

    Sizes that never reach the frontier are left out, and so are the smallest and the largest size if they bound the
    grid.
    """
    pool = front.candidates
    n, lr = pool.column("n_latents"), pool.column("lr")
    if n is None:
        return {}
    curves = best_of(pool, n, np.ones(len(n), dtype=bool))
    held, log_c = front.points["n_latents"].to_numpy(dtype=float), np.log(front.points["flops"].to_numpy())
    points = {}
    for size in np.unique(held):
        middle = float(log_c[held == size].mean())
        curve = curves[float(size)]
        rates = {} if lr is None else best_of(pool, lr, n == size)
        points[float(size)] = ComputeOptimal(
            float(size), middle, curve.loss(middle), curve.tokens(middle), curve, rates
        )
    return points
