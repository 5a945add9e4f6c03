"""Exponential moving average of the weights, bias-corrected like Adam (Gao et al. 2024, A.5)."""

from collections.abc import Container, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from sae_core.model import SAE


class EMA:
    """m ← β m + (1 − β) w from m = 0; the averaged weights are m / (1 − β^t).

    `buffers` are the averaged SAE's own, such as the θ of batchtopk: they are not averages, but set for these weights.
    """

    def __init__(self, sae: SAE, beta: float) -> None:
        self.sae, self.beta, self.t = sae, beta, 0
        self.m = {name: torch.zeros_like(p) for name, p in sae.named_parameters()}
        self.buffers = {name: b.clone() for name, b in sae.named_buffers()}

    @torch.no_grad()
    def update(self, done: Container[str] = ()) -> None:
        """Add the weights to the average. done: names of the tables that the optimizer has already added."""
        self.t += 1
        for name, p in self.sae.named_parameters():
            if name not in done:
                self.m[name].lerp_(p, 1 - self.beta)

    def weights(self) -> dict[str, Tensor]:
        """The averaged weights by parameter name, after at least one update, and the buffers by theirs."""
        return {name: m / (1 - self.beta**self.t) for name, m in self.m.items()} | self.buffers

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside the block the SAE has the averaged weights and their buffers; afterwards its own again.

        A buffer that is written in the block is written to `buffers`.
        """
        tensors = {**dict(self.sae.named_parameters()), **dict(self.sae.named_buffers())}
        live = {name: tensor.data for name, tensor in tensors.items()}
        averaged = self.weights()
        try:
            for name, tensor in tensors.items():
                tensor.data = averaged[name]
            yield
        finally:
            for name, tensor in tensors.items():
                tensor.data = live[name]
