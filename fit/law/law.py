"""What a scaling law is: a sum of exponentials of linear forms in its parameters, ln y(x) = logsumexp_j z_j(x)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Inputs = Mapping[str, Array]


class RowSource(StrEnum):
    """Which rows of a study's tables a law takes.

    FRONTIER: the lowest loss at each compute, over all curves. OPTIMUM: the points N*(C), D*(C) or lr*(C) on it.
    CONVERGED: the best converged run of each cell. TOKENS: the tokens that those runs took to converge. BUDGETS: every
    evaluation, taken as a run at its budget. LR: the best lr of each n at convergence. LR_BUDGETS: that of each n at
    each budget. NONE: no table has such rows.
    """

    FRONTIER = "frontier"
    OPTIMUM = "compute optimum"
    CONVERGED = "converged"
    TOKENS = "tokens to convergence"
    BUDGETS = "budgets"
    LR = "lr optimum"
    LR_BUDGETS = "lr optimum of budgets"
    NONE = "none"


class Shape(Protocol):
    """What a term adds to its exponent beyond the linear form: h(u; ν), with its derivatives by ν.

    params: names of ν. scale: the unit of each ν in the solver.
    """

    @property
    def params(self) -> tuple[str, ...]: ...

    @property
    def scale(self) -> Array: ...

    def at(self, coordinates: list[Array]) -> Array:
        """u, with rows last, from the law's coordinates, (rows,) each."""
        ...

    def value(self, u: Array, nu: Array) -> Array:
        """h, (R, rows), for parameters (R, q)."""
        ...

    def slopes(self, u: Array, nu: Array) -> Array:
        """∂h/∂ν, (R, q, rows)."""
        ...

    def curvature(self, u: Array, nu: Array, weight: Array) -> Array:
        """Σ_i weight_i ∂²h_i, (R, q, q), for weights (R, rows)."""
        ...

    def paired(self, u: Array, nu: Array) -> tuple[Array, Array, Array]:
        """h, (R,), ∂h, (R, q), and ∂²h, (R, q, q), of parameters (R, q) at one row each."""
        ...


@dataclass(frozen=True)
class Bend:
    """A change of slope, as in the smoothly broken power law of Caballero et al. 2023, eq. 1, with one break.

    h(u; Δ, u₀, q) = −Δ w ln(1 + exp(v)) with v = (u − u₀)/w, w = exp(q) and u = ln x multiplies y by
    (1 + (x/x₀)^(1/w))^(−Δ w).

    Below x₀ the slope of ln y over u is unchanged, above x₀ it is lower by Δ; w is the width of the change in ln x.
    params: names of Δ, x₀ and w; x₀ and w are positive, so their internal values u₀ and q are logarithms. input: index
    of the input in which the slope changes.
    """

    params: tuple[str, str, str]
    input: int = 0

    @property
    def scale(self) -> Array:
        return np.ones(3)

    def at(self, coordinates: list[Array]) -> Array:
        """u, (rows,)."""
        return coordinates[self.input]

    def cells(self, u: Array) -> Array:
        """The values of (Δ, u₀, q) in the grid of starting points, (cells, 3), for coordinates (rows,)."""
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

    def curvature(self, u: Array, nu: Array, weight: Array) -> Array:
        """Σ_i weight_i ∂²h_i, (R, 3, 3), for weights (R, rows)."""
        return np.einsum("rabi,ri->rab", self._second(u, nu), weight)

    def paired(self, u: Array, nu: Array) -> tuple[Array, Array, Array]:
        """h, (R,), ∂h, (R, 3), and ∂²h, (R, 3, 3), of parameters (R, 3) at one coordinate each, (R,)."""
        row = np.arange(len(nu))
        return (
            self.value(u, nu)[row, row],
            self.slopes(u, nu)[row, :, row],
            self._second(u, nu)[row, :, :, row],
        )

    def _second(self, u: Array, nu: Array) -> Array:
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
        # w stays between 1e-4 and e¹⁵. No data can tell a narrower bend from a corner or a wider one from a straight
        # line. Outside these bounds h does not depend on q.
        w = np.exp(np.clip(nu[:, 2, None], -9.0, 15.0))
        v = (u - place) / w
        return v, 1 / (1 + np.exp(-np.clip(v, -700, 700))), w, delta


@dataclass(frozen=True)
class Term:
    """One exponential exp(z) with z = φ(x)·θ, plus h(x; ν) if it has a bend.

    params: names of its internal parameters θ, the intercept first. columns: maps the log inputs, in the order of the
    law's inputs, to the columns of φ. slopes: for each parameter after the intercept, its values in the grid of
    starting points, for centred log inputs. bend: a change of slope, see `Bend`, or a function, see
    `smooth.Smooth`.
    """

    params: tuple[str, ...]
    columns: Callable[..., tuple[Array | float, ...]]
    slopes: tuple[Array, ...] = ()
    bend: Shape | None = None

    @property
    def internal(self) -> tuple[str, ...]:
        """Names of θ, then of ν."""
        return self.params + (self.bend.params if self.bend else ())


