"""The explicit gradients of a step equal autograd's of the loss as the paper writes it, in float64."""

import pytest
import torch

from sae_core.config import SAEConfig
from sae_core.model import SAE
from sae_core.training.gradients import StepOptions, gradients_

D, N, K, B = 9, 40, 5, 24


def sae_and_batch(bias: bool) -> tuple[SAE, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    sae = SAE(SAEConfig(n_latents=N, k=K, encoder_bias=bias), D).double()
    sae.init_(torch.randn(D, generator=generator, dtype=torch.float64), seed=1)
    with torch.no_grad():
        sae.W_enc.add_(0.1 * torch.randn(N, D, generator=generator, dtype=torch.float64))
        if sae.b_enc is not None:
            sae.b_enc.copy_(0.3 * torch.randn(N, generator=generator, dtype=torch.float64))
    return sae, torch.randn(B, D, generator=generator, dtype=torch.float64)


def loss_as_written(sae, x, denominator, dead, k_aux, alpha):
    """Dense, with autograd through every product: mean‖x − x̂‖²/denominator + α mean‖e − ê‖²/mean‖e − ē‖²."""
    pre = (x - sae.b_pre) @ sae.W_enc.T + (0 if sae.b_enc is None else sae.b_enc)
    top = pre.topk(K, dim=1)
    z = torch.zeros_like(pre).scatter(1, top.indices, top.values.relu())
    x_hat = z @ sae.W_dec + sae.b_pre
    loss = (x - x_hat).pow(2).sum(1).mean() / denominator
    if dead is None:
        return loss
    e = (x - x_hat).detach()
    chosen = pre[:, dead].topk(min(k_aux, len(dead)), dim=1)
    z_aux = torch.zeros(len(x), len(dead), dtype=x.dtype).scatter(1, chosen.indices, chosen.values.relu())
    e_hat = z_aux @ sae.W_dec[dead]
    return loss + alpha * (e - e_hat).pow(2).sum(1).mean() / (e - e.mean(0)).pow(2).sum(1).mean()


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("dead", "k_aux"), [(None, 1), ([3, 7, 21, 39], 2), ([3, 7], 8), ([5], 1)])
def test_against_autograd(bias, dead, k_aux):
    sae, x = sae_and_batch(bias)
    dead = None if dead is None else torch.tensor(dead)
    output = gradients_(sae, x, StepOptions(3.0, k_aux, auxk_coef=0.25), dead)
    ours = {name: p.grad.clone() for name, p in sae.named_parameters()}
    sae.zero_grad()
    loss = loss_as_written(sae, x, 3.0, dead, k_aux, 0.25)
    loss.backward()
    for name, p in sae.named_parameters():
        assert torch.allclose(ours[name], p.grad, rtol=1e-9, atol=1e-12), name
    total = output.nmse + (0 if output.auxk is None else 0.25 * output.auxk)
    assert total.item() == pytest.approx(loss.item(), rel=1e-12)


def test_autograd_through_the_model_agrees_too():
    sae, x = sae_and_batch(True)
    gradients_(sae, x, StepOptions(2.0))
    ours = {name: p.grad.clone() for name, p in sae.named_parameters()}
    sae.zero_grad()
    ((x - sae(x)).pow(2).sum(1).mean() / 2.0).backward()
    for name, p in sae.named_parameters():
        assert torch.allclose(ours[name], p.grad, rtol=1e-9, atol=1e-12), name


def test_used_are_the_latents_above_zero_in_some_row():
    sae, x = sae_and_batch(False)
    used = gradients_(sae, x, StepOptions(1.0)).used
    values, indices = sae.encode(x)
    assert set(used.nonzero().flatten().tolist()) == set(indices[values > 0].tolist())
    assert 0 < used.sum() < N, "the test needs latents of both kinds"


def test_a_perfect_reconstruction_gives_no_auxk_gradient_instead_of_nan():
    sae = SAE(SAEConfig(n_latents=4, k=1), 3).double().init_(torch.zeros(3), seed=0)
    x = torch.zeros(6, 3, dtype=torch.float64)
    gradients_(sae, x, StepOptions(1.0, k_aux=1, auxk_coef=0.5), torch.tensor([1]))
    assert all(torch.isfinite(p.grad).all() for p in sae.parameters())
