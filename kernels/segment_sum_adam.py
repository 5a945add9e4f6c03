"""A weight gradient and its Adam step in one pass: the gradient of a table is never stored."""

from typing import Any

import torch
from torch import Tensor

from kernels.inputs import check_adam, check_coef, check_matrix, check_rates
from kernels.plan import Plan
from kernels.rowwise_adam import rowwise_adam_
from kernels.segment_sum import segment_sum


def segment_sum_adam_(
    plan: Plan,
    coef: Tensor,
    X: Tensor,
    p: Tensor,
    m: Tensor,
    v: Tensor,
    step: Tensor,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    *,
    project: bool = False,
    renormalise: bool = False,
    scale: Tensor | None = None,
    low: Tensor | None = None,
    average: Tensor | None = None,
    decay: float = 0.0,
) -> Tensor:
    """rowwise_adam_(p, m, v, segment_sum(plan, coef, X), …) in place; returns squared, (n,) float32.

    plan: plan(idx, n);  coef: (B, k);  X: (B, d), float32, bfloat16 or float16;  p, m, v, low, average: (n, d), step,
    scale and the rest as in `rowwise_adam_`. Adam over the whole table, not a lazy one: latents without entries are
    stepped too, with a gradient of 0. On CUDA a program sums a latent's rows of X and steps its row of p at once: n·d
    floats less written and read, but scale must be known before the gradient's norm. On the CPU and under torch.compile
    the two calls are made.
    """
    check_matrix("X", X, p.device, rows=plan.shape[0], beside="p")
    if X.dtype == torch.float64:
        raise TypeError("X is torch.float64, but the gradient of p is formed in torch.float32; convert it")
    check_coef(coef, plan.shape, X, torch.float32)
    check_adam(p, m, v, step, low, average, scale=scale)
    check_rates(beta1, beta2, decay)
    if plan.order.device != p.device:
        raise ValueError(f"the plan is on {plan.order.device}, p on {p.device}; move one")
    if p.shape != (plan.n, X.shape[1]):
        raise ValueError(
            f"p has shape {tuple(p.shape)}; the plan has n = {plan.n} latents and X d = {X.shape[1]} columns"
        )
    rates = lr, beta1, beta2, eps
    modes: dict[str, Any] = dict(
        project=project, renormalise=renormalise, scale=scale, low=low, average=average, decay=decay
    )
    if not p.is_cuda or torch.compiler.is_compiling():
        return rowwise_adam_(p, m, v, segment_sum(plan, coef, X), step, *rates, **modes)
    from kernels.segment_sum_adam_triton import launch  # here, since Triton is absent on macOS

    return launch(plan, coef, X, p, m, v, step, *rates, **modes)
