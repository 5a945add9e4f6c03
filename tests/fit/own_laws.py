"""Laws of a user, as `--law tests.fit.own_laws:WIDTH` names them."""

import numpy as np

from fit.law.law import Law, Term

SLOPES = np.geomspace(0.02, 2, 12)
WIDTH = Law(
    name="L_D",
    formula="L(N, d) = A·N^−α·d^β",
    latex=r"L(N, d) = A\,N^{-\alpha} d^{\beta}",
    inputs=("n_latents", "d_model"),
    params=("A", "alpha", "beta"),
    terms=(Term(("A", "alpha", "beta"), lambda n, d: (1.0, -n, d), (SLOPES, SLOPES)),),
    logs=frozenset({"A"}),
)
