"""lr* of each n: refined by a parabola, left out at an edge."""

import numpy as np
import pytest

from fit.converged.lr import comparable, lr_optima, up_to_doubtful
from fit.converged.tails import LIMIT
from fit.law.errors import FitError
from fit.study import fit_table
from tests.fit.sweep_tables import LRS, N, Sweep

SWEEP = Sweep()


def test_optimum_is_refined_between_the_lr_of_the_grid():
    """The grid is of factors of 2; lr*(n) = 0.004·n^−1/2 lies between its values and comes out within 5 %."""
    runs, _ = SWEEP.tables()
    best, reasons = lr_optima(runs)
    assert not reasons and list(best["n_latents"]) == list(N)
    np.testing.assert_allclose(best["lr"], [SWEEP.lr_N(n) for n in N], rtol=0.05)
    nearest = [LRS[np.argmin(np.abs(np.log(np.array(LRS) / SWEEP.lr_N(n))))] for n in N]
    assert np.abs(np.log(nearest / SWEEP.lr_N(np.array(N)))).max() > 0.2


def test_seeds_are_averaged_first():
    """Of two seeds whose losses are off by the same factor up and down, the geometric mean is the loss itself."""
    runs, _ = SWEEP.tables(seeds=2)
    off = np.exp(0.02 * np.random.default_rng(0).standard_normal(len(runs) // 2))
    noisy = runs.assign(nmse=runs["nmse"] * np.stack([off, 1 / off], axis=1).ravel())
    np.testing.assert_allclose(lr_optima(noisy)[0]["lr"], lr_optima(runs)[0]["lr"], rtol=1e-9)


@pytest.mark.parametrize(("lrs", "side"), [(LRS[6:], "smallest"), (LRS[:3], "largest")])
def test_an_edge_is_a_bound_and_no_optimum(lrs, side):
    runs, _ = SWEEP.tables(ns=N[:3], lrs=lrs)
    best, reasons = lr_optima(runs)
    assert best.empty and len(reasons) == 1
    assert reasons[0].startswith(f"lr* is unknown at n_latents=256, 512, 1,024: the {side} of {len(lrs)} lr")


def test_law_of_lr_falls_as_the_root_of_n():
    runs, _ = SWEEP.tables()
    (fit,) = fit_table(runs, laws=["LR_N"])
    assert fit.params["alpha"].value == pytest.approx(0.5, abs=0.03)
    assert fit.params["A"].value == pytest.approx(0.004, rel=0.15)


def test_without_a_sweep_of_lr_there_is_no_law():
    runs, _ = SWEEP.tables(lrs=LRS[:1])
    with pytest.raises(
        FitError, match=r"lr\* is unknown at n_latents=256, 512, .*: a parabola needs 3 lr, there is 1"
    ):
        fit_table(runs, laws=["LR_N"])


def test_an_n_with_known_tails_at_too_few_lr_is_compared_by_its_last_losses():
    runs, _ = SWEEP.tables()
    runs, lrs = runs.drop(columns=["nmse_inf", "nmse_inf_se"]), np.unique(runs["lr"])
    (last,) = fit_table(runs, laws=["LR_N"], say=str)
    assert not any("last losses" in caution.text for caution in last.cautions)
    falls = np.where(runs["n_latents"] == N[0], np.where(runs["lr"] <= lrs[1], 0.002, np.nan), 0.002)
    falls[(runs["n_latents"] == N[1]) & (runs["lr"] == lrs[-1])] = np.nan
    mixed = comparable(runs.assign(last_doubling=falls), None)
    assert mixed.by_last_loss == (N[0],) and mixed.left_out == 1 and mixed.rows[LIMIT].notna().all()
    of_first = mixed.rows["n_latents"] == N[0]
    assert (mixed.rows[LIMIT] == mixed.rows["nmse"])[of_first].all()
    assert (mixed.rows[LIMIT] < mixed.rows["nmse"])[~of_first].all()
    (fit,) = fit_table(runs.assign(last_doubling=falls), laws=["LR_N"], say=str)
    assert any(
        f"At n_latents={N[0]} " in each.text and f"the {len(lrs)} runs" in each.text for each in fit.cautions
    )
    assert fit.rows_used.used + sum(part.rows for part in fit.rows_used.left_out) == len(runs)
    one = np.where(np.arange(len(runs)) == 0, 0.002, np.nan)
    (fit,) = fit_table(runs.assign(last_doubling=one), laws=["LR_N"], say=str)
    assert fit.params == last.params and fit.rows_used.used == len(runs)
    assert any(
        f"the {len(runs)} runs there are compared by their last losses" in each.text for each in fit.cautions
    )


def test_a_doubtful_lr_beside_the_best_ends_the_lr_that_count():
    """Losses at 1, 2, 4, 8, 16 that are lowest at 4: only a doubtful lr next to the best can be better than it."""
    losses = {1.0: 0.3, 2.0: 0.2, 4.0: 0.1, 8.0: 0.2, 16.0: 0.3}
    assert up_to_doubtful(losses, []) == up_to_doubtful(losses, [1.5, 0.5, 12.0, 32.0]) == losses
    assert sorted(up_to_doubtful(losses, [3.0])) == [4.0, 8.0, 16.0]
    assert sorted(up_to_doubtful(losses, [0.5, 5.0, 6.0])) == [1.0, 2.0, 4.0]
    assert sorted(up_to_doubtful(losses, [3.0, 5.0])) == [4.0]


def test_an_n_whose_best_lr_stands_beside_one_of_unknown_tail_is_compared_by_its_last_losses():
    """Its lr* would be that of a parabola past the unknown one, which is the best lr by the last losses."""
    runs, _ = SWEEP.tables()
    runs, lrs = runs.drop(columns=["nmse_inf", "nmse_inf_se"]), np.unique(runs["lr"])
    of_n = runs[runs["n_latents"] == N[2]]
    best = of_n.loc[of_n["nmse"].idxmin(), "lr"]

    def without(lr):
        dropped = (runs["n_latents"] == N[2]) & (runs["lr"] == lr)
        return comparable(runs.assign(last_doubling=np.where(dropped, np.nan, 0.002)), None)

    beside = without(best)
    assert beside.by_last_loss == (N[2],) and beside.left_out == 0
    far = without(lrs[-1])
    assert far.by_last_loss == () and far.left_out == 1
