"""Quantities that follow from the parameters of a law: exponents by k, the best use of compute, tokens to converge."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from fit.law.law import Array, Derived, Inputs, Law, combination

# The tolerance ε of the tokens to convergence: the default of the runs' own criterion.
EPSILON = 0.01
# With more values of N than this, T(N) is given at the smallest, the middle and the largest.
MOST_SIZES = 12


def by_k(law: Law, x: Inputs) -> Mapping[str, Derived]:
    """The exponent of N, −(β_n + γ ln K), and the floor, exp(ζ + η ln K), at each k."""
    quantities: list[Derived] = []
    for k in np.unique(x["k"]).tolist():
        at = {"k": int(k) if k.is_integer() else k}
        exponent = combination(law, {"beta_n": -1.0, "gamma": -np.log(k)})
        quantities.append(replace(exponent, name="alpha", at=at))
        if law.floor is not None:
            floor = combination(law, {"zeta": 1.0, "eta": np.log(k)}, log=True)
            quantities.append(replace(floor, name="E", at=at))
    return {f"{quantity.name}(k={quantity.at['k']:g})": quantity for quantity in quantities}


def allocation(law: Law, x: Inputs) -> Mapping[str, Derived]:
    """Under C = c·N·D the best N is G·(C/c)^a, with a = β/(α + β) and G = (αA/(βB))^(1/(α + β))."""
    i = {name: law.internal.index(name) for name in ("A", "alpha", "B", "beta")}

    def parts(theta: Array) -> tuple[Array, Array, Array, Array, Array]:
        alpha, beta = theta[:, i["alpha"]], theta[:, i["beta"]]
        return theta[:, i["A"]], alpha, theta[:, i["B"]], beta, alpha + beta

    def a(theta: Array) -> tuple[Array, Array]:
        _, alpha, _, beta, both = parts(theta)
        slope = np.zeros_like(theta)
        slope[:, i["alpha"]], slope[:, i["beta"]] = -beta / both**2, alpha / both**2
        return beta / both, slope

    def ln_G(theta: Array) -> tuple[Array, Array]:
        ln_A, alpha, ln_B, beta, both = parts(theta)
        with np.errstate(invalid="ignore", divide="ignore"):
            value = (np.log(alpha) - np.log(beta) + ln_A - ln_B) / both
        slope = np.zeros_like(theta)
        slope[:, i["A"]], slope[:, i["B"]] = 1 / both, -1 / both
        slope[:, i["alpha"]] = (1 / alpha - value) / both
        slope[:, i["beta"]] = (-1 / beta - value) / both
        return value, slope

    return {"a": Derived(a), "G": Derived(ln_G, log=True)}


def tokens_to_converge(law: Law, x: Inputs) -> Mapping[str, Derived]:
    """T(N) at ε = 1 % for the N of the rows, and its mean exponent g from the smallest to the largest N."""
    sizes = np.unique(x["n_latents"])
    if len(sizes) > MOST_SIZES:
        sizes = sizes[[0, len(sizes) // 2, -1]]
    ends = float(sizes[0]), float(sizes[-1])

    def g(theta: Array) -> tuple[Array, Array]:
        (low, low_slope), (high, high_slope) = (tokens_within(law, n).of(theta) for n in ends)
        span = np.log(ends[1] / ends[0])
        return (high - low) / span, (high_slope - low_slope) / span

    at = (tokens_within(law, n) for n in sizes.tolist())
    return {"g": Derived(g), **{f"T(n={d.at['n_latents']:,.0f})": d for d in at}}


def tokens_within(law: Law, n: float, epsilon: float = EPSILON) -> Derived:
    """T(N), the tokens at which L_ND_cross is within ε of its floor at N: B·N^ρ·T^−β = ε·(E + A·N^−α)."""
    names = ("E", "A", "alpha", "B", "rho", "beta")
    i = {name: law.internal.index(name) for name in names}
    u = np.log(n)

    def ln_T(theta: Array) -> tuple[Array, Array]:
        ln_E, ln_A, alpha, ln_B, rho, beta = (theta[:, i[name]] for name in names)
        slow = ln_A - alpha * u
        floor = np.logaddexp(ln_E, slow)
        share = np.exp(slow - floor)
        with np.errstate(divide="ignore", invalid="ignore"):
            value = (ln_B + rho * u - np.log(epsilon) - floor) / beta
            slope = np.zeros_like(theta)
            slope[:, i["E"]], slope[:, i["A"]] = -(1 - share) / beta, -share / beta
            slope[:, i["alpha"]] = share * u / beta
            slope[:, i["B"]], slope[:, i["rho"]], slope[:, i["beta"]] = 1 / beta, u / beta, -value / beta
        return value, slope

    return Derived(ln_T, log=True, name="T", at={"n_latents": int(n) if float(n).is_integer() else n})
