"""AuxK: dead latents learn to reconstruct the residual of the live ones (Gao et al. 2024, A.2)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from kernels.gather_sum import gather_sum
from kernels.plan import plan
from kernels.segment_sum import segment_sum
from kernels.segment_sum_dot import segment_sum_dot
from kernels.topk import topk
from sae_core.model import SAE

# If n_dead / k_aux is above this ratio, gathers are faster than dense products over the dead latents. Measured on one
# CPU core with d, k_aux, B = 384, 256, 1024: 0.058 CPU seconds dense and 0.052 sparse at a ratio of 4; 0.26 dense and
# 0.11 sparse at 16. The value for GPUs is not measured: it follows from the 144 to 184 FLOPs per byte of an H200.
SPARSE_FROM = {"cpu": 4, "cuda": 160}


@dataclass(frozen=True)
class AuxK:
    """Settings of AuxK, which trains the k_aux largest dead latents of each row with weight α."""

    dead: Tensor  # indices of the dead latents, (n_dead,)
    k_aux: int
    alpha: float  # α
    elements: int  # how many pre-activations of dead latents are held at once


@dataclass
class Gradients:
    """The gradients of a step so far, to which AuxK adds its own."""

    dec: Tensor  # ∂W_dec, (n, d)
    enc: Tensor  # ∂W_enc, (n, d)
    latent: Tensor  # Σ_b ∂pre of each latent, (n,)


def by_gathers(n_dead: int, k_aux: int, device_type: str) -> bool:
    """Whether AuxK gathers the k_aux rows chosen for each token rather than multiplying by all dead rows."""
    return n_dead > SPARSE_FROM[device_type] * k_aux


def add_auxk_(sae: SAE, centred: Tensor, error: Tensor, auxk: AuxK, grads: Gradients) -> Tensor:
    """Add AuxK's gradients and return L_aux = mean‖e − ê‖² / mean‖e − ē‖².

    e = x − x̂ = −error is a constant here, and ê = Σ_j z_j W_dec[j] over the top k_aux dead latents. ê does not include
    b_pre; two public trainers have the bug of adding it again.  centred = x − b_pre and error have shape (B, d).
    """
    dead, k_aux = auxk.dead, auxk.k_aux
    target = -error
    spread = (target - target.mean(0)).pow(2).sum(1).mean()
    scale = 2 * auxk.alpha / (len(target) * spread)
    part = _sparse_ if by_gathers(len(dead), k_aux, dead.device.type) else _dense_
    rows = max(1, auxk.elements // len(dead))
    squared = torch.zeros((), dtype=target.dtype, device=target.device)
    for c, e in zip(centred.split(rows), target.split(rows), strict=True):
        squared += part(sae, c, e, dead, k_aux, scale, grads)
    # After a perfect reconstruction the spread is 0; 0/0 counts as no AuxK loss, as in released code (nan_to_num).
    return (squared / len(target) / spread).nan_to_num(0.0)


def _pre_activations(sae: SAE, centred: Tensor, dead: Tensor) -> Tensor:
    return F.linear(centred, sae.W_enc[dead], None if sae.b_enc is None else sae.b_enc[dead])


def _dense_(
    sae: SAE, centred: Tensor, target: Tensor, dead: Tensor, k_aux: int, scale: Tensor, grads: Gradients
) -> Tensor:
    """Use dense products over all dead rows, which are few when AuxK works. Returns Σ_b ‖e − ê‖²."""
    z = _pre_activations(sae, centred, dead)
    if k_aux < len(dead):
        values, indices = topk(z, k_aux)
        z = torch.zeros_like(z).scatter_(1, indices.long(), values)
    z = z.relu()
    w_dec = sae.W_dec[dead]
    miss = z @ w_dec - target
    g = (miss * scale).nan_to_num(0.0, 0.0, 0.0)
    d_z = (g @ w_dec.T) * (z > 0)
    grads.dec.index_add_(0, dead, z.T @ g)
    grads.enc.index_add_(0, dead, d_z.T @ centred)
    grads.latent.index_add_(0, dead, d_z.sum(0))
    return miss.pow(2).sum()


def _sparse_(
    sae: SAE, centred: Tensor, target: Tensor, dead: Tensor, k_aux: int, scale: Tensor, grads: Gradients
) -> Tensor:
    """The same as `_dense_`, by gathers of k_aux rows per token."""
    values, indices = topk(_pre_activations(sae, centred, dead), k_aux)
    z, w_dec = values.relu(), sae.W_dec[dead]
    miss = gather_sum(indices, z, w_dec) - target
    g = (miss * scale).nan_to_num(0.0, 0.0, 0.0)
    entries = plan(indices, len(dead))
    d_dec, d_z = segment_sum_dot(entries, z, g, w_dec)
    d_z = d_z * (z > 0)
    grads.dec.index_add_(0, dead, d_dec)
    grads.enc.index_add_(0, dead, segment_sum(entries, d_z, centred))
    grads.latent.index_add_(0, dead, segment_sum(entries, d_z, centred.new_ones(len(centred), 1))[:, 0])
    return miss.pow(2).sum()
