"""How often and how strongly each latent of an SAE fires on held-out tokens, as histograms over the latents."""

from typing import Any

import torch
from torch import Tensor

from sae_core.model import SAE

_ELEMENTS = 1 << 24  # pre-activations held at once: 64 MiB of float32 whatever n is
_PER_DECADE = 4
# log10 of the first and the last bin's outer edges; what lies outside counts in the bin at that end.
RANGES = {"log10_density": (-7, 0), "log10_mean_square": (-12, 4)}


@torch.no_grad()
def latent_statistics(sae: SAE, x: Tensor) -> tuple[Tensor, Tensor]:
    """Of each latent the share of rows with z > 0, and the mean of z² over all rows: (n,) each, float64.

    x: (H, d) on the SAE's device. In the units of x², as prepared; a latent that never fires has 0 of both.
    """
    n = len(sae.W_enc)
    count, square = (torch.zeros(n, dtype=torch.float64, device=x.device) for _ in range(2))
    for part in x.split(max(1, _ELEMENTS // n)):
        values, indices = sae.encode(part)
        for total, of in ((count, (values > 0).double()), (square, values.double() ** 2)):
            total += of.sum(0) if indices is None else torch.bincount(indices.flatten(), of.flatten(), n)
    return count / len(x), square / len(x)


def histogram(values: Tensor, low: int, high: int) -> dict[str, Any]:
    """Counts of log10 of values, (n,), in quarter decades from `low` to `high`; `never`: of those that are 0."""
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
    found = {name: histogram(v, *ends) for (name, ends), v in zip(RANGES.items(), values, strict=True)}
    return {"tokens": len(x), **found}
