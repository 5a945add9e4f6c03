"""The SAE starts as the paper says, and encodes and decodes as its equation does."""

import torch

from sae_core.config import SAEConfig
from sae_core.model import SAE


def made(scale: str = "norm") -> SAE:
    return SAE(SAEConfig(n_latents=64, k=8), 16).init_(torch.full((16,), 0.5), seed=0, scale=scale)


def test_decoder_rows_have_unit_norm_and_the_encoder_is_tied():
    sae = made()
    assert torch.allclose(sae.W_dec.norm(dim=1), torch.ones(64), atol=1e-6)
    ratio = sae.W_enc / sae.W_dec
    assert torch.allclose(ratio, ratio[0, 0].expand_as(ratio), rtol=1e-4)
    assert torch.equal(made("tied").W_enc, made("tied").W_dec)


def test_reconstructions_start_at_the_norm_of_their_inputs():
    sae = made()
    x = torch.nn.functional.normalize(torch.randn(4096, 16), dim=1) + 0.5
    norm = (sae(x) - sae.b_pre).norm(dim=1).mean().item()
    assert abs(norm - 1) < 0.05


def test_at_most_k_latents_are_on_and_none_below_zero():
    sae = made()
    values, indices = sae.encode(torch.randn(100, 16))
    assert values.shape == indices.shape == (100, 8)
    assert (values >= 0).all()


def test_decode_is_the_dense_product():
    sae = made()
    x = torch.randn(50, 16)
    values, indices = sae.encode(x)
    z = torch.zeros(50, 64).scatter_(1, indices, values)
    assert torch.allclose(sae(x), z @ sae.W_dec + sae.b_pre, atol=1e-5)


def test_seed_decides_the_start():
    a = SAE(SAEConfig(n_latents=8, k=2), 4).init_(torch.zeros(4), seed=1)
    b = SAE(SAEConfig(n_latents=8, k=2), 4).init_(torch.zeros(4), seed=2)
    assert not torch.equal(a.W_dec, b.W_dec)
