"""The average is bias-corrected: after one step it is the weights, later their weighted mean."""

import torch

from sae_core.config import SAEConfig
from sae_core.model import SAE
from sae_core.training.ema import EMA


def test_bias_corrected_mean():
    sae = SAE(SAEConfig(n_latents=3, k=1), 2).init_(torch.zeros(2), seed=0)
    ema = EMA(sae, beta=0.9)
    seen = []
    for step in range(4):
        with torch.no_grad():
            sae.W_enc.fill_(float(step + 1))
        ema.update()
        seen.append(float(step + 1))
        weights = [0.9 ** (step - i) for i in range(step + 1)]
        mean = sum(w * v for w, v in zip(weights, seen, strict=True)) / sum(weights)
        assert torch.allclose(ema.weights()["W_enc"], torch.full((3, 2), mean), atol=1e-5)


def test_applied_swaps_and_gives_back():
    sae = SAE(SAEConfig(n_latents=3, k=1), 2).init_(torch.zeros(2), seed=0)
    ema = EMA(sae, beta=0.5)
    ema.update()
    with torch.no_grad():
        sae.W_enc.add_(1)
    live = sae.W_enc.detach().clone()
    with ema.applied():
        assert torch.allclose(sae.W_enc, live - 1, atol=1e-6)
    assert torch.equal(sae.W_enc, live)
