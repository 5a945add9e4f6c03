"""Loss and gradients of one step: explicit formulas for ranked SAEs, autograd for penalised ones.

The explicit gradients take three gather passes and one sort instead of four dense products.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor

from kernels.gather_sum import gather_sum
from kernels.gather_sum_mse import gather_sum_mse
from kernels.plan import Plan, plan
from kernels.segment_sum import segment_sum
from kernels.segment_sum_dot import segment_sum_dot
from sae_core.activations import ReLU
from sae_core.model import SAE
from sae_core.training.auxk import AuxK, Gradients, add_auxk_
from sae_core.training.precision import matmul_precision, narrow
from sae_core.training.selection import levels, select


@dataclass(frozen=True)
class StepOptions:
    """How the loss of a step is weighted and its gradient computed; the same for every step of a run.

    rows is the number of tokens encoded at once; None: the whole batch. With fused_update the gradient of W_enc is
    returned unsummed, as `StepOutput.encoder`, in the steps where it is a single sum.
    """

    denominator: float  # mean‖x − x̄‖² of the held-out rows
    k_aux: int = 1
    auxk_coef: float = 0.0  # α
    rows: int | None = None
    precision: str = "fp32"
    fused_update: bool = False


class EncoderGradient(NamedTuple):
    """∂W_enc = segment_sum(plan, coef, X), before it is summed."""

    plan: Plan
    coef: Tensor  # ∂pre, (B, k)
    X: Tensor  # x − b_pre, (B, d)


@dataclass(frozen=True)
class StepOutput:
    """Statistics of a step. Scalars stay tensors, so that the CPU waits for the GPU only if it reads one of them."""

    nmse: Tensor  # mean‖x − x̂‖² / denominator on this batch
    auxk: Tensor | None  # normalised AuxK loss; None when no latent was dead
    used: Tensor  # (n,) bool: latents above 0 on at least one token of the batch
    penalty: Tensor | None = None  # S of L + λ·S, mean over the tokens; None without a penalty
    encoder: EncoderGradient | None = None  # set if W_enc has no `.grad`


@torch.no_grad()
def gradients_(
    sae: SAE,
    x: Tensor,
    options: StepOptions,
    dead: Tensor | None = None,
    narrow_tables: Mapping[str, Tensor] | None = None,
) -> StepOutput:
    """Write the gradient of the step's loss into `.grad` of every parameter of `sae`.

    Ranked SAEs (topk, batchtopk) minimise  L = mean‖x − x̂‖²/denominator + α·L_aux.  With g = ∂L/∂x̂ =
    2(x̂ − x)/(B·denominator):

        ∂W_dec[i] = Σ z g          ∂z = W_dec[i]·g  (0 where the ReLU is off)
        ∂W_enc[i] = Σ ∂z (x − b_pre)          ∂b_pre = Σ g − (Σ ∂z) W_enc

    Both weight gradients use one sort of the B·k indices (`kernels.plan`). If the loss has several nested
    reconstructions (`levels`), the g of a group of latents is the sum of g over the reconstructions that use the group.
    Penalised SAEs (relu, jumprelu, gated) minimise the loss of `_penalised_gradients_`.

    Parameters
    ----------
    x : the batch, (B, d).
    dead : indices of the dead latents, (n_dead,), for AuxK; None if there are none.
    narrow_tables : copies of W_enc and W_dec in the dtype of the products; made here if they are not given.
    """
    with matmul_precision(options.precision):
        if isinstance(sae, ReLU):
            return _penalised_gradients_(sae, x, options)
        tables, dtype = narrow_tables or {}, narrow(options.precision, x)
        W_enc, W_dec = (tables.get(name, sae.get_parameter(name)).to(dtype) for name in ("W_enc", "W_dec"))
        return _ranked_gradients_(sae, x, W_enc, W_dec, options, dead)


def _penalised_gradients_(sae: ReLU, x: Tensor, options: StepOptions) -> StepOutput:
    """Dense autograd in micro-batches on L = (mean‖x − x̂‖² + own)/denominator + λ·S; `penalised` returns own and S."""
    coef, denominator = sae.config.sparsity_coef, options.denominator
    assert coef is not None, "`validate` asks for sparsity_coef"
    bf16 = options.precision == "bf16"
    sae.zero_grad()
    nmse, penalty = x.new_zeros(()), x.new_zeros(())
    used = torch.zeros(len(sae.W_enc), dtype=torch.bool, device=x.device)
    for part in x.split(options.rows or len(x)):
        with torch.enable_grad(), torch.autocast(x.device.type, torch.bfloat16, enabled=bf16):
            z, S, own = sae.penalised(part)
            squared = (sae.decode(z, None).to(x.dtype) - part).pow(2).sum()
            loss = ((squared + own) / denominator + coef * S) / len(x)
        loss.backward()
        nmse += squared.detach() / (denominator * len(x))
        penalty += S.detach() / len(x)
        used |= (z.detach() > 0).any(0)
    return StepOutput(nmse, None, used, penalty)


def _ranked_gradients_(
    sae: SAE, x: Tensor, W_enc: Tensor, W_dec: Tensor, options: StepOptions, dead: Tensor | None
) -> StepOutput:
    """The explicit gradients. W_enc and W_dec are the weights of `sae` in the dtype of the products."""
    rows, denominator = options.rows or len(x), options.denominator
    auxk = None
    if dead is not None and options.auxk_coef:
        auxk = AuxK(dead, options.k_aux, options.auxk_coef, rows * len(W_enc))
    sae.zero_grad()  # frees the memory of the last step's gradients for this step
    centred = x - sae.b_pre
    values, indices = select(sae, centred, rows, W_enc)
    groups, weights, own = levels(sae.config, values, indices)
    errors, squared = _errors(groups, W_dec, centred)
    g = [error * (2 * w / (len(x) * denominator)) for w, error in zip(weights, errors, strict=True)]
    for p in range(len(g) - 2, -1, -1):
        g[p] += g[p + 1]

    sae.W_dec.grad, latent, parts = _weight_gradients(groups, g, W_dec, centred)
    encoder = parts[0] if options.fused_update and auxk is None and len(parts) == 1 else None
    sae.W_enc.grad = None if encoder else reduce(_added, (segment_sum(*part) for part in parts), None)
    auxk_loss = None
    if auxk is not None:
        assert sae.W_enc.grad is not None
        grads = Gradients(sae.W_dec.grad, sae.W_enc.grad, latent)
        auxk_loss = add_auxk_(sae, centred, errors[own], auxk, grads)
    sae.b_pre.grad = g[0].sum(0) - latent @ sae.W_enc
    if sae.b_enc is not None:
        sae.b_enc.grad = latent
    used = _used(*(groups[own] if sae.config.multi_topk else (values, indices)), len(W_enc))
    return StepOutput(squared[own].mean() / denominator, auxk_loss, used, encoder=encoder)


def _errors(
    groups: list[tuple[Tensor, Tensor]], W_dec: Tensor, centred: Tensor
) -> tuple[list[Tensor], list[Tensor]]:
    """For each reconstruction p, x̂_p − x (B, d), in which b_pre cancels, and the squared norms of its rows (B,)."""
    values, indices = groups[0]
    error, squared = gather_sum_mse(indices, values, W_dec, centred)
    errors, norms = [error], [squared]
    for values, indices in groups[1:]:
        errors.append(errors[-1] + gather_sum(indices, values, W_dec))
        norms.append(errors[-1].pow(2).sum(1))
    return errors, norms


def _weight_gradients(
    groups: list[tuple[Tensor, Tensor]], g: list[Tensor], W_dec: Tensor, centred: Tensor
) -> tuple[Tensor, Tensor, list[EncoderGradient]]:
    """∂W_dec (n, d), Σ ∂z of every latent (n,), and one unsummed part of ∂W_enc per group."""
    n, ones, X = len(W_dec), centred.new_ones(len(centred), 1), centred.to(W_dec.dtype)
    total: Tensor | None = None
    latent: Tensor | None = None
    parts = []
    for (values, indices), of_group in zip(groups, g, strict=True):
        entries = plan(indices, n)
        d_dec, d_values = segment_sum_dot(entries, values, of_group.to(W_dec.dtype), W_dec)
        d_values = d_values * (values > 0)
        total = _added(total, d_dec)
        latent = _added(latent, segment_sum(entries, d_values, ones)[:, 0])
        parts.append(EncoderGradient(entries, d_values, X))
    assert total is not None and latent is not None
    return total, latent, parts


def _added(total: Tensor | None, part: Tensor) -> Tensor:
    return part if total is None else total.add_(part)


def _used(values: Tensor, indices: Tensor, n: int) -> Tensor:
    """(n,) bool: the latents with a value above 0 in at least one row."""
    used = torch.zeros(n + 1, dtype=torch.bool, device=values.device)
    on = torch.where(values > 0, indices, n).flatten().long()  # inactive entries go to the extra last element
    # `used[on] = True` would copy True to the GPU and wait for the copy.
    return used.index_fill_(0, on, True)[:-1]
