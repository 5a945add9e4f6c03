"""Loss and gradients of one step of ReLU, JumpReLU and Gated SAEs: dense, by autograd, in micro-batches."""

import torch
from torch import Tensor

from sae_core.activations import ReLU
from sae_core.training.step_output import StepOutput


def penalised_gradients_(
    sae: ReLU, x: Tensor, denominator: float, rows: int, precision: str = "fp32"
) -> StepOutput:
    """Write the gradient of  L = (mean‖x − x̂‖² + own)/denominator + λ·S  into `.grad` of every parameter.

    x: (B, d);  rows: tokens of one pass of autograd, whose gradients add up;  own and S: see `sae.penalised`.
    """
    coef = sae.config.sparsity_coef
    assert coef is not None, "`validate` asks for sparsity_coef"
    sae.zero_grad()
    nmse, penalty = x.new_zeros(()), x.new_zeros(())
    used = torch.zeros(len(sae.W_enc), dtype=torch.bool, device=x.device)
    for part in x.split(rows):
        with torch.enable_grad(), torch.autocast(x.device.type, torch.bfloat16, enabled=precision == "bf16"):
            z, S, own = sae.penalised(part)
            squared = (sae.decode(z, None).to(x.dtype) - part).pow(2).sum()
            loss = ((squared + own) / denominator + coef * S) / len(x)
        loss.backward()
        nmse += squared.detach() / (denominator * len(x))
        penalty += S.detach() / len(x)
        used |= (z.detach() > 0).any(0)
    return StepOutput(nmse, None, used, penalty)
