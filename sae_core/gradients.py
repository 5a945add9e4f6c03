"""Loss and gradients of one step, written out: three gather passes and one sort for four dense products."""

import torch
from torch import Tensor

from kernels.gather_sum import gather_sum
from kernels.gather_sum_mse import gather_sum_mse
from kernels.plan import plan
from kernels.segment_sum import segment_sum
from kernels.segment_sum_dot import segment_sum_dot
from sae_core.activations import ReLU
from sae_core.auxk import Gradients, add_auxk_
from sae_core.model import SAE
from sae_core.penalised import penalised_gradients_
from sae_core.precision import matmul_precision, narrow
from sae_core.selection import levels, select
from sae_core.step_output import StepOutput


@torch.no_grad()
def gradients_(
    sae: SAE,
    x: Tensor,
    denominator: float,
    dead: Tensor | None = None,
    k_aux: int = 0,
    auxk_coef: float = 0.0,
    rows: int | None = None,
    precision: str = "fp32",
) -> StepOutput:
    """Write the gradient of  L = mean‖x − x̂‖²/denominator + α·L_aux  into `.grad` of every parameter of `sae`.

    x: (B, d);  dead: indices of the dead latents, (n_dead,), or None;  auxk_coef: α;  rows: tokens encoded at once,
    None: all. With g = ∂L/∂x̂ = 2(x̂ − x)/(B·denominator):

        ∂W_dec[i] = Σ z g          ∂z = W_dec[i]·g  (0 where the ReLU is off)
        ∂W_enc[i] = Σ ∂z (x − b_pre)          ∂b_pre = Σ g − (Σ ∂z) W_enc

    Both weight gradients use one sort of the B·k indices (`kernels.plan`). Where the loss has several nested
    reconstructions (`levels`), g of a group is the sum over the reconstructions that it is part of.
    """
    rows = len(x) if rows is None else rows
    with matmul_precision(precision):
        if isinstance(sae, ReLU):
            return penalised_gradients_(sae, x, denominator, rows, precision)
        return _ranked_gradients_(sae, x, denominator, dead, k_aux, auxk_coef, rows, narrow(precision, x))


def _ranked_gradients_(
    sae: SAE,
    x: Tensor,
    denominator: float,
    dead: Tensor | None,
    k_aux: int,
    alpha: float,
    rows: int,
    dtype: torch.dtype,
) -> StepOutput:
    centred = x - sae.b_pre
    values, indices = select(sae, centred, rows, dtype)
    groups, weights, own = levels(sae.config, values, indices)
    W_dec = sae.W_dec.to(dtype)
    errors, squared = _errors(groups, W_dec, centred)
    g = [error * (2 * w / (len(x) * denominator)) for w, error in zip(weights, errors, strict=True)]
    for p in range(len(g) - 2, -1, -1):
        g[p] += g[p + 1]

    grads = _weight_gradients(groups, g, W_dec, centred, dtype)
    auxk = None
    if dead is not None and alpha > 0:
        elements = rows * len(sae.W_enc)
        auxk = add_auxk_(sae, centred, errors[own], dead, k_aux, alpha, grads, elements)

    sae.W_dec.grad, sae.W_enc.grad = grads.dec, grads.enc
    sae.b_pre.grad = g[0].sum(0) - grads.latent @ sae.W_enc
    if sae.b_enc is not None:
        sae.b_enc.grad = grads.latent
    smallest = values.where(values > 0, float("inf")).min() if sae.config.activation == "batchtopk" else None
    used = (
        _used(*groups[own], len(sae.W_enc))
        if sae.config.multi_topk
        else _used(values, indices, len(sae.W_enc))
    )
    return StepOutput(squared[own].mean() / denominator, auxk, used, smallest=smallest)


def _errors(
    groups: list[tuple[Tensor, Tensor]], W_dec: Tensor, centred: Tensor
) -> tuple[list[Tensor], list[Tensor]]:
    """x̂_p − x of every reconstruction, (B, d), and its squared norms, (B,). b_pre cancels in it."""
    values, indices = groups[0]
    error, squared = gather_sum_mse(indices, values, W_dec, centred)
    errors, norms = [error], [squared]
    for values, indices in groups[1:]:
        errors.append(errors[-1] + gather_sum(indices, values, W_dec))
        norms.append(errors[-1].pow(2).sum(1))
    return errors, norms


def _weight_gradients(
    groups: list[tuple[Tensor, Tensor]], g: list[Tensor], W_dec: Tensor, centred: Tensor, dtype: torch.dtype
) -> Gradients:
    n, ones, X = len(W_dec), centred.new_ones(len(centred), 1), centred.to(dtype)
    total: Gradients | None = None
    for (values, indices), of_group in zip(groups, g, strict=True):
        entries = plan(indices, n)
        d_dec, d_values = segment_sum_dot(entries, values, of_group.to(dtype), W_dec)
        d_values = d_values * (values > 0)
        d_enc = segment_sum(entries, d_values, X)
        d_latent = segment_sum(entries, d_values, ones)[:, 0]
        if total is None:
            total = Gradients(d_dec, d_enc, d_latent)
        else:
            total.dec += d_dec
            total.enc += d_enc
            total.latent += d_latent
    assert total is not None
    return total


def _used(values: Tensor, indices: Tensor, n: int) -> Tensor:
    """(n,) bool: the latents with a value above 0 in some row."""
    used = torch.zeros(n + 1, dtype=torch.bool, device=values.device)
    used[torch.where(values > 0, indices, -1).flatten()] = True  # −1 lands in the spare last place
    return used[:-1]
