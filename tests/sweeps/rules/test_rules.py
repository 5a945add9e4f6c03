"""Each rule on a table with a known answer."""

from dataclasses import replace

import numpy as np
import pytest

from fit.law.fit import fit_law
from fit.law.result import FitResult
from sweeps.errors import SweepError
from sweeps.rules.law_value import fit_for, law
from sweeps.rules.lr import lr_law, lr_transfer
from sweeps.rules.rule import RULES, read_spec
from sweeps.rules.sizes import next_sizes, size_for_loss
from sweeps.rules.tokens import tokens_at_optimum, tokens_to_convergence

N = 2.0 ** np.arange(6, 12)
C = np.geomspace(1e12, 1e15, 6)
CELL = {"n_latents": 4096, "k": 32, "batch_tokens": 1024, "max_tokens": 10**6, "d_model": 64}


def fitted(name, x, y, noise=0.0, **group) -> FitResult:
    """The law of these rows, as it comes back from fits.json."""
    noisy = y * np.exp(noise * np.random.default_rng(0).standard_normal(len(y)))
    fit = replace(fit_law(name, x, noisy, hold_out=False), group=group)
    return FitResult.from_dict(fit.to_dict())


def test_lr_law_at_convergence_is_that_of_the_cells_n_and_k():
    fits = [fitted("LR_N", N, (0.1 if k == 32 else 0.3) * N**-0.5, k=k) for k in (16, 32)]
    taken = lr_law(fits, CELL, "ln")
    assert taken.value == pytest.approx(0.1 / 64) and taken.law == "LR_N (k=32)" and taken.rows == 6
    assert taken.at == {"n_latents": 4096, "k": 32} and taken.notes == (
        "2 × beyond the largest n_latents (2,048)",
    )


def test_lr_law_at_the_compute_optimum_is_that_of_the_cells_flops():
    dense = replace(fitted("LR_C", C, 3.0 * C**-0.25), flops="dense")
    flops = 12 * 4096 * 64 * 10**6
    assert lr_law([dense], CELL, "lc").value == pytest.approx(3.0 * flops**-0.25)
    sparse = replace(dense, flops="sparse")
    assert lr_law([sparse], CELL, "lc").at["flops"] == (2 * 4096 * 64 + 8 * 32 * 64) * 10**6
    with pytest.raises(SweepError, match="it has no fit of LR_N, only of LR_C"):
        lr_law([dense], CELL, "ln")


def test_lr_transfer_is_the_law_at_the_cells_size_tokens_and_batch():
    n, D, B = (each.ravel() for each in np.meshgrid(N, [1e5, 1e6, 1e7], [256.0, 1024.0]))
    x = {"n_latents": n, "tokens": D, "batch_tokens": B}
    law_of_all = fitted("LR_NDB", x, 0.3 * n**-0.4 * D**-0.2 * B**0.5)
    taken = lr_transfer([law_of_all], CELL)
    assert taken.value == pytest.approx(0.3 * 4096**-0.4 * 1e6**-0.2 * 1024**0.5)
    assert taken.law == "LR_NDB" and taken.notes == ("2 × beyond the largest n_latents (2,048)",)
    one = B == 256
    of_one = fitted(
        "LR_ND",
        {"n_latents": n[one], "tokens": D[one]},
        4.8 * n[one] ** -0.4 * D[one] ** -0.2,
        batch_tokens=256,
    )
    taken = lr_transfer([of_one], CELL)
    assert taken.value == pytest.approx(4.8 * 4096**-0.4 * 1e6**-0.2)
    assert "the only fit of LR_ND is of batch_tokens=256" in taken.notes
    with pytest.raises(SweepError, match="it has no fit of LR_ND, only of LR_N"):
        lr_transfer([fitted("LR_N", N, N**-0.5)], CELL)


def test_an_lr_is_not_carried_from_one_parametrisation_to_the_other():
    standard, mup = fitted("LR_N", N, 0.1 * N**-0.5), fitted("LR_N", N, N**-0.1, parametrization="mup")
    cell = {**CELL, "parametrization": "mup"}
    assert lr_law([standard, mup], cell, "ln").value == pytest.approx(4096**-0.1)
    assert lr_law([standard, mup], CELL, "ln").value == pytest.approx(0.1 / 64)
    with pytest.raises(
        SweepError, match="sae.parametrization=standard, in which lr is another quantity than in"
    ):
        lr_law([standard], cell, "ln")
    assert law([standard, mup], cell, "LR_N").value == pytest.approx(4096**-0.1)
    with pytest.raises(SweepError, match="sae.parametrization=standard, in which lr is another quantity"):
        law([standard], cell, "LR_N")
    with pytest.raises(SweepError, match="sae.parametrization=mup, in which lr is another quantity"):
        law([mup], CELL, "LR_N")
    assert law([fitted("T_N", N, 2000 * N**0.6)], cell, "T_N").value == pytest.approx(2000 * 4096**0.6)


