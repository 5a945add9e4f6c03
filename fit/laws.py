"""The laws, each a sum of exponentials of linear forms in its parameters: ln L(x) = logsumexp_j φ_j(x)·θ_j."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fit.errors import FitError

Array = NDArray[np.float64]
Inputs = Mapping[str, Array]

# Exponents found for SAEs lie between .05 and .4; the grid is wide so that foreign tables find a seed too.
EXPONENTS = np.geomspace(0.02, 3.0, 24)


@dataclass(frozen=True)
class Term:
    """One exponential exp(φ(x)·θ).

    params: names of its internal parameters, the intercept first. columns: log inputs, in the order of the law's
    inputs, to the columns of φ. slopes: for each parameter after the intercept, the values that seeds try when the log
    inputs are centred.
    """

    params: tuple[str, ...]
    columns: Callable[..., tuple[Array | float, ...]]
    slopes: tuple[Array, ...] = ()


@dataclass(frozen=True)
class Law:
    """A scaling law. No parameter belongs to two terms.

    inputs: the columns x. params: public names in the order in which they are reported; internally they are ordered by
    term. logs: parameters whose internal value is their logarithm. floor: index of the term that may be absent, as an
    irreducible loss of 0. distinct: how many different values of an input identify the law at all.
    """

    name: str
    formula: str
    inputs: tuple[str, ...]
    params: tuple[str, ...]
    terms: tuple[Term, ...]
    logs: frozenset[str] = frozenset()
    floor: int | None = None
    distinct: Mapping[str, int] = field(default_factory=dict)

    @property
    def internal(self) -> tuple[str, ...]:
        """Names of θ in its own order."""
        return tuple(name for term in self.terms for name in term.params)

    def block(self, term: int) -> slice:
        """Where the parameters of a term lie in θ."""
        start = sum(len(t.params) for t in self.terms[:term])
        return slice(start, start + len(self.terms[term].params))

    def term_of(self, param: str) -> int:
        """Index of the term that a parameter belongs to."""
        return next(j for j, term in enumerate(self.terms) if param in term.params)

    def design(self, x: Inputs) -> Array:
        """φ, (..., J, rows, p), from inputs of shape (..., rows), all positive."""
        logs = [np.log(np.asarray(x[name], dtype=float)) for name in self.inputs]
        phi = np.zeros((*logs[0].shape[:-1], len(self.terms), logs[0].shape[-1], len(self.internal)))
        for j, term in enumerate(self.terms):
            for p, column in enumerate(term.columns(*logs), start=self.block(j).start):
                phi[..., j, :, p] = column
        return phi

    def values(self, theta: Array) -> dict[str, Array]:
        """Public parameters, each (...), of internal ones, (..., p)."""
        of = {name: np.asarray(theta)[..., i] for i, name in enumerate(self.internal)}
        return {name: np.exp(of[name]) if name in self.logs else of[name] for name in self.params}

    def loss(self, params: Mapping[str, float], x: Inputs) -> Array:
        """L at inputs of shape (rows,) for public parameters; E = 0 is no irreducible loss."""
        with np.errstate(divide="ignore"):
            theta = np.array([np.log(params[n]) if n in self.logs else params[n] for n in self.internal])
        phi = self.design(x)
        blocks = [self.block(j) for j in range(len(self.terms))]
        return np.sum([np.exp(phi[j][:, b] @ theta[b]) for j, b in enumerate(blocks)], axis=0)


def _power(name: str, symbol: str, column: str) -> Law:
    return Law(
        name=name,
        formula=f"L({symbol}) = E + A·{symbol}^−α",
        inputs=(column,),
        params=("E", "A", "alpha"),
        terms=(Term(("A", "alpha"), lambda x: (1.0, -x), (EXPONENTS,)), Term(("E",), lambda x: (1.0,))),
        logs=frozenset({"E", "A"}),
        floor=1,
        distinct={column: 3},
    )


L_N = _power("L_N", "N", "n_latents")
L_C = _power("L_C", "C", "flops")

# Gao et al. 2024, §3.1.4. Its slopes on n and k are those at the centre of the table once the inputs are centred.
L_NK = Law(
    name="L_NK",
    formula="L(N, K) = exp(α + β_k ln K + β_n ln N + γ ln K ln N) + exp(ζ + η ln K)",
    inputs=("n_latents", "k"),
    params=("alpha", "beta_k", "beta_n", "gamma", "zeta", "eta"),
    terms=(
        Term(
            ("alpha", "beta_k", "beta_n", "gamma"),
            lambda n, k: (1.0, k, n, k * n),
            (np.array([-0.6, -0.3, -0.1, 0.1]), -np.geomspace(0.03, 1.0, 8), np.array([-0.06, -0.02, 0.02])),
        ),
        Term(("zeta", "eta"), lambda n, k: (1.0, k), (np.array([-0.5, -0.15, 0.0]),)),
    ),
    floor=1,
    distinct={"n_latents": 3, "k": 2},
)

LAWS: dict[str, Law] = {law.name: law for law in (L_C, L_N, L_NK)}


def named(law: str | Law) -> Law:
    """The law of that name; FitError with the names there are."""
    if isinstance(law, Law):
        return law
    if law not in LAWS:
        raise FitError(f"There is no law {law!r}: choose among {', '.join(LAWS)}.")
    return LAWS[law]
