"""NMSE is the centred one, and does not depend on how the held-out rows are cut."""

import pytest
import torch

from sae_core.config import SAEConfig
from sae_core.model import SAE
from sae_core.training import evaluate as module
from sae_core.training.evaluate import evaluate


def test_predicting_the_mean_gives_one():
    x = torch.randn(1000, 8) + 5
    sae = SAE(SAEConfig(n_latents=4, k=1), 8).init_(x.mean(0), seed=0)
    with torch.no_grad():
        sae.W_enc.zero_()
    denominator = float((x - x.mean(0)).pow(2).sum(1).mean())
    assert evaluate(sae, x, denominator).nmse == pytest.approx(1.0, rel=1e-5)
    assert evaluate(sae, x, denominator).l0 == 0


def test_cut_into_parts(monkeypatch):
    x = torch.randn(333, 8)
    sae = SAE(SAEConfig(n_latents=16, k=3), 8).init_(torch.zeros(8), seed=0)
    whole = evaluate(sae, x, 1.0)
    monkeypatch.setattr(module, "_ELEMENTS", 16 * 10)
    parts = evaluate(sae, x, 1.0)
    assert parts.nmse == pytest.approx(whole.nmse, rel=1e-6)
    assert parts.l0 == whole.l0
