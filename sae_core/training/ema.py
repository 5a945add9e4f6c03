"""Exponential moving average of the weights, bias-corrected like Adam (Gao et al. 2024, A.5)."""

from collections.abc import Container, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from sae_core.model import SAE


class EMA:
    """m ← β m + (1 − β) θ from m = 0; the averaged weights are m / (1 − β^t)."""

    def __init__(self, sae: SAE, beta: float) -> None:
        self.sae, self.beta, self.t = sae, beta, 0
        self.m = {name: torch.zeros_like(p) for name, p in sae.named_parameters()}

    @torch.no_grad()
    def update(self, done: Container[str] = ()) -> None:
        """Add the weights to the average. done: names of the tables that the optimizer has already added."""
        self.t += 1
        for name, p in self.sae.named_parameters():
            if name not in done:
                self.m[name].lerp_(p, 1 - self.beta)

    def weights(self) -> dict[str, Tensor]:
        """The averaged weights by parameter name, after at least one update."""
        return {name: m / (1 - self.beta**self.t) for name, m in self.m.items()}

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside the block the SAE has the averaged weights; afterwards its own again."""
        live = {name: p.data for name, p in self.sae.named_parameters()}
        averaged = self.weights()
        try:
            for name, p in self.sae.named_parameters():
                p.data = averaged[name]
            yield
        finally:
            for name, p in self.sae.named_parameters():
                p.data = live[name]
