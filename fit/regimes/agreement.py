"""Checks the fits of a study against one another: E, α and g mean the same in every law of the same rows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from fit.law.checks.disagreement import Disagreement, Quantity, apart
from fit.law.result import FitResult, Param

# E is the loss that no n, tokens or compute goes below; alpha the exponent with which L falls to it with n.
SYMBOLS = ("E", "alpha")


@dataclass(frozen=True)
class _Grouped:
    """A quantity and what the rows of its fit have in common, except k."""

    quantity: Quantity
    group: Mapping[str, Any]


def with_disagreements(fits: Sequence[FitResult]) -> list[FitResult]:
    """The fits, each with a caution for every other law of its rows whose E, α or g has a disjoint 95 % interval.

    E is compared between all laws of the loss, α between laws with a floor that take n_latents: the exponent of L(C) is
    another, and so is that of a law without a floor. A law over k, as L(N, K), is compared at each of its k. The
    exponent g of the tokens to convergence, which T_N is fitted to, follows from L_ND_cross, and is compared too.
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
    return [
        replace(fit, disagreements=tuple(listed)).with_cautions(after=[each.caution for each in listed])
        if listed
        else fit
        for fit, listed in zip(fits, pairs, strict=True)
    ]


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


def _quantity(law: str, symbol: str, k: float | None, param: Param) -> Quantity:
    assert param.value is not None
    return Quantity(law, symbol, k, param.value, param.low, param.high)
