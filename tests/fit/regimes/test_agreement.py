"""The same symbol in two laws of the same rows: disjoint intervals are a caution of both fits."""

import json
from dataclasses import replace

import numpy as np
import pytest

from fit.law.caution import Kind
from fit.law.fit import fit_law
from fit.law.laws import named
from fit.law.result import FitResult, Param
from fit.law.selection import ConvergedSelection
from fit.regimes.agreement import with_disagreements
from tests.fit.laws_under_test import INPUTS, TRUTH


def fitted(law, group, **params):
    """A fit of exact rows, with the intervals of some parameters or derived quantities replaced."""
    result = fit_law(
        law, INPUTS[law], named(law).loss(TRUTH[law], INPUTS[law]), hold_out=False, compare=False
    )
    derived = dict(result.derived)
    known = dict(result.params)
    for name, (low, high) in params.items():
        if name in known:
            known[name] = Param((low + high) / 2, low, high, "profile")
        else:
            label = next(each for each in derived if derived[each].name == name.partition("_")[0])
            derived[label] = replace(derived[label], value=(low + high) / 2, low=low, high=high)
    return replace(result, params=known, derived=derived, group=group)


def test_disjoint_intervals_are_a_caution_of_both_fits_with_both_intervals():
    one = fitted("L_N", {"k": 16}, E=(0.075, 0.091), alpha=(0.34, 0.374))
    other = fitted("L_ND", {"k": 16}, E=(0.137, 0.181), alpha=(0.36, 0.72))
    results = with_disagreements([one, other])
    for result, law in zip(results, ("L_N", "L_ND"), strict=True):
        (pair,) = result.disagreements
        assert pair.one.law == law and pair.one.symbol == "E" and pair.one.k == 16
        caution = result.cautions[-1]
        assert caution.kind is Kind.DISAGREEMENT and caution.of == ("L_N", "L_ND")
        assert "L_N, 0.083 [0.075, 0.091]" in caution.text and "L_ND, 0.159 [0.137, 0.181]" in caution.text
        assert FitResult.from_dict(json.loads(json.dumps(result.to_dict(), allow_nan=False))) == result
    assert results[0].cautions[-1] == results[1].cautions[-1]


def test_the_exponent_of_n_is_compared_and_that_of_compute_is_another():
    l_n = fitted("L_N", {"k": 32}, alpha=(0.3, 0.4))
    l_nd = fitted("L_ND", {"k": 32}, alpha=(0.5, 0.6))
    l_c = fitted("L_C", {"k": 32}, alpha=(0.1, 0.2))
    results = with_disagreements([l_n, l_nd, l_c])
    assert {
        (p.one.law, p.other.law) for fit in results for p in fit.disagreements if p.one.symbol == "alpha"
    } == {
        ("L_N", "L_ND"),
        ("L_ND", "L_N"),
    }


@pytest.mark.parametrize(("high", "pairs"), [(0.5, 1), (0.7, 0)])
def test_the_tokens_to_convergence_of_the_interaction_law_are_compared_with_those_measured(high, pairs):
    t_n = fitted("T_N", {"k": 32}, g=(0.6, 0.8))
    cross = fitted("L_ND_cross", {"k": 32}, g=(0.3, high))
    results = with_disagreements(
        [t_n, cross, fitted("L_ND", {"k": 32}), fitted("L_ND_cross", {"k": 64}, g=(0.1, 0.2))]
    )
    for fit, other in zip(results, ("L_ND_cross", "T_N"), strict=False):
        of_g = [pair for pair in fit.disagreements if pair.one.symbol == "g"]
        assert [pair.other.law for pair in of_g] == [other] * pairs
    assert not any(pair.one.symbol == "g" for fit in results[2:] for pair in fit.disagreements)


@pytest.mark.parametrize(("factor", "epsilon", "pairs"), [(1.0, 0.01, 0), (3.0, 0.01, 3), (3.0, 0.02, None)])
def test_the_tokens_themselves_are_compared_where_the_tolerance_is_the_same(factor, epsilon, pairs):
    """T_N from the tokens that L_ND_cross gives, times a factor; the note has both, the caution the widest gap."""
    cross = fitted("L_ND_cross", {"k": 32})
    wide = {
        name: replace(each, low=each.value / 1.5, high=each.value * 1.5) if each.name == "T" else each
        for name, each in cross.derived.items()
    }
    cross = replace(cross, derived=wide)
    T = [each for each in cross.derived.values() if each.name == "T"]
    n = [each.at["n_latents"] for each in T]
    wrong = np.where(np.arange(len(n)) < len(n) - 3, 1.0, factor) * np.linspace(0.99, 1.01, len(n))
    t_n = fit_law("T_N", n, [each.value * one for each, one in zip(T, wrong, strict=True)], hold_out=False)
    known = {point.inputs["n_latents"]: point.response for point in t_n.points}
    assert len(known) == len(n)
    t_n = replace(t_n, group={"k": 32}, selection=ConvergedSelection(len(n), "all rows", epsilon=epsilon))
    other, ours = with_disagreements([t_n, cross])
    of_T = [pair for pair in ours.disagreements if pair.one.symbol.startswith("T(n=")]
    if pairs is None:
        assert not of_T and ours.extra.note is None
        return
    assert ours.extra.note.startswith("Tokens to convergence within 1 %, by this law and by T_N: T(n=")
    assert bool(of_T) is bool(pairs)
    assert len([c for c in ours.cautions if c.text.startswith("T(n=")]) == bool(pairs)
    assert len(of_T) == len([pair for pair in other.disagreements if pair.one.symbol.startswith("T(n=")])
    assert FitResult.from_dict(json.loads(json.dumps(ours.to_dict(), allow_nan=False))) == ours


def test_a_law_over_k_is_compared_at_each_k():
    l_nk = fitted("L_NK", {})
    at = next(quantity for quantity in l_nk.derived.values() if quantity.name == "E")
    k = at.at["k"]
    here = fitted("L_N", {"k": k}, E=(10.0, 11.0))
    elsewhere = fitted("L_N", {"k": -1}, E=(10.0, 11.0))
    results = with_disagreements([l_nk, here, elsewhere])
    assert [len([p for p in fit.disagreements if p.one.symbol == "E"]) for fit in results] == [1, 1, 0]
    assert results[1].disagreements[0].one.k == pytest.approx(k)


def test_other_data_overlap_and_open_ends_are_no_disagreement():
    one = fitted("L_N", {"k": 16, "data": "a"}, E=(0.1, 0.2), alpha=(0.1, 0.2))
    assert not with_disagreements([one, fitted("L_ND", {"k": 16, "data": "b"}, E=(0.3, 0.4))])[
        0
    ].disagreements
    assert not with_disagreements([one, fitted("L_ND", {"k": 16}, E=(0.15, 0.4), alpha=(0.2, np.inf))])[
        0
    ].disagreements


def test_results_without_a_disagreement_are_the_same_objects():
    one = fitted("L_N", {"k": 16})
    assert with_disagreements([one])[0] is one
