"""The minimum of a loss that was measured at a few values, as the vertex of a convex parabola that brackets it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

# The parabola is fitted to the values of n up to two octaves from the lowest loss: over this range a sum of two powers
# is close to a parabola. For L = 0.1 + n^−0.25 + D^−0.4 and n over 6 octaves, N*(C) ∝ C^0.615 is estimated as C^0.613;
# parabolas over all n give C^0.653, and parabolas in L instead of ln L give C^0.567. Noise is relative too, hence ln L.
REACH = 2 * np.log(2)
# The loss over lr is steeper on one side. On the sweeps of tests/fit/sweep_tables.py, with lr in factors of 2, a
# parabola over two octaves on each side puts the compute-optimal lr 7 % too high, one over one octave 2 % too high.
LR_REACH = np.log(2)


@dataclass(frozen=True)
class Vertex:
    """The lowest point of ln L = y + curvature/2·(ln v − x)² for a quantity v, fitted to `points` values of v.

    square: the sum of the squared residuals of ln L.
    """

    x: float
    y: float
    curvature: float
    points: int
    square: float = 0.0


def lowest(losses: Mapping[float, float], name: str, reach: float = REACH) -> Vertex | str:
    """The vertex of a parabola through ln L over ln v, or a phrase that says why there is none.

    losses: v to ln L. name: what v is. reach: how far from the lowest loss points are used, in ln v. At least three
    values are needed, the parabola must be convex, and its vertex must lie strictly between the smallest and the
    largest v that was used.
    """
    if len(losses) < 3:
        return f"a parabola needs 3 {name}, there {'is' if len(losses) == 1 else 'are'} {len(losses)}"
    v = np.sort(np.array(list(losses)))
    x, y = np.log(v), np.array([losses[value] for value in v])
    near = _about(x, int(np.argmin(y)), reach)
    x, y, v = x[near], y[near], v[near]
    middle = x.mean()
    a, b, c = np.polyfit(x - middle, y, 2)
    if a <= 1e-12:
        return f"not convex over {name} from {short_number(v[0])} to {short_number(v[-1])}"
    at = middle - b / (2 * a)
    if not x[0] < at < x[-1]:
        edge = (
            f"below the smallest, {short_number(v[0])}"
            if at <= x[0]
            else f"beyond the largest, {short_number(v[-1])}"
        )
        return f"vertex at {name}={short_number(float(np.exp(np.clip(at, -700, 700))))} {edge}"
    square = float(((y - np.polyval((a, b, c), x - middle)) ** 2).sum())
    return Vertex(float(at), float(c - b**2 / (4 * a)), float(2 * a), len(x), square)


def _about(x: np.ndarray, at: int, reach: float) -> np.ndarray:
    """Flags of the points within reach of the one at index `at`, always with its neighbours and the nearest three."""
    distance = np.abs(x - x[at])
    near = distance <= max(reach, np.sort(distance)[2]) * (1 + 1e-9)
    near[max(at - 1, 0) : at + 2] = True
    return near


def short_number(value: float) -> str:
    """4,096 for an n and 0.00123 for a learning rate."""
    return f"{value:,.0f}" if 100 <= value < 1e15 else f"{value:.3g}"