def test_tokens_to_convergence_has_the_interval_of_the_law_times_the_margin():
    fit = fitted("T_N", N, 2000 * N**0.6, noise=0.05)
    taken = tokens_to_convergence([fit], CELL, 1.5)
    value, low, high = (float(v[0]) for v in fit.predict(n_latents=4096, interval="law"))
    assert (taken.value, taken.low, taken.high) == (round(1.5 * value), round(1.5 * low), round(1.5 * high))
    assert (
        taken.value == pytest.approx(1.5 * 2000 * 4096**0.6, rel=0.15)
        and taken.low < taken.value < taken.high
    )
    with pytest.raises(SweepError, match="safety is 0; it must be above 0"):
        tokens_to_convergence([fit], CELL, 0)


def test_tokens_at_optimum_are_d_at_the_compute_where_n_is_optimal():
    fits = [fitted("N_C", C, 2e-4 * C**0.5), fitted("D_C", C, 5.0 * C**0.5)]
    at = (4096 / 2e-4) ** 2
    assert tokens_at_optimum(fits, CELL, 1.0).value == pytest.approx(5.0 * at**0.5, rel=1e-4)


def test_next_sizes_are_those_that_fit_the_hours_and_the_ends_of_their_costs():
    taken = next_sizes(1000, 2, 15, lambda n: (n / 1000, n / 2000, n / 500))
    assert taken.value == (2000, 4000, 8000)  # 2 + 4 + 8 = 14
    assert taken.low == (2000, 4000)  # 4 + 8 = 12
    assert taken.high == (2000, 4000, 8000, 16000)  # 1 + 2 + 4 + 8 = 15
    assert taken.notes == ("14 of 15 hours",)
    with pytest.raises(
        SweepError, match="first size, n_latents=2,000, costs 2 hours, more than the 1 of gpu_hours"
    ):
        next_sizes(1000, 2, 1, lambda n: (n / 1000,) * 3)


def test_size_for_loss_is_the_inverse_of_l_n_of_the_cells_k():
    fits = [fitted("L_N", N, floor + 2.0 * N**-0.5, k=k) for k, floor in ((16, 0.3), (32, 0.2))]
    taken = size_for_loss(fits, CELL, 0.22)
    assert taken.value == pytest.approx(10_000, abs=2) and taken.law == "L_N (k=32)"
    with pytest.raises(SweepError, match="no law gives nmse=0.15. nmse=0.15 is below the floor of L_N"):
        size_for_loss(fits, CELL, 0.15)


def test_law_is_any_law_at_the_columns_of_the_cell():
    n, D = np.meshgrid(N, np.geomspace(1e5, 1e7, 5))
    x = {"n_latents": n.ravel(), "tokens": D.ravel()}
    fit = fitted("L_ND", x, 0.1 + 2 * x["n_latents"] ** -0.5 + 30 * x["tokens"] ** -0.5)
    assert law([fit], CELL, "L_ND").value == pytest.approx(0.1 + 2 / 64 + 30 / 1000, rel=1e-5)
    with pytest.raises(SweepError, match="L_C needs flops, which a cell of the grid does not have"):
        law([fit], CELL, "L_C")


def test_a_fit_of_another_group_is_taken_where_it_is_the_only_one_and_says_so():
    one = fitted("LR_N", N, 0.1 * N**-0.5, k=16)
    assert lr_law([one], CELL, "ln").notes[0] == "the only fit of LR_N is of k=16"
    with pytest.raises(SweepError, match="it has no fit of LR_N for k=32; it has k=16, k=8"):
        fit_for([one, replace(one, group={"k": 8})], "LR_N", CELL)


def test_every_rule_can_be_named_and_has_a_function():
    for name, rule in RULES.items():
        options = {"gpu_hours": 1, "nmse": 0.1, "law": "LR_N"}
        given = {key: value for key, value in options.items() if key in rule.options}
        assert callable(
            read_spec("main", rule.gives[-1], {"rule": name, "from": "tune", **given}, "ln").function()
        )
