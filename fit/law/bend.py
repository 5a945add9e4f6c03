"""A break in the slope of a power law: the smoothly broken power law of Caballero et al. 2023, eq. 1, one break."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Bend:
    """h(u; Δ, u₀, q) = −Δ w ln(1 + exp(v)), v = (u − u₀)/w, w = exp(q): the factor (1 + (x/x₀)^(1/w))^(−Δ w), u = ln x.

    Below x₀ the slope of ln y over u is unchanged, above it lies Δ lower; w is the width of the change in ln x.
    params: names of Δ, x₀ and w; x₀ and w are positive, so their internal values u₀ and q are logarithms. input: index
    of the input that bends.
    """

    params: tuple[str, str, str]
    input: int = 0

    def cells(self, u: Array) -> Array:
        """Values of (Δ, u₀, q) that seeds try, (cells, 3), for coordinates (rows,)."""
        low, high = u.min(), u.max()
        places = low + (high - low) * np.array([0.2, 0.35, 0.5, 0.65, 0.8])
        deltas = np.array([-0.6, -0.2, -0.07, 0.07, 0.2, 0.6])
        widths = np.log(max(high - low, 1e-9) * np.array([0.02, 0.1]))
        return np.array(np.meshgrid(deltas, places, widths)).reshape(3, -1).T

    def value(self, u: Array, nu: Array) -> Array:
        """h, (R, rows), at coordinates (rows,) for parameters (R, 3)."""
        v, _, w, delta = self._parts(u, nu)
        return -delta * w * np.logaddexp(0.0, v)

    def slopes(self, u: Array, nu: Array) -> Array:
        """∂h/∂(Δ, u₀, q), (R, 3, rows)."""
        v, s, w, delta = self._parts(u, nu)
        sp = np.logaddexp(0.0, v)
        return np.stack([-w * sp, delta * s, -delta * w * (sp - v * s)], axis=1)

    def curvature(self, u: Array, nu: Array) -> Array:
        """∂²h, (R, 3, 3, rows)."""
        v, s, w, delta = self._parts(u, nu)
        rest = np.logaddexp(0.0, v) - v * s
        bell = s * (1 - s)
        H = np.zeros((len(nu), 3, 3, len(u)))
        H[:, 0, 1] = H[:, 1, 0] = s
        H[:, 0, 2] = H[:, 2, 0] = -w * rest
        H[:, 1, 1] = -delta * bell / w
        H[:, 1, 2] = H[:, 2, 1] = -delta * bell * v
        H[:, 2, 2] = -delta * w * (rest + v**2 * bell)
        return H

    def _parts(self, u: Array, nu: Array) -> tuple[Array, Array, Array, Array]:
        """v and its logistic function, (R, rows), w and Δ, (R, 1)."""
        delta, place = nu[:, 0, None], nu[:, 1, None]
        # Between 1e-4 and e¹⁵: narrower is a corner to any data, wider a straight line; beyond them h is flat in q.
        w = np.exp(np.clip(nu[:, 2, None], -9.0, 15.0))
        v = (u - place) / w
        return v, 1 / (1 + np.exp(-np.clip(v, -700, 700))), w, delta
