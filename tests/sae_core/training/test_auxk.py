"""AuxK by gathers equals AuxK by dense products, in any number of pieces; test_gradients compares it with autograd."""

import pytest
import torch

from sae_core.config import SAEConfig
from sae_core.model import SAE
from sae_core.training import auxk
from sae_core.training.auxk import AuxK, Gradients, add_auxk_

N, D, B = 50, 8, 19


def gradients(sparse: bool, elements: int, monkeypatch) -> tuple[torch.Tensor, Gradients]:
    g = torch.Generator().manual_seed(0)
    sae = SAE(SAEConfig(n_latents=N, k=3, encoder_bias=True), D).double().init_(torch.zeros(D), 0)
    centred, error = (torch.randn(B, D, generator=g, dtype=torch.float64) for _ in range(2))
    dead = torch.randperm(N, generator=g)[:30].sort().values
    monkeypatch.setitem(auxk.SPARSE_FROM, "cpu", 0 if sparse else 1000)
    grads = Gradients(*(torch.zeros(*shape, dtype=torch.float64) for shape in ((N, D), (N, D), (N,))))
    with torch.no_grad():
        loss = add_auxk_(sae, centred, error, AuxK(dead, 4, 0.3, elements), grads)
    return loss, grads


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("elements", [1, 30 * 7, 30 * B])
def test_gathers_dense_products_and_pieces_agree(sparse, elements, monkeypatch):
    loss, whole = gradients(False, 30 * B, monkeypatch)
    found, parts = gradients(sparse, elements, monkeypatch)
    assert found == pytest.approx(float(loss), rel=1e-12) and float(loss) > 0
    for name in ("dec", "enc", "latent"):
        expected = getattr(whole, name)
        assert expected.any() and torch.allclose(getattr(parts, name), expected, rtol=1e-9, atol=1e-14), name
