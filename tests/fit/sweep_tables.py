"""Sweeps with a known truth in the shape of runs.parquet and curves.parquet: n × lr × batch × k × seed."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd

D_MODEL = 64
N = tuple(2**e for e in range(8, 14))
LRS = tuple(1e-4 * 2.0 ** np.arange(-4, 7))
EVALUATIONS = 60


@dataclass(frozen=True)
class Sweep:
    """L(n, D, lr, B, k) = L∞·(1 + p·ln²(lr/lr_N)) + S·n^0.6/(D·v), L∞ = E·(k/32)^−κ + A·n^−α.

    v = exp(−s·ln²(lr/(fastest·lr_N)))·(B/1024)^−b is the speed of learning. lr_N(n) = 0.004·n^−1/2 is best at
    convergence, `fastest` times it learns fastest; in between, at the compute-optimal budget, ρ·lr_N is best, see
    `ratio`: 4.0 for the numbers below. b moves L(C) and no limit. noise: relative, one draw for all of a run.
    """

    E: float = 0.1
    A: float = 2.0
    alpha: float = 0.3
    p: float = 0.005
    S: float = 3000.0
    s: float = 0.2
    fastest: float = 5.3
    b: float = 0.0
    noise: float = 0.0
    epsilon: float = 0.01
    kappa: float = 0.0

    def lr_N(self, n):
        return 0.004 * n**-0.5

    def limit(self, n, lr, k=32):
        """L∞ of a run."""
        floor = self.E * (k / 32) ** -self.kappa
        return (floor + self.A * n**-self.alpha) * (1 + self.p * np.log(lr / self.lr_N(n)) ** 2)

    def _speed(self, n, lr, B):
        return np.exp(-self.s * np.log(lr / (self.fastest * self.lr_N(n))) ** 2) * (B / 1024) ** -self.b

    def loss(self, n, D, lr, B=1024, k=32):
        return self.limit(n, lr, k) + self.S * n**0.6 / (D * self._speed(n, lr, B))

    def tokens(self, n, lr, B=1024, k=32):
        """D at which L = (1 + ε)·L∞."""
        return self.S * n**0.6 / (self._speed(n, lr, B) * self.epsilon * self.limit(n, lr, k))

    @staticmethod
    def seen(beyond=1.5):
        """The share of `tokens` at which these curves, cut at `beyond` times them, seem to be within ε.

        Their gap falls as 1/D, so all of the last doubling's fall is still to come, and `fit.converged.tails` takes
        half of it: L∞ is taken to be ε/2·beyond above the limit.
        """
        return 1 / (1 + 1 / (2 * beyond))

    def lr_at(self, n, D):
        """The best lr of a budget, by search."""
        lr = np.geomspace(1e-6, 1, 20_001)
        return float(lr[np.argmin(self.loss(n, D, lr))])

    def flops(self, n, D, k=32):
        """C in the sparse convention."""
        return (2.0 * n + 8 * k) * D_MODEL * D

    def compute_optimal(self, n, lrs=LRS):
        """The C from which n is better than n/2, and that from which 2n is better, each at its best of the lr."""
        C = np.geomspace(1e9, 1e18, 20_001)
        half, own, double = (
            np.min([self.loss(m, C / self.flops(m, 1.0), lr) for lr in lrs], axis=0)
            for m in (n / 2, n, 2 * n)
        )
        return float(C[np.argmax(own < half)]), float(C[np.argmax(double < own)])

    def ratio(self, n):
        """ρ: the best lr at the middle of the C at which n is optimal, over lr_N."""
        middle = np.sqrt(np.prod(self.compute_optimal(n)))
        return self.lr_at(n, middle / self.flops(n, 1.0)) / self.lr_N(n)

    def converged(self, n, lr, beyond, k=32):
        """L at the end of a run that trained `beyond` times its tokens to convergence; lowest at lr_N."""
        return self.limit(n, lr, k) * (1 + self.epsilon / beyond)

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
            run, curve = self._run(n, lr, B, k, seed, beyond, factor)
            runs.append(run)
            curves.append(curve)
        return pd.DataFrame(runs), pd.concat(curves, ignore_index=True)

    def _run(self, n, lr, B, k, seed, beyond, factor):
        """A row of runs, and the curve of one, log-spaced in tokens from an untrained loss of about 1 on."""
        D = np.geomspace(self.S * n**0.6, beyond * self.tokens(n, lr, B, k), EVALUATIONS)
        nmse = self.loss(n, D, lr, B, k) * factor
        run = {"run_id": f"{n}-{lr:.3g}-{B}-{k}-{seed}", "study": "synthetic", "data": "synthetic"}
        run |= {"data_fingerprint": "f", "d_model": D_MODEL, "n_latents": n, "k": k, "activation": "topk"}
        run |= {"lr": lr, "lr_schedule": "constant", "batch_tokens": B, "seed": seed}
        flops = {"flops_dense": 12.0 * n * D_MODEL * D, "flops_sparse": self.flops(n, D, k)}
        curve = pd.DataFrame({**run, "step": D / B, "tokens": D, "nmse": nmse, **flops})
        run |= {"state": "done", "stop": "budget", "epsilon": self.epsilon, "converged": beyond >= 1}
        run |= {"tokens": D[-1], "steps": D[-1] / B, "nmse": nmse[-1], **{c: v[-1] for c, v in flops.items()}}
        limit = self.limit(n, lr, k) * factor
        run |= {"nmse_inf": limit, "nmse_inf_se": 0.001 * limit}
        return run, curve.drop(columns=["data_fingerprint", "activation"])
