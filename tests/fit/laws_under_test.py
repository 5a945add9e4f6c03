"""For every law: parameters like those found for SAEs, and rows that identify them."""

import numpy as np

from fit.law.laws import named
from fit.law.rows import make_rows

N = 2.0 ** np.arange(9, 19)
JOINT = {"alpha": -0.42, "beta_k": 0.24, "beta_n": -0.027, "gamma": -0.038}
JOINT_FLOOR = {"zeta": -1.32, "eta": -0.096}
POWER = {"E": 0.15, "A": 2.0, "alpha": 0.2}
TRUTH = {
    "L_N": POWER,
    "L_C": {"E": 0.09, "A": 40.0, "alpha": 0.12},
    "L_N_pure": {"A": 2.0, "alpha": 0.2},
    "L_C_pure": {"A": 40.0, "alpha": 0.12},
    "L_N_broken": {"A": 2.0, "alpha": 0.25, "delta": -0.15, "N0": 6000.0, "w": 0.5},
    "L_C_broken": {"A": 40.0, "alpha": 0.1, "delta": 0.1, "C0": 5e17, "w": 0.6},
    "L_NK": {**JOINT, **JOINT_FLOOR},
    "L_NK_pure": JOINT,
    "L_ND": {**POWER, "B": 30.0, "beta": 0.3},
    "L_ND_cross": {**POWER, "B": 30.0, "rho": 0.2, "beta": 0.5},
    "L_NDK": {**JOINT, "B": 30.0, "delta": 0.3, **JOINT_FLOOR},
    "T_N": {"T0": 2e6, "g": 0.62},
    "LR_N": {"A": 0.03, "alpha": 0.5},
    "N_C": {"A": 3e-5, "a": 0.52},
    "D_C": {"A": 2e-3, "a": 0.48},
    "LR_C": {"A": 4.0, "alpha": 0.25},
    "LR_ND": {"A": 4.0, "alpha": 0.4, "beta": 0.3},
    "LR_NDB": {"A": 0.2, "alpha": 0.4, "beta": 0.3, "gamma": 0.5},
    "LR_NR": {"A": 0.03, "alpha": 0.5, "rho": 4.0},
}
C = {"flops": np.geomspace(1e15, 1e20, 16)}
NK = {"n_latents": np.repeat(N, 3), "k": np.tile([16.0, 64.0, 256.0], 10)}
ND = {"n_latents": np.repeat(N, 4), "tokens": np.tile(np.geomspace(1e6, 1e9, 4), 10)}
NDK = {name: np.repeat(x, 3) for name, x in ND.items()} | {"k": np.tile([16.0, 64.0, 256.0], 40)}
NR = {"n_latents": np.repeat(N, 2), "compute": np.tile([0.0, 1.0], 10)}
NDB = {name: np.repeat(x, 3) for name, x in ND.items()} | {
    "batch_tokens": np.tile([256.0, 1024.0, 4096.0], 40)
}
WIDE = {"n_latents": np.geomspace(2**8, 2**18, 21)}
INPUTS = {
    **dict.fromkeys(["L_C", "L_C_pure", "L_C_broken", "N_C", "D_C", "LR_C"], C),
    **dict.fromkeys(["L_N", "L_N_pure", "T_N", "LR_N"], {"n_latents": N}),
    **dict.fromkeys(["L_NK", "L_NK_pure"], NK),
    "L_N_broken": WIDE,
    **dict.fromkeys(["L_ND", "L_ND_cross", "LR_ND"], ND),
    "L_NDK": NDK,
    "LR_NDB": NDB,
    "LR_NR": NR,
}


def noisy(law, scale=0.01, seed=0, x=None):
    """Losses with log-normal noise around the law with its parameters in TRUTH."""
    y = named(law).loss(TRUTH[law], INPUTS[law] if x is None else x)
    return y * np.exp(scale * np.random.default_rng(seed).standard_normal(len(y)))


def rows_of(law, scale=0.003, seed=0, x=None, cluster=None):
    """Rows of such losses."""
    x = INPUTS[law] if x is None else x
    return make_rows(named(law), x, noisy(law, scale, seed, x), cluster=cluster)
