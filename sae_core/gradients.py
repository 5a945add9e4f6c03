"""Loss and gradients of one step, written out: three gather passes and one sort for four dense products."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from kernels.gather_dot import gather_dot
from kernels.gather_sum import gather_sum
from kernels.plan import plan
from kernels.segment_sum import segment_sum
from sae_core.model import SAE


@dataclass(frozen=True)
class StepOutput:
    """Scalars stay tensors, so that a CUDA step never waits for the host."""

    nmse: Tensor  # mean‖x − x̂‖² / denominator on this batch
    auxk: Tensor | None  # normalized AuxK loss; None when no latent was dead
    active: Tensor  # (B, k) latent indices, −1 where the ReLU gave 0


@torch.no_grad()
def gradients_(
    sae: SAE,
    x: Tensor,
    denominator: float,
    dead: Tensor | None = None,
    k_aux: int = 0,
    auxk_coef: float = 0.0,
) -> StepOutput:
    """Write the gradient of  L = mean‖x − x̂‖²/denominator + α·L_aux  into `.grad` of every parameter of `sae`.

    x: (B, d);  dead: indices of the dead latents, (n_dead,), or None;  auxk_coef: α.
    With g = ∂L/∂x̂ = 2(x̂ − x)/(B·denominator):

        ∂W_dec[i] = Σ z g          ∂z = W_dec[i]·g  (0 where the ReLU is off)
        ∂W_enc[i] = Σ ∂z (x − b_pre)          ∂b_pre = Σ g − (Σ ∂z) W_enc

    Both weight gradients use one sort of the B·k indices (`kernels.plan`).
    """
    n = len(sae.W_enc)
    centred = x - sae.b_pre
    pre = F.linear(centred, sae.W_enc, sae.b_enc)
    values, indices = pre.topk(sae.k, dim=1, sorted=False)
    on = values > 0
    values = values * on
    error = gather_sum(indices, values, sae.W_dec) - centred  # x̂ − x: b_pre cancels
    g = error * (2 / (len(x) * denominator))

    entries = plan(indices, n)
    d_values = gather_dot(indices, g, sae.W_dec) * on
    d_dec = segment_sum(entries, values, g)
    d_enc = segment_sum(entries, d_values, centred)
    d_latent = segment_sum(entries, d_values, x.new_ones(len(x), 1))[:, 0]
    auxk = None
    if dead is not None and auxk_coef > 0:
        auxk = _add_auxk_(sae, centred, pre, error, dead, k_aux, auxk_coef, d_dec, d_enc, d_latent)

    sae.W_dec.grad, sae.W_enc.grad = d_dec, d_enc
    sae.b_pre.grad = g.sum(0) - d_latent @ sae.W_enc
    if sae.b_enc is not None:
        sae.b_enc.grad = d_latent
    nmse = error.pow(2).sum(1).mean() / denominator
    return StepOutput(nmse, auxk, torch.where(on, indices, -1))


def _add_auxk_(
    sae: SAE,
    centred: Tensor,
    pre: Tensor,
    error: Tensor,
    dead: Tensor,
    k_aux: int,
    alpha: float,
    d_dec: Tensor,
    d_enc: Tensor,
    d_latent: Tensor,
) -> Tensor:
    """Add AuxK's gradients (Gao et al. 2024, A.2) and return L_aux = mean‖e − ê‖² / mean‖e − ē‖².

    e = x − x̂ is a constant here, ê = Σ over the top k_aux dead latents of z_j W_dec[j], without b_pre: adding it
    again was a bug of two public trainers. Dense over the dead rows, which are few when AuxK works.
    """
    target = -error
    spread = (target - target.mean(0)).pow(2).sum(1).mean()
    z = pre[:, dead]
    if k_aux < len(dead):
        top = z.topk(k_aux, dim=1, sorted=False)
        z = torch.zeros_like(z).scatter_(1, top.indices, top.values)
    z = z.relu()
    w_dec = sae.W_dec[dead]
    miss = z @ w_dec - target
    # A perfect reconstruction leaves no spread: 0/0 counts as no AuxK loss, as in released code (nan_to_num).
    g = (miss * (2 * alpha / (len(z) * spread))).nan_to_num(0.0, 0.0, 0.0)
    d_z = (g @ w_dec.T) * (z > 0)
    d_dec.index_add_(0, dead, z.T @ g)
    d_enc.index_add_(0, dead, d_z.T @ centred)
    d_latent.index_add_(0, dead, d_z.sum(0))
    return (miss.pow(2).sum(1).mean() / spread).nan_to_num(0.0)
