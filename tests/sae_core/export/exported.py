"""SAEs with weights like trained ones, one of every activation, for the tests of exports."""

import torch
import torch.nn.functional as F

from sae_core.activations import BatchTopK, Gated, JumpReLU, build
from sae_core.config import SAEConfig
from sae_core.data.names import Named
from sae_core.export.about import About
from sae_core.export.formats import FORMATS
from sae_core.model import SAE

N, D, K = 67, 24, 5  # n is no multiple of d: sparsify's expansion_factor cannot give it
ABOUT = About(
    model="some/model",
    layer=3,
    names={"sparsify": Named("layers.3")},
    prepare="mean_off_unit_norm",
    dataset="text",
    context=128,
)
ACTIVATIONS = ("topk", "batchtopk", "relu", "jumprelu", "gated")
HELD = [(name, activation) for name, layout in FORMATS.items() for activation in layout.holds]


@torch.no_grad()
def an_sae(activation: str, encoder_bias: bool = True, seed: int = 0, averaged: bool = False) -> SAE:
    """Untied random weights, unit decoder rows, every bias and threshold other than 0, some latents on in most rows.

    averaged: with rows a little shorter than 1, as an average of weights has them.
    """
    g = torch.Generator().manual_seed(seed)
    k = K if activation in ("topk", "batchtopk") else None
    sae = build(SAEConfig(n_latents=N, k=k, activation=activation, encoder_bias=encoder_bias), D)
    sae.W_dec.copy_(F.normalize(torch.randn(N, D, generator=g), dim=1))
    if averaged:
        sae.W_dec.mul_(1 - 0.1 * torch.rand(N, 1, generator=g))
    sae.W_enc.copy_(sae.W_dec + 0.1 * torch.randn(N, D, generator=g))
    sae.b_pre.copy_(0.3 * torch.randn(D, generator=g))
    if sae.b_enc is not None:
        sae.b_enc.copy_(0.1 * torch.randn(N, generator=g) - 0.1)
    if isinstance(sae, BatchTopK):
        sae.threshold.fill_(0.21)
    if isinstance(sae, JumpReLU):
        sae.log_threshold.copy_(torch.rand(N, generator=g).mul(0.3).add(0.01).log())
    if isinstance(sae, Gated):
        sae.r_mag.copy_(0.2 * torch.randn(N, generator=g))
        sae.b_mag.copy_(0.1 * torch.randn(N, generator=g))
    return sae


def inputs(rows: int = 257, seed: int = 1) -> torch.Tensor:
    """Random vectors of unit norm: (rows, D)."""
    return F.normalize(torch.randn(rows, D, generator=torch.Generator().manual_seed(seed)), dim=1)


@torch.no_grad()
def dense_latents(sae: SAE, x: torch.Tensor) -> torch.Tensor:
    """(rows, N), as the peers give them."""
    values, indices = sae.encode(x)
    return values if indices is None else torch.zeros(len(x), N).scatter_(1, indices, values)
