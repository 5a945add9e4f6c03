"""An error that all rows share widens the intervals by what it does to the fit, which residuals cannot show."""

import json

import numpy as np
import pytest

from fit.law.fit import fit_law
from fit.law.laws import named
from fit.law.result import FitResult
from tests.fit.laws_under_test import TRUTH

L_N, N = named("L_N"), 2.0 ** np.linspace(9, 16.5, 16)
TRUE = TRUTH["L_N"]


def losses(seed=0, noise=0.003):
    return L_N.loss(TRUE, {"n_latents": N}) * np.exp(noise * np.random.default_rng(seed).standard_normal(16))


def fitted(loss, shared=None, **options):
    return fit_law("L_N", N, loss, hold_out=False, compare=False, shared=shared, **options)


def test_a_common_factor_moves_the_floor_by_itself_and_the_exponent_not_at_all():
    loss, c = losses(), 0.03
    alone, both = fitted(loss), fitted(loss, [[-c] * 16, [c] * 16])
    for name in ("E", "A"):
        before, after = (np.log([p.low, p.value, p.high]) for p in (alone.params[name], both.params[name]))
        assert after[1] - after[0] == pytest.approx(np.hypot(before[1] - before[0], c), rel=1e-4)
        assert after[2] - after[1] == pytest.approx(np.hypot(before[2] - before[1], c), rel=1e-4)
    alpha = [(p.low, p.high) for p in (alone.params["alpha"], both.params["alpha"])]
    assert alpha[0] == pytest.approx(alpha[1], rel=1e-5)


def test_predictions_and_derived_quantities_carry_it_too():
    loss = losses()
    alone, both = fitted(loss), fitted(loss, [[-0.05] * 16, [0.0] * 16])
    for interval in ("law", "measurement"):
        (L, low, high), (_, lower, upper) = (
            np.ravel(fit.predict(n_latents=2**20, interval=interval)) for fit in (alone, both)
        )
        assert upper == pytest.approx(high, rel=1e-6)
        assert np.log(L / lower) == pytest.approx(np.hypot(np.log(L / low), 0.05), rel=1e-4)


def test_the_held_out_prediction_carries_the_error_of_the_rows_it_was_trained_on():
    """A factor e^±c on all losses moves every prediction by ±c; one on the held-out rows alone moves none."""
    loss, c = losses(), 0.03
    everywhere, beyond = np.full((2, 16), [[-c], [c]]), np.zeros((2, 16))
    beyond[:, -1] = -c, c
    alone, shared, elsewhere = (
        fit_law("L_N", N, loss, compare=False, shared=shifts).held_out.points[0]
        for shifts in (None, everywhere, beyond)
    )
    assert shared.predicted == alone.predicted and elsewhere == alone
    below, above = np.log(alone.predicted / alone.low), np.log(alone.high / alone.predicted)
    assert np.log(shared.predicted / shared.low) == pytest.approx(np.hypot(below, c), rel=1e-4)
    assert np.log(shared.high / shared.predicted) == pytest.approx(np.hypot(above, c), rel=1e-4)


def test_rows_without_a_shared_error_have_the_usual_intervals():
    loss = losses()
    assert fitted(loss, np.zeros((2, 16))).params == fitted(loss).params


def test_a_floor_that_vanishes_at_one_end_has_no_lower_end():
    loss = 2 * N**-0.3 * np.exp(0.003 * np.random.default_rng(1).standard_normal(16))
    shift = -0.2 * np.linspace(0, 1, 16) ** 2
    E = fitted(loss * 1.02 + 0.002, [shift, -shift]).params["E"]
    assert not E.low and E.high > 0


def test_a_result_that_was_read_back_predicts_with_the_same_interval():
    fit = fitted(losses(), [[-0.05] * 16, [0.02] * 16])
    again = FitResult.from_dict(json.loads(json.dumps(fit.to_dict())))
    assert again == fit
    ends = [np.ravel(f.predict(n_latents=2**20, interval="law")) for f in (fit, again)]
    np.testing.assert_allclose(*ends, rtol=1e-9)


@pytest.mark.parametrize(("sweeps", "least"), [(12, 10), pytest.param(100, 88, marks=pytest.mark.slow)])
def test_the_floor_is_covered_although_all_losses_are_off_together(sweeps, least):
    hits = {True: 0, False: 0}
    for seed in range(sweeps):
        loss = losses(seed) * np.exp(0.3 * np.random.default_rng(1000 + seed).standard_normal())
        for known in hits:
            shared = [[-1.96 * 0.3] * 16, [1.96 * 0.3] * 16] if known else None
            E = fitted(loss, shared, method="delta").params["E"]
            hits[known] += E.low <= TRUE["E"] <= E.high
    assert hits[True] >= least > hits[False]
