"""The laws: their formulas, and the analytic derivatives that the engine uses."""

import numpy as np
import pytest

from fit.basis import Basis
from fit.engine import Batch, evaluate, jacobian
from fit.errors import FitError
from fit.laws import L_C, L_N, L_NK, LAWS, named

GRID = {
    "n_latents": np.repeat(2.0 ** np.arange(11, 20), 3),
    "k": np.tile([32.0, 64.0, 256.0], 9),
    "flops": np.geomspace(1e15, 1e20, 27),
}
TRUTH = {
    "L_N": {"E": 0.15, "A": 2.0, "alpha": 0.2},
    "L_C": {"E": 0.09, "A": 40.0, "alpha": 0.12},
    "L_NK": {"alpha": -0.42, "beta_k": 0.24, "beta_n": -0.027, "gamma": -0.038, "zeta": -1.32, "eta": -0.096},
}


def test_formulas_are_those_of_the_paper():
    n, k, C = GRID["n_latents"], GRID["k"], GRID["flops"]
    np.testing.assert_allclose(L_N.loss(TRUTH["L_N"], GRID), 0.15 + 2.0 * n**-0.2, rtol=1e-14)
    np.testing.assert_allclose(L_C.loss(TRUTH["L_C"], GRID), 0.09 + 40.0 * C**-0.12, rtol=1e-14)
    joint = np.exp(-0.42 + 0.24 * np.log(k) - 0.027 * np.log(n) - 0.038 * np.log(k) * np.log(n))
    np.testing.assert_allclose(
        L_NK.loss(TRUTH["L_NK"], GRID), joint + np.exp(-1.32 - 0.096 * np.log(k)), rtol=1e-14
    )


def test_no_irreducible_loss_is_a_pure_power():
    np.testing.assert_allclose(
        L_N.loss({"E": 0.0, "A": 2.0, "alpha": 0.2}, GRID), 2 * GRID["n_latents"] ** -0.2
    )


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_whitening_changes_parameters_and_not_predictions(law):
    basis = Basis.of(law, GRID)
    rng = np.random.default_rng(0)
    theta = rng.standard_normal(len(law.internal))
    internal = basis.inverse @ theta
    z = np.einsum("jnp,p->jn", basis.columns, theta)
    np.testing.assert_allclose(np.einsum("jnp,p->jn", law.design(GRID), internal), z, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(basis.project(z), theta, rtol=1e-10, atol=1e-12)
    for j in range(len(law.terms)):
        block = basis.columns[j][:, law.block(j)]
        np.testing.assert_allclose(block.T @ block / len(block), np.eye(block.shape[1]), atol=1e-12)


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_jacobian_against_complex_step(law):
    basis = Basis.of(law, GRID)
    rng = np.random.default_rng(1)
    theta = rng.standard_normal((4, len(law.internal)))
    phi = basis.rows(GRID)[None]
    batch = Batch(phi, np.zeros(phi.shape[:3]), np.zeros((1, 27)), np.ones((1, 27)))
    f, share = evaluate(batch, theta, np.ones((4, 2), dtype=bool))
    J = jacobian(batch, share)
    for i, at in enumerate(theta):
        for p in range(len(at)):
            moved = at + 1e-30j * (np.arange(len(at)) == p)
            value = np.log(np.exp(phi[0] @ moved).sum(axis=0))
            np.testing.assert_allclose(f[i], value.real, rtol=1e-12, atol=1e-14)
            np.testing.assert_allclose(J[i, :, p], value.imag / 1e-30, rtol=1e-11, atol=1e-14)


def test_extreme_parameters_do_not_overflow():
    basis = Basis.of(L_C, GRID)
    phi = basis.rows(GRID)[None]
    batch = Batch(phi, np.zeros(phi.shape[:3]), np.zeros((1, 27)), np.ones((1, 27)))
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        f, share = evaluate(batch, np.array([[3e4, 2e4, -1e4]]), np.ones((1, 2), dtype=bool))
    assert np.isfinite(f).all() and np.isfinite(share).all()


def test_unknown_law_names_the_known_ones():
    with pytest.raises(FitError, match="L_C, L_N, L_NK"):
        named("L_M")


def test_columns_that_vary_together_are_refused():
    n = 2.0 ** np.arange(8, 14)
    with pytest.raises(FitError, match="vary together"):
        Basis.of(L_NK, {"n_latents": n, "k": np.full(6, 32.0)})
