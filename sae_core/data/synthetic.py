"""Synthetic activations: sparse sums of unit features whose frequencies follow a power law."""

import math
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sae_core.data.configs import SyntheticConfig

_CHUNK = (
    1024  # rows drawn from one random key, so that any range of tokens can be made without the ones before it
)
_SAMPLE, _HELD_OUT, _STREAM = 1, 2, 3  # first word of the random key, so that the three never share rows


class Synthetic:
    """A `Source` of fresh tokens without end.

    The sum is compound Poisson, so Cov x = l0·E[c²]·Σ_i q_i f_i f_iᵀ, and keeping exactly the n most frequent features
    leaves exactly NMSE(n) = Σ_{i>n} q_i / Σ_i q_i: the `oracle`. It is a yardstick, not a bound: with k > l0 an SAE can
    spend its spare latents on the rest. With `tail` the sum over i runs to infinity and the oracle is a straight power
    law ∝ n^−(zipf − 1); without it the law ends at n_features and steepens on the way.
    """

    def __init__(self, config: SyntheticConfig) -> None:
        config.check()
        self.config = config
        self.d_model = config.d_model
        self.fingerprint = config.fingerprint
        frequency = np.arange(1, config.n_features + 1, dtype=np.float64) ** -config.zipf
        self._q = frequency / frequency.sum()
        self._cdf = np.cumsum(self._q)
        self._missing = (
            _tail(config.n_features, config.zipf) / (_tail(0, config.zipf)) if config.tail else 0.0
        )

    @cached_property
    def features(self) -> Tensor:
        """The dictionary: (n_features, d_model), unit rows, most frequent first."""
        random = np.random.Generator(np.random.Philox(key=[0, self.config.seed]))
        f = random.standard_normal((self.config.n_features, self.d_model), dtype=np.float32)
        return F.normalize(torch.from_numpy(f), dim=1)

    @cached_property
    def denominator(self) -> float:
        mean = self.sample(65_536).double().mean(0)
        return float((self.held_out().double() - mean).pow(2).sum(1).mean())

    def rows(self, start: int, size: int, seed: int) -> Tensor:
        first, last = start // _CHUNK, (start + size - 1) // _CHUNK
        chunks = [self._chunk(_STREAM, seed, index) for index in range(first, last + 1)]
        offset = start - first * _CHUNK
        return torch.cat(chunks)[offset : offset + size]

    def held_out(self) -> Tensor:
        return self._fixed(_HELD_OUT, self.config.held_out)

    def sample(self, rows: int) -> Tensor:
        return self._fixed(_SAMPLE, rows)

    def oracle(self, n_latents: int) -> float | None:
        return self._missing + (1 - self._missing) * float(self._q[n_latents:].sum())

    def _fixed(self, kind: int, rows: int) -> Tensor:
        return torch.cat([self._chunk(kind, 0, index) for index in range(-(-rows // _CHUNK))])[:rows]

    def _chunk(self, kind: int, seed: int, index: int) -> Tensor:
        """One keyed chunk of rows: (_CHUNK, d_model). Philox is counter-based: equal keys give equal rows anywhere."""
        random = np.random.Generator(
            np.random.Philox(key=[(kind << 60) + index, (self.config.seed << 32) + seed])
        )
        active = random.poisson(self.config.l0, _CHUNK)
        total = int(active.sum())
        feature = np.searchsorted(self._cdf, random.random(total)).clip(max=self.config.n_features - 1)
        coefficient = 0.5 + random.exponential(0.5, total)
        offsets = np.concatenate(([0], np.cumsum(active)[:-1]))
        x = F.embedding_bag(
            torch.from_numpy(feature),
            self.features,
            torch.from_numpy(offsets),
            per_sample_weights=torch.from_numpy(coefficient).float(),
            mode="sum",
        )
        if not self._missing:
            return x
        # Per token the features hold l0·E[c²] = l0·1.25 of energy, a share 1 − missing of the whole.
        energy = self.config.l0 * 1.25 * self._missing / (1 - self._missing)
        noise = random.standard_normal(x.shape, dtype=np.float32) * math.sqrt(energy / self.d_model)
        return x + torch.from_numpy(noise)


def _tail(n: int, zipf: float) -> float:
    """Σ_{i>n} i^−zipf: 10,000 terms, then the Euler–Maclaurin integral and half a term (relative error < 1e-9)."""
    i = np.arange(n + 1, n + 10_001, dtype=np.float64)
    last = i[-1] + 1
    return float((i**-zipf).sum() + last ** (1 - zipf) / (zipf - 1) + last**-zipf / 2)
