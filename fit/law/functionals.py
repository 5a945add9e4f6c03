"""Quantities h(θ) that have intervals: parameters, predictions, and quantities derived from parameters."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fit.law.basis import Basis, Terms
from fit.law.law import Array, Derived

Flags = NDArray[np.bool_]
Index = NDArray[np.intp]


class Quantities(Protocol):
    """m quantities of whitened parameters θ'."""

    def __len__(self) -> int: ...

    def evaluate(self, theta: Array, alive: Flags, which: Index) -> tuple[Array, Array, Array]:
        """Quantity which[r] at θ'[r]: value, (R,), gradient, (R, p), and Hessian, (R, p, p).

        alive: (R, J). The value is −inf or NaN where it depends on a term that vanished.
        """
        ...


class Parameters:
    """Internal parameters by name, each a linear form in θ'."""

    def __init__(self, basis: Basis, names: Sequence[str]) -> None:
        forms = [basis.form(name) for name in names]
        p = len(basis.law.internal)
        self.term = np.array([j for j, _ in forms], dtype=np.intp)
        self.rows = np.array([row for _, row in forms]).reshape(-1, p)
        # The logarithm of a vanished term's coefficient is −inf; its slopes are undefined.
        first = [basis.law.terms[j].internal[0] for j, _ in forms]
        self.absent = np.array(
            [-np.inf if name == lead else np.nan for name, lead in zip(names, first, strict=True)]
        )

    def __len__(self) -> int:
        return len(self.rows)

    def evaluate(self, theta: Array, alive: Flags, which: Index) -> tuple[Array, Array, Array]:
        R, p = theta.shape
        slope = self.rows[which]
        there = alive[np.arange(R), self.term[which]]
        value = np.where(there, (slope * theta).sum(axis=1), self.absent[which])
        return value, slope, np.zeros((R, p, p))


class Predictions:
    """Predictions ln y at given rows."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms

    def __len__(self) -> int:
        return self.terms.rows

    def evaluate(self, theta: Array, alive: Flags, which: Index) -> tuple[Array, Array, Array]:
        at = self.terms.take(which)
        law, (R, p) = at.law, theta.shape
        z, J = np.empty((R, len(at.phi))), np.zeros((R, len(at.phi), p))
        curved = np.zeros((R, p, p, len(at.phi)))
        for j, phi in enumerate(at.phi):
            block, bent, bend = law.block(j), law.bend_block(j), law.terms[j].bend
            z[:, j] = (theta[:, block] * phi.T).sum(axis=1)
            J[:, j, block] = phi.T
            if bend:
                value, slopes, second = bend.paired(bend.at(at.coordinates), theta[:, bent])
                z[:, j] += value
                J[:, j, bent], curved[:, bent, bent, j] = slopes, second
        z = np.where(alive, z, -np.inf)
        top = z.max(axis=1)
        share = np.exp(z - top[:, None])
        total = share.sum(axis=1)
        share /= total[:, None]
        slope = np.einsum("rj,rjp->rp", share, J)
        H = np.einsum("rj,rjp,rjq->rpq", share, J, J) - slope[:, :, None] * slope[:, None]
        return top + np.log(total), slope, H + np.einsum("rj,rpqj->rpq", share, curved)


class DerivedQuantities:
    """The derived quantities of a law, see `Derived`."""

    def __init__(self, basis: Basis, derived: Sequence[Derived]) -> None:
        self.basis, self.derived = basis, list(derived)

    def __len__(self) -> int:
        return len(self.derived)

    def evaluate(self, theta: Array, alive: Flags, which: Index) -> tuple[Array, Array, Array]:
        R, p = theta.shape
        inner = theta @ self.basis.inverse.T
        value, slope = np.empty(R), np.empty((R, p))
        for m in np.unique(which):
            asked, derived = which == m, self.derived[m]
            value[asked], slope[asked] = derived.of(inner[asked])
            if derived.term is not None:
                absent = -np.inf if derived.log else np.nan
                value[asked] = np.where(alive[asked, derived.term], value[asked], absent)
        # The second derivative is left out, as in Gauss–Newton: these quantities enter a fit only in one row, the pull.
        return value, slope @ self.basis.inverse, np.zeros((R, p, p))
