"""What the laws of a study predict: which answer, in which order, with which intervals and cautions."""

from dataclasses import replace

import numpy as np
import pytest

from fit.law.caution import Kind
from fit.law.checks.lack_of_fit import LackOfFit
from fit.law.errors import FitError
from fit.law.fit import fit_law
from fit.study import predict
from tests.fit.laws_under_test import INPUTS


def by_law(answers):
    return {one.law: one for one in answers.predictions}


def test_the_published_table_far_beyond_its_rows(gpt4):
    """Measured on the 45 points by profile: the law [.1956, .2097], a new run [.1945, .2110]."""
    joint = by_law(predict(gpt4, [{"n_latents": 2**24, "k": 256}]))["L_NK"]
    assert (joint.low, joint.high) == pytest.approx((0.1956, 0.2097), abs=1e-4)
    assert (joint.new_low, joint.new_high) == pytest.approx((0.1945, 0.2110), abs=1e-4)
    assert joint.reach.factor == pytest.approx(32.0)


def test_far_beyond_the_rows_the_other_laws_are_named(gpt4):
    point = {"n_latents": 2**24, "k": 256}
    answers = by_law(predict(gpt4, [point]))
    assert answers["L_NK"].others["L_N (k=256)"] == answers["L_N"].value
    (caution,) = answers["L_NK"].cautions
    assert caution.kind is Kind.EXTRAPOLATION and caution.of == ("n_latents",)
    assert "32 × beyond the largest n_latents (524,288)" in caution.text
    assert f"{answers['L_N'].value:.4g} (L_N (k=256)) to {answers['L_NK'].value:.4g} (L_NK)" in caution.text
    near = by_law(predict(gpt4, [{"n_latents": 2**20, "k": 256}]))
    assert not near["L_NK"].cautions and not near["L_NK"].others and near["L_NK"].reach.factor == 2.0


def test_an_alternative_that_the_rows_do_not_refute_is_part_of_the_spread():
    """Rows of a power law with 1 % noise over three octaves: a floor cannot be told from none."""
    n = 2.0 ** np.linspace(9, 12, 8)
    y = 2 * n**-0.2 * np.exp(0.01 * np.random.default_rng(1).standard_normal(8))
    fit = fit_law("L_N", n, y, hold_out=False)
    (one,) = predict([fit], [{"n_latents": 2**20}]).predictions
    assert set(one.others) == {"L_N_pure"}
    assert one.others["L_N_pure"] == pytest.approx(2 * 2**20**1**1 * 0 + 2 * (2.0**20) ** -0.2, rel=0.2)


def test_an_alternative_without_support_is_not(gpt4):
    """Over n = 2^8 … 2^16 with 0.1 % noise the floor of .1 is certain: a law without one has no support."""
    n = INPUTS["L_N"]["n_latents"]
    y = (0.1 + 2 * n**-0.3) * np.exp(0.001 * np.random.default_rng(0).standard_normal(len(n)))
    (one,) = predict([fit_law("L_N", n, y, hold_out=False)], [{"n_latents": 2**24}]).predictions
    assert "L_N_pure" not in one.others


def test_laws_that_the_rows_refute_come_last_and_are_no_part_of_the_spread(gpt4):
    alone, joint = gpt4
    refuted = replace(alone, lack_of_fit=LackOfFit(0.05, noise=0.001, ratio=50.0, refuted=True))
    first, last = predict([refuted, joint], [{"n_latents": 2**24, "k": 256}]).predictions
    assert (first.law, last.law) == ("L_NK", "L_N") and last.refuted and first.refuted is None
    assert "L_N (k=256)" not in first.others and last.others["L_NK"] == first.value


def test_a_law_of_another_group_or_without_its_inputs_says_nothing(gpt4):
    answers = predict(gpt4, [{"n_latents": 2**15, "k": 32}])
    assert [one.law for one in answers.predictions] == ["L_NK"]
    assert answers.left_out == ("L_N (k=256): its rows are of another group.",)
    answers = predict(gpt4, [{"n_latents": 2**15}])
    assert [one.law for one in answers.predictions] == ["L_N"]
    assert answers.left_out == ("L_NK: k was not given.",)


def test_points_are_answered_one_by_one_as_by_predict(gpt4):
    points = [{"n_latents": n, "k": k} for n in (2**11, 3e4) for k in (48, 256)]
    answers = predict(gpt4, points, ["L_NK"]).predictions
    assert [one.row for one in answers] == [0, 1, 2, 3]
    value, low, high = gpt4[1].predict(n_latents=3e4, k=48, interval="law")
    assert (answers[2].value, answers[2].low, answers[2].high) == pytest.approx((value[0], low[0], high[0]))


@pytest.mark.parametrize(
    ("point", "laws", "words"),
    [
        ({"n_latents": 0}, None, "n_latents is 0: give a finite number above 0."),
        ({"n_latents": -4, "k": 3}, None, "n_latents is -4: give"),
        ({"n_latents": float("inf")}, None, "n_latents is inf: give"),
        ({"n_latents": "many"}, None, "n_latents is many: give"),
        (
            {"n_latent": 2},
            None,
            "No law of these fits has n_latent; they have k, n_latents. Did you mean n_latents?",
        ),
        (
            {"k": 32},
            None,
            "L_N (k=256): its rows are of another group. L_NK: n_latents was not given.",
        ),
        ({"n_latents": 9}, ["L_C"], "These fits have no law L_C; they have L_N, L_NK."),
    ],
)
def test_what_cannot_be_answered_is_a_sentence(gpt4, point, laws, words):
    with pytest.raises(FitError) as error:
        predict(gpt4, [point], laws)
    assert words in str(error.value)
