"""A law over given rows in whitened parameters, so that C in FLOPs and n in thousands are equally well conditioned."""

from dataclasses import dataclass

import numpy as np

from fit.errors import FitError
from fit.laws import Array, Inputs, Law

# Columns that differ by less than this share are one column: with n alike to 7 digits only rounding tells slopes apart.
FLAT = 1e-6


@dataclass(frozen=True)
class Basis:
    """The linear map between a law's θ and whitened parameters θ', term by term: φ·θ = φ'·θ', θ = T⁻¹θ'.

    Over the rows that it was made from, the columns of φ' of a term are orthogonal with mean square 1: this centres the
    log inputs and more, for any law. inverse: T⁻¹, (p, p). columns: φ' of those rows, (J, rows, p).
    """

    law: Law
    inverse: Array
    columns: Array

    @classmethod
    def of(cls, law: Law, x: Inputs) -> "Basis":
        """The basis of inputs (rows,). FitError when the rows do not vary enough to tell the columns apart."""
        phi = law.design(x)
        rows, p = phi.shape[1:]
        inverse = np.zeros((p, p))
        for j in range(len(law.terms)):
            block = law.block(j)
            R = np.linalg.qr(phi[j][:, block], mode="r") / np.sqrt(rows)
            scale = np.abs(np.diag(R))
            if len(R) < len(scale) or scale.min() < FLAT * scale.max():
                raise FitError(
                    f"{law.name} cannot be fitted: {' and '.join(law.inputs)} vary together or not at all in its "
                    f"{rows} rows. Add rows at other values."
                )
            inverse[block, block] = np.linalg.inv(R)
        return cls(law, inverse, phi @ inverse)

    def rows(self, x: Inputs) -> Array:
        """φ' at inputs (..., rows): (..., J, rows, p)."""
        return self.law.design(x) @ self.inverse

    def form(self, param: str) -> tuple[int, Array]:
        """The term of an internal parameter and the row a, (p,), for which the parameter is a·θ'."""
        return self.law.term_of(param), self.inverse[self.law.internal.index(param)]

    def project(self, z: Array) -> Array:
        """θ', (..., p), whose terms come closest to the values z, (..., J, rows), of φ·θ over the basis's rows."""
        return np.einsum("...jn,jnp->...p", z, self.columns) / self.columns.shape[1]
