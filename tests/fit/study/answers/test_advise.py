"""How to spend a budget, against closed forms: laws that are known exactly give the plan that they imply."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.laws import backtest
from fit.law.errors import FitError
from fit.law.fit import fit_law
from fit.law.laws import named
from fit.law.points import PointRun
from fit.study import advise, budget
from fit.study.answers.advise import COMPUTE, CONVERGED, furthest
from fit.study.answers.budget import Facts, per_token

D_MODEL = 64.0
N = 2.0 ** np.arange(8, 16)
TRUTH = {
    "L_N": {"E": 0.1, "A": 2.0, "alpha": 0.3},
    "T_N": {"T0": 3e5, "g": 0.6},
    "LR_N": {"A": 0.004, "alpha": 0.5},
    "L_C": {"E": 0.1, "A": 40.0, "alpha": 0.2},
    "N_C": {"A": 1e-3, "a": 0.52},
    "D_C": {"A": 0.5, "a": 0.48},
    "LR_C": {"A": 0.5, "alpha": 0.2},
    "L_ND": {"E": 0.1, "A": 2.0, "alpha": 0.3, "B": 60.0, "beta": 0.35},
}


def made(law, x, noise=0.0, k=32):
    """The fit of a law to rows that its truth gives, with a small error so that there are intervals."""
    x = {name: np.asarray(values, dtype=float) for name, values in x.items()}
    loss = named(law).loss(TRUTH[law], x)
    loss = loss * np.exp(noise * np.random.default_rng(0).standard_normal(len(loss)))
    fit = fit_law(law, x, loss, hold_out=False, compare=False, method="delta")
    regime = "compute" if "C" in law else None if law == "L_ND" else "converged"
    return replace(fit, regime=regime, group={"k": k}, flops="sparse" if "C" in law else None)


@pytest.fixture(scope="module")
def fits():
    C = np.geomspace(1e12, 1e16, 9)
    n, tokens = (v.ravel() for v in np.meshgrid(N, np.geomspace(1e6, 1e10, 8)))
    of_compute = [made(law, {"flops": C}, 1e-3) for law in ("L_C", "N_C", "D_C", "LR_C")]
    of_n = [made(law, {"n_latents": N}, 1e-3) for law in ("L_N", "T_N", "LR_N")]
    return [*of_compute, *of_n, made("L_ND", {"n_latents": n, "tokens": tokens}, 1e-3)]


def plans(advice):
    return {(plan.regime, plan.laws.partition(",")[0]): plan for plan in advice.plans}


def test_the_optimum_laws_are_read_at_the_budget_half_and_twice(fits):
    plan = plans(advise(fits, budget(1e15, None, None), d_model=D_MODEL))[COMPUTE, "L_C"]
    assert [one.flops for one in plan.spendings] == [5e14, 1e15, 2e15]
    for one in plan.spendings:
        for law, quantity in (
            ("N_C", one.n_latents),
            ("D_C", one.tokens),
            ("LR_C", one.lr),
            ("L_C", one.nmse),
        ):
            truth = named(law).loss(TRUTH[law], {"flops": np.array([one.flops])})[0]
            assert quantity.value == pytest.approx(truth, rel=5e-3) and quantity.laws == law
            assert quantity.low < quantity.value < quantity.high
        assert furthest(one).input is None and not one.cautions
    assert plan.laws == "L_C, N_C, D_C, LR_C" and plan.group == {"k": 32} and not plan.notes


def test_the_best_split_of_a_joint_law_is_the_closed_form(fits):
    """For C = c·N·D the best N is G·(C/c)^a (Hoffmann et al. 2022, §3.3); dense, c = 12·d."""
    advice = advise(fits, budget(1e15, None, None), d_model=D_MODEL, convention="dense")
    plan = plans(advice)[COMPUTE, "L_ND"]
    (joint,) = [fit for fit in fits if fit.law == "L_ND"]
    for one in plan.spendings:
        ratio = one.flops / (12 * D_MODEL)
        n = joint.derived["G"].value * ratio ** joint.derived["a"].value
        assert one.n_latents.value == pytest.approx(n, rel=1e-3)
        assert one.tokens.value == pytest.approx(ratio / n, rel=1e-3)
        assert one.n_latents.low is None  # no interval is claimed, but the n that cost as little
        low, high = one.as_good
        assert low < n < high
        best = joint.predict(n_latents=n, tokens=ratio / n)[0]
        for edge in (low, high):
            assert joint.predict(n_latents=edge, tokens=ratio / edge)[0] == pytest.approx(
                1.005 * best, rel=3e-3
            )


def test_at_convergence_the_largest_n_whose_tokens_are_paid(fits):
    """In the dense convention T0·n^g·12·n·d = C gives n = (C/(12·d·T0))^(1/(1 + g))."""
    dense = [replace(fit, flops=fit.flops and "dense") for fit in fits]
    advice = advise(dense, budget(1e16, None, None), d_model=D_MODEL)
    assert advice.convention == "dense"
    plan = plans(advice)[CONVERGED, "T_N"]
    by_name = {fit.law: fit for fit in fits}
    T0, g = (by_name["T_N"].params[name].value for name in ("T0", "g"))
    for one in plan.spendings:
        n = (one.flops / (12 * D_MODEL * T0)) ** (1 / (1 + g))
        assert one.n_latents.value == pytest.approx(n, rel=1e-6)
        assert one.n_latents.low < n < one.n_latents.high
        assert one.n_latents.value * one.tokens.value * 12 * D_MODEL == pytest.approx(one.flops, rel=1e-6)
        assert one.nmse.value == pytest.approx(by_name["L_N"].predict(n_latents=n)[0])
        assert one.lr.value == pytest.approx(by_name["LR_N"].predict(n_latents=n)[0])
    assert plan.laws == "T_N, L_N, LR_N"


def test_the_sparse_convention_prices_k(fits):
    plan = plans(advise(fits, budget(1e16, None, None), d_model=D_MODEL))[CONVERGED, "T_N"]
    one = plan.spendings[1]
    assert one.n_latents.value * one.tokens.value * 2 * D_MODEL < 1e16
    assert (2 * one.n_latents.value + 8 * 32) * D_MODEL * one.tokens.value == pytest.approx(1e16, rel=1e-6)
    assert per_token(10.0, 3, 5.0, "sparse") == 220 and per_token(10.0, None, 5.0, "dense") == 600
    assert per_token(10.0, None, None, "6ND") == 60
    lacking = [
        (None, 5.0, "sparse", "needs k"),
        (3, None, "dense", "needs d_model"),
        (3, 5.0, "given", "column"),
    ]
    for k, d, convention, words in lacking:
        with pytest.raises(FitError, match=words):
            per_token(10.0, k, d, convention)


def test_what_lies_beyond_the_rows_is_said(fits):
    plan = plans(advise(fits, budget(1e18, None, None), d_model=D_MODEL))[COMPUTE, "L_C"]
    assert furthest(plan.spendings[1]).factor == pytest.approx(100)
    assert "100 × beyond the largest flops" in plan.spendings[1].cautions[0].text
    (note,) = plan.notes
    assert note.startswith("lr 0.000") and "outside of the optima that were measured" in note


def test_what_is_missing_is_said_and_never_invented(fits):
    some = [fit for fit in fits if fit.law in ("L_C", "T_N", "L_N")]
    advice = advise(some, budget(1e15, None, None), d_model=D_MODEL)
    compute, converged = advice.plans
    assert compute.spendings[1].n_latents is compute.spendings[1].lr is converged.spendings[1].lr is None
    assert [note.partition(" ")[0] for note in compute.notes] == ["N_C", "D_C", "LR_C"]
    assert converged.notes == ("lr is missing: LR_N was not fitted.",)
    assert advice.missing == ("A law of n and tokens is missing, as L_ND: fit one with --law L_ND.",)
    without_d = advise(fits, budget(1e15, None, None))
    assert [plan.laws.partition(",")[0] for plan in without_d.plans] == ["L_C"]
    assert without_d.missing[0].startswith("A plan by L_ND (k=32): What a token costs needs d_model")
    with pytest.raises(FitError, match="do not say how to spend a budget. L_C is missing"):
        advise([fit for fit in fits if fit.law == "L_N"], budget(1e15, None, None), d_model=D_MODEL)


def test_the_batch_is_that_of_the_rows(fits):
    """One batch size is named as the only one, several as a range."""
    texts = []
    for sizes in ([1024] * 8, [1024] * 4 + [4096] * 4):
        known = [
            replace(
                fit,
                points=tuple(
                    replace(p, run=PointRun(batch_tokens=B)) for p, B in zip(fit.points, sizes, strict=True)
                ),
            )
            if fit.law == "L_N"
            else fit
            for fit in fits
        ]
        texts.append(plans(advise(known, budget(1e15, None, None), d_model=D_MODEL))[CONVERGED, "T_N"].batch)
    assert texts[0] == "batch: 1,024 tokens, as in all rows; no other was tried"
    assert texts[1] == "batch: 1,024 to 4,096 tokens among the rows; no law says which is best"


def test_another_k_has_no_plan(fits):
    both = [*fits, *(replace(fit, group={"k": 64}) for fit in fits)]
    advice = advise(both, budget(1e15, None, None), {"k": 64}, D_MODEL)
    assert {plan.group["k"] for plan in advice.plans} == {64}
    assert {plan.group["k"] for plan in advise(both, budget(1e15, None, None), d_model=D_MODEL).plans} == {
        32,
        64,
    }
    with pytest.raises(FitError, match="do not say"):
        advise(fits, budget(1e15, None, None), {"k": 48}, D_MODEL)


def test_gpu_hours_have_a_stated_speed():
    assert (
        budget(None, 2, 1e12).flops == 7.2e15
        and "at 1e+12 FLOPs/s (as given)" in budget(None, 2, 1e12).origin
    )
    measured = budget(None, 1, None, Facts(None, 2e13, 5))
    assert measured.flops == 7.2e16 and "the median of 5 runs of the table" in measured.origin
    assumed = budget(None, 1, None)
    assert assumed.flops == 3600 * 4e14 and "assumed, 40 % of an H100's bf16 peak" in assumed.origin


@pytest.mark.parametrize(
    ("flops", "hours", "speed", "words"),
    [
        (None, None, None, "give one of --flops and --gpu-hours"),
        (1e9, 1.0, None, "give one of"),
        (0.0, None, None, "flops is 0"),
        (None, np.inf, None, "gpu_hours is inf"),
        (None, 1.0, -1.0, "flops_per_s is -1"),
    ],
)
def test_a_budget_that_is_none_is_a_sentence(flops, hours, speed, words):
    with pytest.raises(FitError, match=words):
        budget(flops, hours, speed)


def test_back_test_choices_from_small_sizes_on_the_published_table():
    """docs/fitting.md has these numbers."""
    every = backtest.cells("L_NK", draws=100)
    concerned = np.array([one.regret for one in backtest.decisions(every, backtest.LAW, only_largest=True)])
    assert len(concerned) == 37 and (concerned == 0).sum() == 32
    assert concerned.mean() == pytest.approx(0.0012, abs=2e-4)
    assert concerned.max() == pytest.approx(0.0193, abs=1e-3)
    mean, worst = {}, {}
    for rule in backtest.RULES:
        regret = np.array([one.regret for one in backtest.decisions(every, rule)])
        assert len(regret) == 53
        mean[rule], worst[rule] = regret.mean(), regret.max()
    # No rule that uses the uncertainty of the law is better than the law in the worst set.
    assert list(worst.values()) == pytest.approx([0.0253] * 4, abs=1e-3)
    assert mean[backtest.LAW] == pytest.approx(0.0015, abs=1e-4)
    assert mean[backtest.UPPER] == pytest.approx(0.0013, abs=1e-4)


def test_a_law_without_the_floor_chooses_worse():
    """docs/fitting.md has its mean regret, 0.38 % where 2^19 is concerned; that of L(N, K) is 0.12 %."""
    every = backtest.cells("L_NK_pure", draws=100)
    regret = [one.regret for one in backtest.decisions(every, backtest.LAW, only_largest=True)]
    assert np.mean(regret) == pytest.approx(0.0038, abs=2e-4)


def test_the_rules_of_the_back_test_differ_as_they_are_defined():
    """Two cells and two draws by hand: each rule but the first prefers the cell whose loss is less uncertain."""
    two = np.array([1.0, 1.0])
    every = backtest.Cells(
        n=two,
        k=two,
        measured=two,
        predicted=np.array([1.0, 1.1]),
        upper=np.array([1.5, 1.2]),
        draws=np.array([[0.9, 1.1], [1.5, 1.2]]),
    )
    assert [every.choice(rule, np.array([0, 1])) for rule in backtest.RULES] == [0, 1, 1, 1]
