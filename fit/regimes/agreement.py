"""Checks the fits of a study against one another: E, α and g mean the same in every law of the same rows."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from fit.law.checks.disagreement import Disagreement, Quantity, apart
from fit.law.derived import EPSILON
from fit.law.json_values import finite
from fit.law.result import FitResult, Param
from fit.law.selection import ConvergedSelection

# E is the loss that no n, tokens or compute goes below; alpha the exponent with which L falls to it with n.
SYMBOLS = ("E", "alpha")
CROSS = "L_ND_cross"
# The symbols of tokens to convergence begin with this.
TOKENS = "T(n="


@dataclass(frozen=True)
class _Grouped:
    """A quantity and what the rows of its fit have in common, except k."""

    quantity: Quantity
    group: Mapping[str, Any]


def with_disagreements(fits: Sequence[FitResult]) -> list[FitResult]:
    """The fits, each with a caution for every other law of its rows whose E, α or g has a disjoint 95 % interval.

    E is compared between all laws of the loss, α between laws with a floor that take n_latents: the exponent of L(C) is
    another, and so is that of a law without a floor. A law over k, as L(N, K), is compared at each of its k. The
    exponent g of the tokens to convergence, which T_N is fitted to, follows from L_ND_cross, and is compared too. So
    are the tokens T(n) themselves at each n that both have, where the runs converged within the ε of L_ND_cross. All
    are among the disagreements; of T(n), the caution is about the n at which the laws are furthest apart.
    """
    quantities = [list(_quantities(fit)) for fit in fits]
    pairs: list[list[Disagreement]] = [[] for _ in fits]
    for i, j in combinations(range(len(fits)), 2):
        for one in quantities[i]:
            for other in quantities[j]:
                if same(one.quantity, other.quantity, one.group, other.group) and apart(
                    one.quantity, other.quantity
                ):
                    disagreement = Disagreement(one.quantity, other.quantity)
                    pairs[i].append(disagreement)
                    pairs[j].append(disagreement.turned)
    return [_told(_beside(fit, quantities), listed) for fit, listed in zip(fits, pairs, strict=True)]


def _told(fit: FitResult, listed: Sequence[Disagreement]) -> FitResult:
    """The fit with its disagreements and the cautions about them."""
    if not listed:
        return fit
    cautions = [each.caution for each in _worth_a_sentence(listed)]
    return replace(fit, disagreements=tuple(listed)).with_cautions(after=cautions)


def _worth_a_sentence(listed: Sequence[Disagreement]) -> list[Disagreement]:
    """All but those of T(n) between two laws, of which the one with the widest gap stands for all."""
    tokens: dict[str, list[Disagreement]] = {}
    for each in listed:
        if each.one.symbol.startswith(TOKENS):
            tokens.setdefault(each.other.law, []).append(each)
    others = [each for each in listed if not each.one.symbol.startswith(TOKENS)]
    return others + [max(each, key=_gap) for each in tokens.values()]


def _gap(each: Disagreement) -> float:
    """ln of the factor between the intervals of two positive numbers, which are apart."""
    below, above = sorted((each.one, each.other), key=lambda quantity: quantity.value)
    return math.log((above.low or above.value) / (below.high or below.value))


def _beside(fit: FitResult, quantities: Sequence[Sequence[_Grouped]]) -> FitResult:
    """L_ND_cross with a note that has its T(n) beside those of T_N, at the smallest, a middle and the largest n."""
    if fit.law != CROSS:
        return fit
    ours = {
        each.quantity.symbol: each for each in _quantities(fit) if each.quantity.symbol.startswith(TOKENS)
    }
    pairs = [
        (ours[other.quantity.symbol].quantity, other.quantity)
        for other in (one for of_fit in quantities for one in of_fit)
        if other.quantity.symbol in ours
        and same(
            ours[other.quantity.symbol].quantity,
            other.quantity,
            ours[other.quantity.symbol].group,
            other.group,
        )
    ]
    if not pairs:
        return fit
    chosen = [pairs[i] for i in sorted({0, len(pairs) // 2, len(pairs) - 1})]
    texts = [f"{one.symbol} {one.interval} and {other.interval}" for one, other in chosen]
    note = f"Tokens to convergence within {100 * EPSILON:g} %, by this law and by T_N: {'; '.join(texts)}."
    return replace(fit, extra=replace(fit.extra, note=note))


def same(one: Quantity, other: Quantity, group: Mapping[str, Any], other_group: Mapping[str, Any]) -> bool:
    """Whether two laws speak of the same thing: one symbol at one k, over rows that do not differ in what both know."""
    shared = group.keys() & other_group.keys()
    alike = all(group[name] == other_group[name] for name in shared)
    return alike and one.law != other.law and (one.symbol, one.k) == (other.symbol, other.k)


def _quantities(fit: FitResult) -> Iterator[_Grouped]:
    group = {name: value for name, value in fit.group.items() if name != "k"}
    tokens = {"T_N": fit.params, "L_ND_cross": fit.derived}.get(fit.law, {}).get("g")
    if tokens is not None and tokens.value is not None:
        yield _Grouped(_quantity(fit.law, "g", fit.group.get("k"), tokens), group)
    yield from (_Grouped(each, group) for each in _tokens(fit))
    if fit.response != "nmse":
        return
    if "k" not in fit.inputs:
        known = [(name, fit.group.get("k"), fit.params[name]) for name in SYMBOLS if name in fit.params]
    else:
        derived = [quantity for quantity in fit.derived.values() if "k" in quantity.at]
        known = [(each.name, float(each.at["k"]), each) for each in derived if each.name in SYMBOLS]
    floored = any(name == "E" for name, _, _ in known)
    for name, k, param in known:
        if param.value is not None and floored and (name == "E" or "n_latents" in fit.inputs):
            yield _Grouped(_quantity(fit.law, name, k, param), group)


def _tokens(fit: FitResult) -> Iterator[Quantity]:
    """T(n) at each n of a fit, of L_ND_cross and, where its runs converged within the same ε, of T_N."""
    k = fit.group.get("k")
    if fit.law == CROSS:
        known = [(each.at["n_latents"], each) for each in fit.derived.values() if each.name == "T"]
        yield from (
            _quantity(fit.law, f"{TOKENS}{n:,.0f})", k, each) for n, each in known if each.value is not None
        )
    elif fit.law == "T_N" and isinstance(fit.selection, ConvergedSelection) and fit.estimate is not None:
        if fit.selection.epsilon is None or not math.isclose(fit.selection.epsilon, EPSILON):
            return
        sizes = sorted({point.inputs["n_latents"] for point in fit.points})
        for n, value, low, high in zip(sizes, *fit.predict({"n_latents": sizes}, "law"), strict=True):
            symbol = f"{TOKENS}{n:,.0f})"
            yield Quantity(fit.law, symbol, k, float(value), finite(low) if low > 0 else None, finite(high))


def _quantity(law: str, symbol: str, k: float | None, param: Param) -> Quantity:
    assert param.value is not None
    return Quantity(law, symbol, k, param.value, param.low, param.high)
