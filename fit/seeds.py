"""Starting points by variable projection: a grid over the slopes, the coefficients by non-negative least squares."""

import itertools

import numpy as np
from scipy.optimize import nnls

from fit.basis import Basis
from fit.laws import Array, Inputs, Law

# What NNLS sets to 0 starts at this share of the lowest loss instead, since the engine works with its logarithm.
SMALLEST = 1e-3


def _centred(law: Law, x: Inputs) -> Array:
    logs = {name: np.log(np.asarray(x[name], dtype=float)) for name in law.inputs}
    return law.design({name: np.exp(ln - ln.mean()) for name, ln in logs.items()})


def seeds(basis: Basis, x: Inputs, loss: Array, weights: Array, count: int = 16) -> Array:
    """The `count` best cells of the grid as whitened parameters, (count, p).

    Given its slopes a law is linear in the coefficients c_j ≥ 0 of its terms; each cell solves
    min Σ w_i (Σ_j c_j exp(slopes_j·φ_ji)/L_i − 1)², the relative error, with centred log inputs.
    """
    law, phi, root = basis.law, _centred(basis.law, x), np.sqrt(weights)
    shapes = []
    for j, term in enumerate(law.terms):
        slopes = phi[j][:, law.block(j)][:, 1:]
        shapes.append([slopes @ np.array(cell, dtype=float) for cell in itertools.product(*term.slopes)])
    cells: list[tuple[float, int, Array, tuple[Array, ...]]] = []
    for shape in itertools.product(*shapes):
        columns = np.stack([np.exp(s) * root / loss for s in shape], axis=1)
        coefficients, residual = nnls(columns, root)
        cells.append((residual, len(cells), coefficients, shape))
    best = sorted(cells, key=lambda cell: cell[:2])[:count]
    smallest = SMALLEST * loss.min()
    terms = [
        [np.log(max(c, smallest)) + s for c, s in zip(cs, shape, strict=True)] for _, _, cs, shape in best
    ]
    return basis.project(np.array(terms))
