"""Curves as points of one grid of compute: interpolation, schedules, columns of runs, and what tells curves apart."""

import numpy as np
import pandas as pd
import pytest

from fit.data.curves import STEP, candidates, falling
from fit.law.errors import FitError
from tests.fit.compute_sweeps import sweep

CURVE = pd.DataFrame(
    {"flops_sparse": [1.0, 4.0, 16.0], "tokens": [10.0, 40.0, 160.0], "nmse": [0.8, 0.4, 0.1]}
)


def test_a_curve_is_straight_in_log_log_between_its_evaluations():
    of = candidates(CURVE.assign(run_id="a"), "flops_sparse")
    np.testing.assert_allclose(of.log_c, STEP * np.arange(17), atol=1e-12)
    np.testing.assert_allclose(of.log_l[:9], np.log(0.8) - np.log(2) * np.arange(9) / 8)
    np.testing.assert_allclose(of.log_l[8:], np.log(0.4) - np.log(4) * np.arange(9) / 8)
    np.testing.assert_allclose(of.log_tokens, np.log(10) + of.log_c)


def test_its_end_is_kept_where_it_is_not_on_the_grid():
    of = candidates(CURVE.assign(run_id="a", flops_sparse=[1.0, 4.0, 17.0]), "flops_sparse")
    assert np.exp(of.log_c[-1]) == pytest.approx(17) and np.exp(of.log_l[-1]) == pytest.approx(0.1)


def test_a_curve_may_not_rise():
    of = candidates(CURVE.assign(run_id="a", nmse=[0.8, 0.4, 0.9]), "flops_sparse")
    np.testing.assert_allclose(np.exp(of.log_l[8:]), 0.4)


@pytest.mark.parametrize("schedule, points", [("constant", 17), (None, 17), ("linear", 1)])
def test_only_the_end_of_a_decaying_learning_rate(schedule, points):
    of = candidates(CURVE.assign(run_id="a", lr_schedule=schedule), "flops_sparse")
    assert len(of.run) == points and np.exp(of.log_l[-1]) == pytest.approx(0.1)
    assert np.exp(of.log_tokens[-1]) == pytest.approx(160)


def test_points_carry_the_columns_of_their_run():
    table = sweep(rates=(0.5, 1))
    of = candidates(table.sample(frac=1, random_state=0), "flops_sparse")
    rows = of.table(np.arange(len(of.run)))
    name = rows["run_id"].str.split("-")
    assert (rows["n_latents"] == name.str[0].astype(float)).all()
    lr = name.str[1].astype(float) * 1e-3 * (rows["n_latents"] / 1024) ** -0.5
    np.testing.assert_allclose(rows["lr"], lr)
    np.testing.assert_allclose(rows["flops"], rows["n_latents"] * rows["tokens"], rtol=1e-9)
    assert (np.diff(rows["flops"]) >= 0).all()


def test_a_column_that_is_not_known_everywhere_is_none():
    table = sweep(sizes=(256, 512))
    of = candidates(table.assign(lr=table["lr"].where(table["n_latents"] > 256)), "flops_sparse")
    assert (
        of.column("lr") is None and of.column("batch_tokens") is None and of.column("n_latents") is not None
    )
    assert candidates(table.assign(lr=0.0), "flops_sparse").column("lr") is None
    partly = table["tokens"].where(table["n_latents"] > 256, 0.0)
    assert candidates(table.assign(tokens=partly), "flops_sparse").log_tokens is None
    assert candidates(table.drop(columns="tokens"), "flops_sparse").log_tokens is None


def test_what_tells_the_curves_apart():
    table = sweep(sizes=(256, 512))
    bare = table.drop(columns="run_id")
    assert len(candidates(bare, "flops_sparse").runs) == 2
    assert len(candidates(bare.drop(columns="n_latents"), "flops_sparse").runs) == len(table)
    with pytest.raises(FitError, match="45 rows have no run_id"):
        candidates(table.assign(run_id=table["run_id"].where(table["n_latents"] > 256)), "flops_sparse")


def test_falling_are_the_points_below_all_of_less_compute():
    of = candidates(sweep(seeds=2, noise=0.02), "flops_sparse")
    there = np.random.default_rng(0).random(len(of.run)) < 0.5
    index = falling(of, there)
    expected = [i for i in np.flatnonzero(there) if (of.log_l[:i][there[:i]] > of.log_l[i]).all()]
    np.testing.assert_array_equal(index, expected)
    assert len(falling(of, np.zeros(len(of.run), dtype=bool))) == 0


def test_points_that_were_evaluated_carry_the_numbers_of_the_table():
    """exp(ln 16384) is 16383.99999999999, which no row of the table has."""
    tokens = 2.0 ** np.arange(8, 30)
    loss = 0.1 + tokens**-0.3
    curve = pd.DataFrame({"run_id": "a", "flops_sparse": 1e3 * tokens, "tokens": tokens, "nmse": loss})
    pool = candidates(curve, "tokens")
    rows = pool.table(np.arange(len(pool.run)))
    assert (np.exp(np.log(tokens)) != tokens).any()
    assert set(tokens) <= set(rows["tokens"]) and set(loss) <= set(rows["nmse"])
    between = ~rows["tokens"].isin(tokens)
    assert between.sum() == 3 * (len(tokens) - 1)
    np.testing.assert_array_equal(rows["tokens"][between], np.exp(pool.log_c[between]))
