"""Adam keeps decoder rows on the sphere, and moves them only along it."""

import pytest
import torch

from sae_core.config import SAEConfig, TrainConfig
from sae_core.model import SAE
from sae_core.optimizer import Optimizer


def sae_with_gradients(seed: int = 0) -> SAE:
    sae = SAE(SAEConfig(n_latents=12, k=2), 5).init_(torch.zeros(5), seed=0)
    generator = torch.Generator().manual_seed(seed)
    for p in sae.parameters():
        p.grad = torch.randn(p.shape, generator=generator)
    return sae


def test_the_first_step_is_adams_with_the_parallel_part_removed():
    sae = sae_with_gradients()
    before, grad = sae.W_dec.detach().clone(), sae.W_dec.grad.clone()
    tangent = grad - (grad * before).sum(1, keepdim=True) * before
    Optimizer(sae, TrainConfig(lr=1e-2)).step()
    moved = before - 1e-2 * tangent.sign()  # Adam's first step is the sign of the gradient
    expected = torch.nn.functional.normalize(moved, dim=1)
    assert torch.allclose(sae.W_dec, expected, atol=1e-5)
    assert torch.allclose(sae.W_dec.norm(dim=1), torch.ones(12), atol=1e-6)


def test_the_norm_it_returns_is_of_the_projected_gradients():
    sae = sae_with_gradients()
    w, grad = sae.W_dec.detach(), sae.W_dec.grad
    tangent = grad - (grad * w).sum(1, keepdim=True) * w
    rest = [p.grad for name, p in sae.named_parameters() if name != "W_dec"]
    expected = torch.cat([g.flatten() for g in [tangent, *rest]]).norm()
    assert Optimizer(sae, TrainConfig(lr=1e-3)).step().item() == pytest.approx(expected.item(), rel=1e-5)


def test_clipping_scales_all_gradients_together():
    sae = sae_with_gradients()
    norm = Optimizer(sae, TrainConfig(lr=1e-3, clip_grad=0.5)).step()
    clipped = torch.cat([p.grad.flatten() for p in sae.parameters()]).norm()
    assert norm > 0.5
    assert clipped.item() == pytest.approx(0.5, rel=1e-3)


def test_moments_come_back_exactly():
    a, b = sae_with_gradients(), sae_with_gradients()
    one, two = Optimizer(a, TrainConfig(lr=1e-2)), Optimizer(b, TrainConfig(lr=1e-2))
    one.step()
    with torch.no_grad():
        for p, q in zip(a.parameters(), b.parameters(), strict=True):
            q.copy_(p)
    two.load({k: v.clone() for k, v in one.tensors().items()})
    for sae, optimizer in ((a, one), (b, two)):
        for p, g in zip(sae.parameters(), sae_with_gradients(seed=1).parameters(), strict=True):
            p.grad = g.grad
        optimizer.step()
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
