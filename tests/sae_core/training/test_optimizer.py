"""Adam keeps decoder rows on the sphere, and moves them only along it."""

import pytest
import torch

from sae_core.config import SAEConfig, TrainConfig
from sae_core.model import SAE
from sae_core.training.ema import EMA
from sae_core.training.optimizer import Optimizer


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


def by_torch(sae: SAE, adam: torch.optim.Adam, clip: float | None) -> torch.Tensor:
    """The step as it is written: project, clip, Adam, renormalise, each over whole tensors."""
    w, grad = sae.W_dec, sae.W_dec.grad
    with torch.no_grad():
        grad -= (w * grad).sum(1, keepdim=True) * w
        norm = torch.nn.utils.clip_grad_norm_(sae.parameters(), torch.inf if clip is None else clip)
        adam.step()
        w.copy_(torch.nn.functional.normalize(w, dim=1))
    return norm


@pytest.mark.parametrize("clip", [None, 0.5, 1e6])
def test_ten_steps_are_those_of_torch(clip):
    ours, theirs = sae_with_gradients(), sae_with_gradients()
    optimizer = Optimizer(ours, TrainConfig(lr=1e-2, clip_grad=clip))
    adam = torch.optim.Adam(theirs.parameters(), lr=1e-2, eps=6.25e-10)
    for seed in range(10):
        for sae in (ours, theirs):
            for p, g in zip(sae.parameters(), sae_with_gradients(seed).parameters(), strict=True):
                p.grad = g.grad
        norm = by_torch(theirs, adam, clip)
        assert optimizer.step().item() == pytest.approx(norm.item(), rel=1e-5)
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(p, q, rtol=1e-5, atol=1e-6)


def test_clipping_scales_all_gradients_together():
    sae = sae_with_gradients()
    optimizer = Optimizer(sae, TrainConfig(lr=1e-3, clip_grad=0.5))
    assert optimizer.step() > 0.5
    moments = [m for name, m in optimizer.tensors().items() if name.endswith(".exp_avg")]
    clipped = torch.cat([m.flatten() for m in moments]) / 0.1  # m = (1 − β₁)·g after the first step
    assert clipped.norm().item() == pytest.approx(0.5, rel=1e-3)


def test_the_average_is_the_one_that_is_taken_afterwards():
    a, b = sae_with_gradients(), sae_with_gradients()
    one, two = EMA(a, 0.9), EMA(b, 0.9)
    Optimizer(a, TrainConfig(lr=1e-2)).step(ema=one)
    Optimizer(b, TrainConfig(lr=1e-2)).step()
    two.update()
    assert one.t == two.t == 1
    assert all(torch.equal(one.m[name], two.m[name]) for name in two.m)


def test_narrow_copies_follow_the_weights():
    sae = sae_with_gradients()
    optimizer = Optimizer(sae, TrainConfig(lr=1e-2, precision="bf16"))
    assert Optimizer(sae, TrainConfig(lr=1e-2)).narrow == {}
    optimizer.step()
    saved = {name: p.detach().clone() for name, p in sae.named_parameters()}
    for name, copy in optimizer.narrow.items():
        assert copy.dtype == torch.bfloat16 and torch.equal(copy, saved[name].to(torch.bfloat16)), name
    state = {name: v.clone() for name, v in optimizer.tensors().items()}
    with torch.no_grad():
        sae.W_enc.mul_(2)
    optimizer.load(state)
    assert torch.equal(optimizer.narrow["W_enc"], sae.W_enc.to(torch.bfloat16))


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
