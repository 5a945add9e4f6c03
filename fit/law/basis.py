"""Laws in whitened parameters, in which C in FLOPs and n in thousands are equally well conditioned."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fit.law.errors import FitError
from fit.law.law import Array, Inputs, Law

# Columns that differ by less than this share count as one: if all n agree in 7 digits, their slope is rounding error.
FLAT = 1e-6


@dataclass(frozen=True)
class Terms:
    """The terms of a law at given rows.

    phi: φ' of each term, (b_j, rows). coordinates: each (rows,), needed by the terms with a bend.
    """

    law: Law
    phi: list[Array]
    coordinates: list[Array]

    @property
    def rows(self) -> int:
        return self.phi[0].shape[1]

    def take(self, rows: NDArray[np.intp]) -> "Terms":
        """The terms at some of the rows."""
        return Terms(self.law, [phi[:, rows] for phi in self.phi], [u[rows] for u in self.coordinates])

    def exponents(self, theta: Array) -> Array:
        """The exponents z, (R, J, rows), for parameters (R, p)."""
        z = np.empty((len(theta), len(self.phi), self.rows))
        for j, phi in enumerate(self.phi):
            np.matmul(theta[:, self.law.block(j)], phi, out=z[:, j])
            bend = self.law.terms[j].bend
            if bend:
                z[:, j] += bend.value(bend.at(self.coordinates), theta[:, self.law.bend_block(j)])
        return z

    def slopes(self, theta: Array, share: Array) -> Array:
        """Σ_j share_j ∂z_j/∂θ, (R, p, rows), for shares (R, J, rows)."""
        J = np.empty((len(theta), theta.shape[1], self.rows))
        for j, phi in enumerate(self.phi):
            np.multiply(share[:, j, None], phi, out=J[:, self.law.block(j)])
            bend = self.law.terms[j].bend
            if bend:
                block = self.law.bend_block(j)
                slopes = bend.slopes(bend.at(self.coordinates), theta[:, block])
                np.multiply(share[:, j, None], slopes, out=J[:, block])
        return J

    def curvature(self, theta: Array, weight: Array) -> Array:
        """Σ_ji weight_ji (∂z_ji ∂z_jiᵀ + ∂²z_ji), (R, p, p), for weights (R, J, rows)."""
        H = np.zeros((len(theta), theta.shape[1], theta.shape[1]))
        for j, products in enumerate(self._products):
            block, bent = self.law.block(j), self.law.bend_block(j)
            b = block.stop - block.start
            H[:, block, block] = (weight[:, j] @ products.T).reshape(len(theta), b, b)
            bend = self.law.terms[j].bend
            if bend:
                u, nu = bend.at(self.coordinates), theta[:, bent]
                slopes = bend.slopes(u, nu)
                weighted = slopes * weight[:, j, None]
                H[:, bent, bent] = np.matmul(weighted, slopes.transpose(0, 2, 1))
                H[:, bent, bent] += bend.curvature(u, nu, weight[:, j])
                H[:, bent, block] = weighted @ self.phi[j].T
                H[:, block, bent] = H[:, bent, block].transpose(0, 2, 1)
        return H

    @cached_property
    def _products(self) -> list[Array]:
        """φ_a φ_b of each term, (b·b, rows), with which the curvature of all problems is one matrix product."""
        return [(phi[:, None] * phi).reshape(-1, self.rows) for phi in self.phi]


@dataclass(frozen=True)
class Basis:
    """The linear map between a law's θ and whitened parameters θ', term by term: φ·θ = φ'·θ', θ = T⁻¹θ'.

    Over the rows that the basis was made from, the columns of φ' of a term are orthogonal with mean square 1. For any
    law, this includes centring the log inputs. The parameters of a bend are only scaled. inverse: T⁻¹, (p, p). terms:
    the law at those rows.
    """

    law: Law
    inverse: Array
    terms: Terms

    @classmethod
    def from_inputs(cls, law: Law, x: Inputs) -> "Basis":
        """The basis of inputs (rows,). Raises FitError when the rows vary too little to distinguish the columns."""
        coordinates = law.coordinates(x)
        columns = law.columns(coordinates)
        inverse = np.eye(len(law.internal))
        for j, phi in enumerate(columns):
            bend = law.terms[j].bend
            if bend:
                inverse[law.bend_block(j), law.bend_block(j)] = np.diag(bend.scale)
            if not len(phi):
                continue
            rows = phi.shape[1]
            R = np.linalg.qr(phi.T, mode="r") / np.sqrt(rows)
            scale = np.abs(np.diag(R))
            if len(R) < len(scale) or scale.min() < FLAT * scale.max():
                raise FitError(
                    f"{law.name} cannot be fitted: {' and '.join(law.inputs)} vary together or not at all in its "
                    f"{rows} rows. Add rows at other values."
                )
            inverse[law.block(j), law.block(j)] = np.linalg.inv(R)
        return cls(law, inverse, _whitened(law, inverse, columns, coordinates))

    def at(self, x: Inputs) -> Terms:
        """The law's terms at inputs (rows,)."""
        coordinates = self.law.coordinates(x)
        return _whitened(self.law, self.inverse, self.law.columns(coordinates), coordinates)

    def form(self, param: str) -> tuple[int, Array]:
        """The index of the term of an internal parameter, and the row a, (p,), for which the parameter is a·θ'."""
        return self.law.term_of(param), self.inverse[self.law.internal.index(param)]

    def project(self, j: int, z: Array) -> Array:
        """The linear θ' of term j, (..., b), whose φ·θ at the basis's rows is closest to the values z, (..., rows)."""
        return z @ self.terms.phi[j].T / self.terms.rows


def _whitened(law: Law, inverse: Array, columns: list[Array], coordinates: list[Array]) -> Terms:
    phi = [inverse[law.block(j), law.block(j)].T @ column for j, column in enumerate(columns)]
    return Terms(law, phi, coordinates)
