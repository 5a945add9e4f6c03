"""One step of Adam on the rows of a table, with what a decoder on the sphere needs before and after it, in one pass."""

from typing import Any

import torch
from torch import Tensor

from kernels.inputs import check_adam, check_rates

EPS_NORM = 1e-12  # a row shorter than this is divided by this, as torch.nn.functional.normalize does
BLOCK = 2**19  # elements of p that the CPU takes at once: p, m, v and g stay in its cache between operations


def rowwise_adam_(
    p: Tensor,
    m: Tensor,
    v: Tensor,
    g: Tensor,
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
    """In place, for each row:  g ← g − (g·p) p;  squared ← ‖g‖²;  g ← scale·g;  m ← β₁m + (1 − β₁)g;
    v ← β₂v + (1 − β₂)g²;  p ← p − lr·m/(1 − β₁ᵗ) / (√(v/(1 − β₂ᵗ)) + eps);  p ← p/‖p‖;  low ← p;
    average ← decay·average + (1 − decay)·p.

    p, m, v, g: (n, d) float32, contiguous;  step: t, the number of this update, from 1, a float32 scalar on p's device
    that is only read (no call waits for a GPU);  project: whether g loses its part along p, which means unit rows;
    renormalise: whether p is divided by its norm;  scale: a float32 scalar on p's device, None: 1;  low: (n, d) of any
    float dtype;  average: (n, d) float32.  Returns squared, (n,) float32. What g holds afterwards is not defined.

    One core, n = 8,192, d = 384, with both: 4.5 ms, where torch's fused Adam between whole passes takes 6.3.
    """
    call = rowwise_adam_op if torch.compiler.is_compiling() else _forward
    rates = lr, beta1, beta2, eps
    with torch.no_grad():
        return call(p, m, v, g, step, *rates, project, renormalise, scale, low, average, decay)


def _forward(
    p: Tensor,
    m: Tensor,
    v: Tensor,
    g: Tensor,
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
    check_adam(p, m, v, step, low, average, g=g, scale=scale)
    check_rates(beta1, beta2, decay)
    rates = lr, beta1, beta2, eps
    if p.is_cuda:
        from kernels.rowwise_adam_triton import launch  # here, since Triton is absent on macOS

        return launch(p, m, v, g, step, *rates, project, renormalise, scale, low, average, decay)
    squared = torch.empty(len(p), dtype=torch.float32, device=p.device)
    # Whole vectors: where blocks begin cannot show in a result.
    rows = max(BLOCK // max(p.shape[1], 1) // 16, 1) * 16
    for first in range(0, len(p), rows):
        P, M, V, G = (t[first : first + rows] for t in (p, m, v, g))
        if project:
            G.addcmul_(P, (P * G).sum(1, keepdim=True), value=-1)
        torch.linalg.vector_norm(G, dim=1, out=squared[first : first + rows])
        if scale is not None:
            G.mul_(scale)
        _adam_(P, M, V, G, step, *rates)
        if renormalise:
            P.div_(torch.linalg.vector_norm(P, dim=1, keepdim=True).clamp_min_(EPS_NORM))
        if low is not None:
            low[first : first + rows].copy_(P)
        if average is not None:
            average[first : first + rows].lerp_(P, 1 - decay)
    return squared.square_()


def _adam_(
    p: Tensor,
    m: Tensor,
    v: Tensor,
    g: Tensor,
    step: Tensor,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
) -> None:
    """The kernel of torch.optim.Adam(fused=True)."""
    torch._fused_adam_(
        [p],
        [g],
        [m],
        [v],
        [],
        [step],
        lr=lr,
        beta1=beta1,
        beta2=beta2,
        eps=eps,
        weight_decay=0.0,
        amsgrad=False,
        maximize=False,
        grad_scale=None,
        found_inf=None,
    )


# Of a function without defaults: torch 2.11 drops mutated arguments that equal theirs, and then looks for them.
rowwise_adam_op = torch.library.custom_op(
    "saescale::rowwise_adam_", _forward, mutates_args=("p", "m", "v", "g", "low", "average")
)


@rowwise_adam_op.register_fake
def _(p: Tensor, m: Tensor, v: Tensor, g: Tensor, step: Tensor, *rest: Any) -> Tensor:
    *_, scale, low, average, _decay = rest
    check_adam(p, m, v, step, low, average, g=g, scale=scale)
    return p.new_empty(p.shape[0])
