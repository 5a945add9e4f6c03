"""What a loss needs, against the closed form and against the profile of that number itself."""

from dataclasses import replace

import numpy as np
import pytest

from fit.law.checks.lack_of_fit import LackOfFit
from fit.law.errors import FitError
from fit.law.fit import fit_law
from fit.law.law import Derived
from fit.study import inverse


def solved(fits, target, laws=None, response="nmse", **given):
    return {one.law: one for one in inverse(fits, response, target, given, laws).needs}


def ln_n(target):
    """ln N at which E + A·N^−α is the target: (ln A − ln(L − E))/α, for internal θ = (ln A, α, ln E)."""

    def value(theta):
        ln_A, alpha, ln_E = theta.T
        with np.errstate(invalid="ignore", divide="ignore"):
            E = np.exp(ln_E)
            ln_gap = np.log(target - E)
            u = (ln_A - ln_gap) / alpha
            slopes = np.stack([1 / alpha, -u / alpha, E / (target - E) / alpha], axis=1)
        return u, slopes

    return Derived(value, log=True)


def test_the_answer_is_the_closed_form_and_its_interval_the_profile_of_that_number(gpt4):
    one = solved(gpt4, 0.25, k=256)["L_N"]
    p = {name: param.value for name, param in gpt4[0].params.items()}
    assert one.value == pytest.approx((p["A"] / (0.25 - p["E"])) ** (1 / p["alpha"]), rel=1e-6)
    itself = gpt4[0].number(ln_n(0.25))
    assert itself.value == pytest.approx(one.value, rel=1e-6)
    assert (one.low, one.high) == pytest.approx((itself.low, itself.high), rel=2e-3)
    assert one.input == "n_latents" and one.reach.factor == pytest.approx(one.value / 2**19)


def test_any_input_can_be_solved_for(gpt4):
    one = solved(gpt4, 0.3, ["L_NK"], n_latents=2**19)["L_NK"]
    assert one.input == "k" and gpt4[1].predict(n_latents=2**19, k=one.value)[0] == pytest.approx(0.3)
    assert one.low < one.value < one.high


def test_far_beyond_the_rows_the_spread_between_the_laws_is_said(gpt4):
    both = solved(gpt4, 0.2, k=256)
    ends = f"say {both['L_N'].value:.4g} (L_N (k=256)) to {both['L_NK'].value:.4g} (L_NK)."
    for one in both.values():
        (caution,) = one.cautions
        assert caution.text.endswith(ends) and "× beyond the largest n_latents (524,288)" in caution.text
    refuted = replace(gpt4[1], lack_of_fit=LackOfFit(0.05, noise=0.001, ratio=50.0, refuted=True))
    (caution,) = solved([gpt4[0], refuted], 0.2, k=256)["L_N"].cautions
    assert caution.text.endswith("no other law of these rows says how far off it may be.")


def test_a_law_that_rises_is_solved_too():
    n = 2.0 ** np.arange(8, 15)
    tokens = 3e4 * n**0.6 * np.exp(0.05 * np.random.default_rng(0).standard_normal(7))
    fit = fit_law("T_N", n, tokens, hold_out=False)
    one = solved([fit], 1e7, response="tokens")["T_N"]
    assert fit.predict(n_latents=one.value)[0] == pytest.approx(1e7)
    # The largest n that can be affordable is where the lower end of the tokens reaches the budget.
    assert fit.predict(n_latents=one.high, interval="law")[1][0] == pytest.approx(1e7, rel=1e-6)
    assert one.low < one.value < one.high


def test_a_target_below_the_floor_is_a_sentence_with_the_interval_of_the_floor(gpt4):
    one = solved(gpt4, 0.05, k=256)["L_N"]
    E = gpt4[0].params["E"]
    assert one.value is one.low is one.high is None
    assert (
        f"below the floor of L_N (k=256), {E.value:.4g} [{E.low:.4g}, {E.high:.4g}], above the target"
        in one.reason
    )


def test_a_target_within_the_interval_of_the_floor_is_left_open(gpt4):
    one = solved(gpt4, 0.15, k=256)["L_NK"]
    assert one.value is None and one.high is None and one.low > 1e9
    assert "which holds the target: the rows do not say whether it can be reached" in one.reason


def test_a_loss_that_needs_more_than_a_million_times_the_rows_is_not_given_a_number(gpt4):
    one = solved(gpt4, gpt4[0].params["E"].value * 1.0005, k=256)["L_N"]
    assert one.value is None and "1e+06 × the largest of its rows" in one.reason


@pytest.mark.parametrize(
    ("response", "target", "given", "words"),
    [
        ("nmse", 0.0, {"k": 32}, "nmse is 0: give a finite number above 0."),
        ("nmse", np.inf, {"k": 32}, "nmse is inf: give"),
        ("loss", 0.1, {"k": 32}, "No law of these fits gives loss; they give nmse."),
        ("nmse", 0.1, {"k": -1}, "k is -1: give a finite number above 0."),
        ("nmse", 0.1, {"n_latents": 512, "k": 256}, "every input is given, leave one open."),
        ("nmse", 0.1, {"tokens": 1e9}, "No law of these fits has tokens"),
    ],
)
def test_what_cannot_be_solved_is_a_sentence(gpt4, response, target, given, words):
    with pytest.raises(FitError) as error:
        inverse(gpt4, response, target, given)
    assert words in str(error.value)
