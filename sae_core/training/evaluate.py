"""Held-out numbers of an SAE."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sae_core.model import SAE

_ELEMENTS = 1 << 24  # pre-activations held at once: 64 MiB of float32 whatever n is


@dataclass(frozen=True)
class Evaluation:
    nmse: float  # mean‖x − x̂‖² / denominator
    l0: float  # latents above 0 per token


@torch.no_grad()
def evaluate(sae: SAE, x: Tensor, denominator: float) -> Evaluation:
    """NMSE and L0 on held-out rows.  x: (H, d);  denominator: mean‖x − x̄‖², from the data's manifest."""
    rows = max(1, _ELEMENTS // len(sae.W_enc))
    squared, active = 0.0, 0
    for part in x.split(rows):
        values, indices = sae.encode(part)
        squared += float((sae.decode(values, indices) - part).pow(2).sum(dtype=torch.float64))
        active += int((values > 0).sum())
    return Evaluation(squared / len(x) / denominator, active / len(x))
