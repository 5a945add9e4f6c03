"""The fits on screen: which rows, how they were chosen, intervals that are not there, held-out scales, what is said."""

import re
from dataclasses import replace

import numpy as np
import pytest

from fit.compute.frontier import LOOSER
from fit.law.caution import Caution, Kind
from fit.law.checks.held_out import HeldOut, HeldOutPoint, Score
from fit.law.fit import fit_law
from fit.law.options import FitOptions
from fit.law.result import Param
from fit.study import fit_study, fit_table
from fit.views.lines import text as report
from tests.fit.laws_under_test import INPUTS, noisy
from tests.fit.sweep_tables import Sweep


def lines(fit):
    return list(report.fit_lines(fit))


@pytest.fixture(scope="module")
def compute():
    return fit_study(*Sweep(noise=0.003).tables(), laws=["L_C"], options=FitOptions(draws=40), say=str)


def test_an_end_that_is_not_there_is_infinite():
    """What a held-out prediction of L_N_broken has: its interval is open above."""
    point = HeldOutPoint({"n_latents": 2.0**19}, 0.3714, 0.3635, None, 0.378, -0.0175, True)
    score = Score(2.0**18, 10, 1, 0.01)
    (text,) = report._held_out(HeldOut("n_latents", score, (point,), (score,)))
    assert text == "  held out n=524,288: predicted 0.3714 [0.3635, ∞), measured 0.3780 (−1.75 %, inside)"


@pytest.mark.parametrize(("count", "printed"), [(1, 1), (2, 2), (6, 6), (7, 0)])
def test_more_than_six_held_out_points_are_one_line(count, printed):
    points = [HeldOutPoint({"n_latents": 2.0**19}, 0.37, 0.36, 0.38, 0.375, -0.0133, True)] * count
    score = Score(2.0**18, 10, count, 0.01)
    texts = list(report._held_out(HeldOut("n_latents", score, tuple(points), (score,))))
    assert sum("predicted 0.37" in text for text in texts) == printed
    assert sum(f"{count} points, rms 1.00 %" in text for text in texts) == (count > 1)


def test_parameters_stand_three_a_line():
    params = {name: Param(0.5, 0.4, 0.6, "profile") for name in ("E", "A", "alpha", "B", "beta")}
    one = "0.50 [0.40, 0.60]"
    assert list(report._values(params)) == [f"  E {one}   A {one}   α {one}", f"  B {one}   β {one}"]


def test_held_out_points_are_told_by_all_their_inputs():
    text = "\n".join(lines(fit_law("L_ND", INPUTS["L_ND"], noisy("L_ND", 0.005), compare=False)))
    assert "n=262,144, D=1,000,000: predicted" in text and "n=262,144, D=1e+09: predicted" in text


def test_rows_of_few_runs_have_no_intervals_and_say_so():
    x, y = INPUTS["L_ND"], noisy("L_ND", 0.005)
    text = lines(fit_law("L_ND", x, y, cluster=np.arange(40) // 14))
    assert "no 95 % intervals" in text[3] and "E 0.1" in text[1] and "(−∞, ∞)" in text[1]
    assert any(
        "No intervals: the 40 rows are of 3 runs only" in line and "From 4 runs on" in line for line in text
    )
    assert not any("not identified" in line or "OUTSIDE" in line or "inside" in line for line in text)


def test_means_over_seeds_are_told_with_all_the_runs_that_they_were_chosen_from():
    (fit,) = fit_table(*Sweep(noise=0.003).tables(seeds=3), laws=["L_N"])
    assert "6 means of up to 3 converged runs (ε = 1 %), the best lr of 198 runs" in lines(fit)[0]
    assert not any("unconverged run is already lower" in warning for warning in fit.warnings)


def test_the_rule_of_the_frontier_is_on_screen(compute):
    text = report.text(compute.fits)
    assert (
        "The lowest loss over all curves in each 1/4 octave of C, with no lower limit of C. Cut, since"
        in text
    )
    assert compute.fits[0].selection.rule in text


def test_looser_bottleneck_is_said_once_where_only_the_compute_regime_was_fitted(compute):
    assert report.text(compute.fits).count(LOOSER) == 1
    assert LOOSER not in report.text([fit_law("L_N", INPUTS["L_N"], noisy("L_N", 0.005))])


def test_dropped_budgets_are_counted_and_the_first_is_named(compute):
    (fit,) = compute.fits
    dropped = fit.extra.isoflop.dropped
    assert f"{len(dropped)} isoFLOP budgets dropped, the first at {dropped[0]}" in report.text([fit])
    without = replace(fit, extra=replace(fit.extra, isoflop=replace(fit.extra.isoflop, dropped=())))
    assert "dropped" not in report.text([without])


def test_end_points_only_of_a_decaying_lr_and_an_unknown_one_are_said():
    runs, curves = Sweep(noise=0.003).tables()
    decaying = fit_table(
        runs.assign(lr_schedule="cosine"), curves.drop(columns="lr_schedule"), ["L_C"], say=str
    )
    assert "Of 66 of 66 runs, whose lr is not constant, only the end points." in report.text(decaying)
    (known,) = fit_table(
        runs.assign(lr_schedule="Constant"), curves.assign(lr_schedule="Constant"), ["L_C"], say=str
    )
    assert len(known.points) > 20 and "lr_schedule" not in report.text([known])
    bare = fit_table(runs.drop(columns="lr_schedule"), curves.drop(columns="lr_schedule"), ["L_C"], say=str)
    assert "No lr_schedule is known: the lr was taken as constant" in report.text(bare)


def test_outliers_have_a_true_minus_and_huber_is_not_advised_against_itself():
    x, y = INPUTS["L_N"], noisy("L_N", 0.003)
    y[4] *= 1.2
    for of, words in (
        ("log", "the objective huber is robust"),
        ("huber:0.02", "Huber's objective lets them count"),
    ):
        (said,) = [w for w in fit_law("L_N", x, y, objective=of, compare=False).warnings if "outlier" in w]
        assert words in said and "(−" in said and "-" not in said


def test_a_refuted_law_says_so_first_and_is_marked_in_the_ranking():
    from fit.views.figures.shared import labels
    from fit.views.lines.law_table import law_tables
    from fit.views.page.laws import _comparison, _family

    n = 2.0 ** np.arange(9, 17)
    fit = fit_law("L_N", n, 0.1 + n**-0.3, hold_out=False)
    sentence = "Residuals 5.0 % where the curves scatter by 0.064 %: this law does not describe these rows."
    ranking = tuple(replace(one, refuted=one.law == "L_N") for one in fit.comparison)
    fit = replace(fit, cautions=(*fit.cautions, Caution(Kind.REFUTED, sentence)), comparison=ranking)
    printed = lines(fit)
    assert printed[1] == f"  ! {sentence}" and sum(sentence in line for line in printed) == 1
    (ranked,) = [line for line in printed if line.startswith("  laws by held-out error")]
    assert ranked.count("(refuted by the rows)") == 1 and re.search(r"L_N \S+ % \(refuted", ranked)
    assert [rival.name for rival in _comparison(fit).laws if rival.refuted] == ["L_N"]
    (table,) = law_tables([fit])
    assert _family(table).refuted == (sentence,)
    assert labels.parameters(fit)[0] == "refuted by its rows"
