"""A weight gradient and its Adam step in one pass: the gradient of a table is never stored."""

import torch
from torch import Tensor

from kernels.adam_step import AdamStep, check_adam_step
from kernels.inputs import check_coef, check_matrix
from kernels.plan import Plan
from kernels.rowwise_adam import rowwise_adam_
from kernels.segment_sum import segment_sum


def segment_sum_adam_(plan: Plan, coef: Tensor, X: Tensor, adam: AdamStep) -> Tensor:
    """Compute rowwise_adam_(segment_sum(plan, coef, X), adam) in place; return squared, (n,) float32.

    plan: plan(idx, n);  coef: (B, k);  X: (B, d), float32, bfloat16 or float16. Adam updates the whole table: latents
    without entries are updated with a gradient of 0. On CUDA one program sums a latent's rows of X and updates its row
    of p, which saves writing and reading n·d floats; `scale` must then be known before the gradient's norm. On the CPU
    and under torch.compile the two functions are called one after the other.
    """
    p = adam.p
    check_matrix("X", X, p.device, rows=plan.shape[0], beside="p")
    if X.dtype == torch.float64:
        raise TypeError("X is torch.float64, but the gradient of p is formed in torch.float32; convert it")
    check_coef(coef, plan.shape, X, torch.float32)
    check_adam_step(adam)
    if plan.order.device != p.device:
        raise ValueError(f"the plan is on {plan.order.device}, p on {p.device}; move one")
    if p.shape != (plan.n, X.shape[1]):
        raise ValueError(
            f"p has shape {tuple(p.shape)}; the plan has n = {plan.n} latents and X d = {X.shape[1]} columns"
        )
    if not p.is_cuda or torch.compiler.is_compiling():
        return rowwise_adam_(segment_sum(plan, coef, X), adam)
    from kernels.segment_sum_adam_triton import launch  # imported here because macOS has no Triton

    return launch(plan, coef, X, adam)