@dataclass(frozen=True)
class Law:
    """A scaling law y(x) > 0. No parameter belongs to two terms.

    inputs: the columns x. params: public names in the order in which they are reported; internally they are ordered by
    term. logs: parameters whose internal value is their logarithm, so that they stay positive; all others are free.
    floor: index of the term that may be absent, as an irreducible loss of 0. distinct: how many different values of
    each input are needed to identify the law. response: the column y. as_is: inputs that are used without taking the
    logarithm, such as an indicator of 0 or 1. alternatives: names of the laws that it is compared with. rows: which
    rows of a study it is fitted to; by default the frontier for a law of flops alone, budgets for one of tokens or of
    flops and others, otherwise converged runs. companions: names of the laws that are fitted along with it when no law
    is asked for. derived: given the law and the inputs of the rows, further meaningful quantities by label, such as the
    exponent at each k.
    """

    name: str
    formula: str
    latex: str
    inputs: tuple[str, ...]
    params: tuple[str, ...]
    terms: tuple[Term, ...]
    logs: frozenset[str] = frozenset()
    floor: int | None = None
    distinct: Mapping[str, int] = field(default_factory=dict)
    response: str = "nmse"
    as_is: frozenset[str] = frozenset()
    alternatives: tuple[str, ...] = ()
    rows: RowSource | None = None
    companions: tuple[str, ...] = ()
    derived: Callable[["Law", Inputs], Mapping[str, "Derived"]] | None = None

    def __post_init__(self) -> None:
        if sorted(self.internal) != sorted(self.params):
            raise ValueError(
                f"{self.name} reports {', '.join(self.params)}; its terms have {', '.join(self.internal)}: "
                "give every parameter once in both."
            )
        if self.rows is None:
            object.__setattr__(self, "rows", self._usual_rows())

    def _usual_rows(self) -> RowSource:
        if self.inputs == ("flops",):
            return RowSource.FRONTIER
        return RowSource.BUDGETS if {"tokens", "flops"} & set(self.inputs) else RowSource.CONVERGED

    @property
    def internal(self) -> tuple[str, ...]:
        """Names of θ in its own order."""
        return tuple(name for term in self.terms for name in term.internal)

    @property
    def bounds(self) -> dict[str, tuple[float, float]]:
        """The open interval in which each public parameter can lie; the coefficient of the floor may also be 0."""
        return {name: (0.0 if name in self.logs else -np.inf, np.inf) for name in self.params}

    def block(self, term: int) -> slice:
        """The positions in θ of the linear parameters of a term."""
        start = self._starts[term]
        return slice(start, start + len(self.terms[term].params))

    @cached_property
    def _starts(self) -> list[int]:
        return np.cumsum([0, *(len(term.internal) for term in self.terms)]).tolist()

    def bend_block(self, term: int) -> slice:
        """The positions in θ of the parameters of a term's bend; an empty slice if it has none."""
        start = self.block(term).stop
        return slice(start, start + len(self.terms[term].internal) - len(self.terms[term].params))

    def term_of(self, param: str) -> int:
        """Index of the term that a parameter belongs to."""
        return next(j for j, term in enumerate(self.terms) if param in term.internal)

    def coordinates(self, x: Inputs) -> list[Array]:
        """The inputs that the terms take, (rows,) each: logarithms, except for the inputs in `as_is`."""
        values = [np.asarray(x[name], dtype=float) for name in self.inputs]
        return [v if n in self.as_is else np.log(v) for n, v in zip(self.inputs, values, strict=True)]

    def columns(self, coordinates: list[Array]) -> list[Array]:
        """φ of each term, (b_j, rows), at coordinates (rows,)."""
        rows = np.broadcast_shapes(*(c.shape for c in coordinates))
        return [
            np.stack([np.broadcast_to(c, rows) for c in term.columns(*coordinates)]).astype(float)
            if term.params
            else np.empty((0, *rows))
            for term in self.terms
        ]

    def values(self, theta: Array) -> dict[str, Array]:
        """Public parameters, each (...), for internal ones, (..., p)."""
        inner = {name: np.asarray(theta)[..., i] for i, name in enumerate(self.internal)}
        with np.errstate(over="ignore"):
            return {name: np.exp(inner[name]) if name in self.logs else inner[name] for name in self.params}

    def theta(self, params: Mapping[str, float]) -> Array:
        """Internal parameters, (p,), for public ones; a coefficient of 0 becomes −inf."""
        with np.errstate(divide="ignore"):
            return np.array([np.log(params[n]) if n in self.logs else params[n] for n in self.internal])

    def loss(self, params: Mapping[str, float], x: Inputs) -> Array:
        """y at inputs of shape (rows,) for public parameters; E = 0 means no irreducible loss."""
        theta, coordinates = self.theta(params), self.coordinates(x)
        z = [theta[self.block(j)] @ phi for j, phi in enumerate(self.columns(coordinates))]
        for j, term in enumerate(self.terms):
            if term.bend:
                nu = theta[None, self.bend_block(j)] / term.bend.scale
                z[j] = z[j] + term.bend.value(term.bend.at(coordinates), nu)[0]
        return np.sum([np.exp(part) for part in z], axis=0)


@dataclass(frozen=True)
class Derived:
    """A quantity that follows from a law's parameters.

    of: maps internal θ, (R, p), to the values of the quantity, (R,), and their gradients, (R, p). log: the value is a
    logarithm and is reported as its exponential. term: index of the term without which it is undefined. name: by
    default its label in `Law.derived`. at: the inputs at which it is evaluated, for example {"k": 32}.
    """

    of: Callable[[Array], tuple[Array, Array]]
    log: bool = False
    term: int | None = None
    name: str = ""
    at: Mapping[str, float] = field(default_factory=dict)


def combination(law: Law, weights: Mapping[str, float], log: bool = False) -> Derived:
    """The quantity Σ weights[name]·θ[name] over internal parameters of one term."""
    row = np.zeros(len(law.internal))
    for name, weight in weights.items():
        row[law.internal.index(name)] = weight
    return Derived(
        lambda theta: (theta @ row, np.tile(row, (len(theta), 1))), log, law.term_of(next(iter(weights)))
    )
