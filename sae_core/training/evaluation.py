"""Evaluate an SAE on held-out tokens: loss, L0, and how often and how strongly each latent fires."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sae_core.activations import BatchTopK
from sae_core.model import SAE
from sae_core.training.selection import select

_ELEMENTS = 1 << 24  # pre-activations held at once: 64 MiB of float32 for any n
_PER_DECADE = 4
# Training rows that θ of batchtopk is set on. On the demo's data (n = 512, k = 8) the number of active latents of a row
# has a standard deviation of 1.2 to 1.7 k, so the mean L0 of other rows is k within about 1 % (one standard error).
THRESHOLD_ROWS = 16_384
# log10 of the outer edges of the first and the last bin. Values beyond an edge count in the bin next to it.
RANGES = {"log10_density": (-7, 0), "log10_mean_square": (-12, 4)}


@dataclass(frozen=True)
class Evaluation:
    nmse: float  # mean‖x − x̂‖² / denominator
    l0: float  # latents above 0 per token
    threshold: float | None = None  # θ of batchtopk, with which both were measured


@torch.no_grad()
def evaluate(sae: SAE, x: Tensor, denominator: float) -> Evaluation:
    """NMSE and L0 on held-out rows x, (H, d). denominator is mean‖x − x̄‖², from the manifest of the data."""
    rows = max(1, _ELEMENTS // len(sae.W_enc))
    squared, active = 0.0, 0
    for part in x.split(rows):
        values, indices = sae.encode(part)
        squared += float((sae.decode(values, indices) - part).pow(2).sum(dtype=torch.float64))
        active += int((values > 0).sum())
    threshold = max(float(sae.threshold), 0.0) if isinstance(sae, BatchTopK) else None
    return Evaluation(squared / len(x) / denominator, active / len(x), threshold)


@torch.no_grad()
def set_threshold_(sae: BatchTopK, x: Tensor) -> None:
    """Set θ to the smallest active value of these training rows, x (R, d), taken as one batch; 0 if none is active.

    So R·k − 1 of the latents are above θ on x: the active ones without the smallest itself. The value is exact.
    """
    values, _ = select(sae, x - sae.b_pre, max(1, _ELEMENTS // len(sae.W_enc)), sae.W_enc)
    smallest = values.where(values > 0, float("inf")).min()
    sae.threshold.copy_(smallest.where(smallest.isfinite(), 0.0))


@torch.no_grad()
def latent_statistics(sae: SAE, x: Tensor) -> tuple[Tensor, Tensor]:
    """The fraction of rows with z > 0, and the mean of z² over all rows, for each latent: (n,) each, float64.

    x, (H, d), holds prepared rows on the SAE's device. The mean of z² is in units of x². Both statistics are 0 for a
    latent that never fires.
    """
    n = len(sae.W_enc)
    count, square = (torch.zeros(n, dtype=torch.float64, device=x.device) for _ in range(2))
    for part in x.split(max(1, _ELEMENTS // n)):
        values, indices = sae.encode(part)
        for total, term in ((count, (values > 0).double()), (square, values.double() ** 2)):
            total += term.sum(0) if indices is None else torch.bincount(indices.flatten(), term.flatten(), n)
    return count / len(x), square / len(x)


def histogram(values: Tensor, low: int, high: int) -> dict[str, Any]:
    """Histogram of log10(values), values (n,), in quarter decades from `low` to `high`; `never` counts the zeros."""
    positive = values[values > 0].log10().clamp(low, high).cpu()
    bins = (high - low) * _PER_DECADE
    counts = torch.histc(positive, bins, low, high)
    return {
        "low": low,
        "high": high,
        "counts": counts.long().tolist(),
        "never": int((values == 0).sum()),
    }


def latent_histograms(sae: SAE, x: Tensor) -> dict[str, Any]:
    """The histograms of `latent_statistics` over all n latents: `log10_density` and `log10_mean_square`."""
    values = latent_statistics(sae, x)
    histograms = {name: histogram(v, *ends) for (name, ends), v in zip(RANGES.items(), values, strict=True)}
    return {"tokens": len(x), **histograms}
