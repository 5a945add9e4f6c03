"""Sweeps with a known truth in the shape of runs.parquet and curves.parquet: n × lr × batch × k × seed."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd

D_MODEL = 64
N = tuple(int(n) for n in 2.0 ** np.arange(8, 14))
LRS = tuple(1e-4 * 2.0 ** np.arange(-4, 7))


@dataclass(frozen=True)
class Sweep:
    """L(n, D, lr, B) = L∞(n)·(1 + p·ln²(lr/lr_N)) + S·(D_eff/n^0.6)^−g, D_eff = D·exp(−s·ln²(lr/lr_C))·(B/1024)^−b.

    L∞(n) = E + A·n^−α. lr_N(n) = 0.004·n^−1/2 is best at convergence, lr_C = ratio·lr_N the fastest.
    noise: relative, one draw a run; batch: b, it slows learning and moves no limit.
    """

    E: float = 0.1
    A: float = 2.0
    alpha: float = 0.3
    p: float = 0.005
    S: float = 60.0
    g: float = 0.5
    s: float = 0.2
    ratio: float = 4.0
    batch: float = 0.0
    noise: float = 0.0
    epsilon: float = 0.01
    k_floor: float = 0.0

    def limit(self, n, lr, k=32):
        """L∞ of a run."""
        floor = self.E * (k / 32) ** -self.k_floor
        return (floor + self.A * n**-self.alpha) * (1 + self.p * np.log(lr / self.lr_N(n)) ** 2)

    def lr_N(self, n):
        return 0.004 * n**-0.5

    def loss(self, n, D, lr, B=1024, k=32):
        speed = np.exp(-self.s * np.log(lr / (self.ratio * self.lr_N(n))) ** 2) * (B / 1024) ** -self.batch
        return self.limit(n, lr, k) + self.S * (D * speed / n**0.6) ** -self.g

    def tokens(self, n, lr, B=1024, k=32):
        """D at which L = (1 + ε)·L∞."""
        speed = np.exp(-self.s * np.log(lr / (self.ratio * self.lr_N(n))) ** 2) * (B / 1024) ** -self.batch
        return n**0.6 / speed * (self.S / (self.epsilon * self.limit(n, lr, k))) ** (1 / self.g)

    def lr_at(self, n, D):
        """The best lr of a budget, by search."""
        lr = np.geomspace(1e-6, 1, 20_001)
        return float(lr[np.argmin(self.loss(n, D, lr))])

    def tables(
        self,
        ns: Sequence[int] = N,
        lrs: Sequence[float] = LRS,
        batches: Sequence[int] = (1024,),
        ks: Sequence[int] = (32,),
        seeds: int = 1,
        beyond: float = 1.5,
        rng: int = 0,
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """runs and curves; every run trains to `beyond` times its tokens to convergence."""
        random = np.random.default_rng(rng)
        runs, curves = [], []
        for n, lr, B, k, seed in product(ns, lrs, batches, ks, range(seeds)):
            factor = np.exp(self.noise * random.standard_normal())
            D = np.geomspace(1e4, beyond * self.tokens(n, lr, B, k), 60)
            nmse = self.loss(n, D, lr, B, k) * factor
            run = {
                "run_id": f"{n}-{lr:.3g}-{B}-{k}-{seed}",
                "data_fingerprint": "f",
                "d_model": D_MODEL,
                "n_latents": n,
                "k": k,
                "activation": "topk",
                "lr": lr,
                "lr_schedule": "constant",
                "batch_tokens": B,
                "seed": seed,
            }
            flops = {"flops_dense": 12.0 * n * D_MODEL * D, "flops_sparse": (2.0 * n + 8 * k) * D_MODEL * D}
            curves.append(pd.DataFrame({**run, "step": D / B, "tokens": D, "nmse": nmse, **flops}))
            runs.append(
                {
                    **run,
                    "state": "done",
                    "stop": "budget",
                    "epsilon": self.epsilon,
                    "converged": beyond >= 1,
                    "tokens": D[-1],
                    "nmse": nmse[-1],
                    "nmse_inf": self.limit(n, lr, k) * factor,
                    "nmse_inf_se": 0.001 * self.limit(n, lr, k),
                    **{name: values[-1] for name, values in flops.items()},
                }
            )
        return pd.DataFrame(runs), pd.concat(curves, ignore_index=True)
