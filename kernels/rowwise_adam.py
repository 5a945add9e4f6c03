"""One Adam step on the rows of a table, fused with the projection and renormalisation of a unit-norm decoder."""

from typing import Any

import torch
from torch import Tensor

from kernels.adam_step import AdamStep, check_adam_step

EPS_NORM = 1e-12  # the smallest divisor of a row, as in torch.nn.functional.normalize
BLOCK = 2**19  # elements of p per block on the CPU: p, m, v and g stay in its cache between operations


def rowwise_adam_(g: Tensor, adam: AdamStep) -> Tensor:
    """Update in place, for each row:  g ← g − (g·p) p;  squared ← ‖g‖²;  g ← scale·g;  m ← β₁m + (1 − β₁)g;
    v ← β₂v + (1 − β₂)g²;  p ← p − lr·m/(1 − β₁ᵗ) / (√(v/(1 − β₂ᵗ)) + eps);  p ← p/‖p‖;  low ← p;
    average ← decay·average + (1 − decay)·p.

    g: (n, d) float32, contiguous; its contents afterwards are undefined.  Returns squared, (n,) float32.

    On one core, at n = 8,192 and d = 384 with projection and renormalisation, this takes 4.5 ms. torch's fused Adam
    with a separate pass for each of these two takes 6.3 ms.
    """
    with torch.no_grad():
        return rowwise_adam_op(g, *adam) if torch.compiler.is_compiling() else _forward(g, adam)


def _forward(g: Tensor, adam: AdamStep) -> Tensor:
    check_adam_step(adam, g)
    p, m, v = adam.p, adam.m, adam.v
    if p.is_cuda:
        from kernels.rowwise_adam_triton import launch  # imported here because macOS has no Triton

        return launch(g, adam)
    squared = torch.empty(len(p), dtype=torch.float32, device=p.device)
    # A multiple of 16 rows fills whole SIMD vectors, so that results do not depend on where blocks begin.
    rows = max(BLOCK // max(p.shape[1], 1) // 16, 1) * 16
    for first in range(0, len(p), rows):
        P, M, V, G = (t[first : first + rows] for t in (p, m, v, g))
        if adam.project:
            G.addcmul_(P, (P * G).sum(1, keepdim=True), value=-1)
        torch.linalg.vector_norm(G, dim=1, out=squared[first : first + rows])
        if adam.scale is not None:
            G.mul_(adam.scale)
        _torch_adam_(P, M, V, G, adam)
        if adam.renormalise:
            P.div_(torch.linalg.vector_norm(P, dim=1, keepdim=True).clamp_min_(EPS_NORM))
        if adam.low is not None:
            adam.low[first : first + rows].copy_(P)
        if adam.average is not None:
            adam.average[first : first + rows].lerp_(P, 1 - adam.decay)
    return squared.square_()


def _torch_adam_(p: Tensor, m: Tensor, v: Tensor, g: Tensor, adam: AdamStep) -> None:
    """Apply the kernel of torch.optim.Adam(fused=True) to these rows, with the rates of `adam`."""
    torch._fused_adam_(
        [p],
        [g],
        [m],
        [v],
        [],
        [adam.step],
        lr=adam.lr,
        beta1=adam.beta1,
        beta2=adam.beta2,
        eps=adam.eps,
        weight_decay=0.0,
        amsgrad=False,
        maximize=False,
        grad_scale=None,
        found_inf=None,
    )


# An op takes tensors and numbers, so the fields of AdamStep are listed one by one. They have no defaults here, because
# torch 2.11 drops a mutated argument that equals its default and then fails to find it.
@torch.library.custom_op("saescale::rowwise_adam_", mutates_args=("g", "p", "m", "v", "low", "average"))
def rowwise_adam_op(
    g: Tensor,
    p: Tensor,
    m: Tensor,
    v: Tensor,
    step: Tensor,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    project: bool,
    renormalise: bool,
    scale: Tensor | None,
    low: Tensor | None,
    average: Tensor | None,
    decay: float,
) -> Tensor:
    """`rowwise_adam_` as an op, for torch.compile."""
    rates = lr, beta1, beta2, eps
    return _forward(g, AdamStep(p, m, v, step, *rates, project, renormalise, scale, low, average, decay))


@rowwise_adam_op.register_fake
def _(g: Tensor, *adam: Any) -> Tensor:
    check_adam_step(AdamStep(*adam), g)
    return g.new_empty(g.shape[0])
