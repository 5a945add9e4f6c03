"""Sweeps whose best use of compute is known: L = 0.1 + n^−α + D^−β with C = n·D, where N* ∝ C^a, a = β/(α + β)."""

import numpy as np
import pandas as pd

E = 0.1
SIZES = tuple(2**e for e in range(8, 15))


def sweep(
    alpha=0.3,
    beta=0.3,
    sizes=SIZES,
    seeds=1,
    rates=(1.0,),
    noise=0.0,
    first=0.03,
    longest=12.0,
    rows=45,
    seed=0,
):
    """One row an evaluation. first, longest: ends of a run in its best D. rates: lr in its best, 0.001·(n/1024)^-½.

    An lr that is off by a factor f makes the loss 2 %·(ln f)² higher. noise: of every run as a whole, relative.
    """
    rng = np.random.default_rng(seed)
    parts = []
    for n in sizes:
        D = (beta / alpha * float(n) ** alpha) ** (1 / beta) * np.geomspace(first, longest, rows)
        for rate in rates:
            for s in range(seeds):
                off = 0.02 * np.log(rate) ** 2 + noise * rng.standard_normal()
                part = {"run_id": f"{n}-{rate}-{s}", "n_latents": n, "tokens": D, "step": np.arange(rows)}
                part |= {
                    "lr": rate * 1e-3 * (n / 1024) ** -0.5,
                    "flops_sparse": n * D,
                    "flops_dense": 6 * n * D,
                }
                parts.append(pd.DataFrame({**part, "nmse": (E + n**-alpha + D**-beta) * np.exp(off)}))
    return pd.concat(parts, ignore_index=True)


def best(alpha, beta, C):
    """N*(C) and L*(C)."""
    a, G = beta / (alpha + beta), (alpha / beta) ** (1 / (alpha + beta))
    n = G * C**a
    return n, E + n**-alpha + (C / n) ** -beta
