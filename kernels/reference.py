"""Plain-torch definitions of the kernels: slow, short and exact in float64. The tests compare the kernels with these.

In all of them idx (B, k) holds row numbers of a table. −1 is padding, and a row number may occur twice.
"""

import torch
from torch import Tensor

from kernels.adam_step import AdamStep


def gather_sum(idx: Tensor, coef: Tensor, W: Tensor, bias: Tensor | None = None) -> Tensor:
    """out[b] = Σ_j coef[b, j] · W[idx[b, j]] + bias.  idx, coef: (B, k);  W: (n, d);  bias: (d,);  returns (B, d)."""
    out = torch.einsum("bk,bkd->bd", coef.masked_fill(idx < 0, 0), _rows(idx, W))
    return out if bias is None else out + bias


def gather_sum_mse(
    idx: Tensor, coef: Tensor, W: Tensor, x: Tensor, bias: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """error[b] = gather_sum[b] − x[b];  squared[b] = ‖error[b]‖².  x: (B, d);  returns (B, d) and (B,)."""
    error = gather_sum(idx, coef, W, bias) - x
    return error, error.pow(2).sum(1)


def gather_dot(idx: Tensor, G: Tensor, W: Tensor) -> Tensor:
    """out[b, j] = G[b] · W[idx[b, j]], 0 at padding.  idx: (B, k);  G: (B, d);  W: (n, d);  returns (B, k)."""
    return torch.einsum("bd,bkd->bk", G, _rows(idx, W)).masked_fill(idx < 0, 0)


def segment_sum(idx: Tensor, coef: Tensor, X: Tensor, n: int) -> Tensor:
    """out[i] = Σ_{b, j: idx[b, j] = i} coef[b, j] · X[b].  idx, coef: (B, k);  X: (B, d);  returns (n, d)."""
    b, j = torch.nonzero(idx >= 0, as_tuple=True)
    return X.new_zeros(n, X.shape[1]).index_add_(0, idx[b, j].long(), coef[b, j, None] * X[b])


def segment_sum_dot(idx: Tensor, coef: Tensor, X: Tensor, W: Tensor) -> tuple[Tensor, Tensor]:
    """(segment_sum, gather_dot) of X.  idx, coef: (B, k);  X: (B, d);  W: (n, d);  returns (n, d) and (B, k)."""
    return segment_sum(idx, coef, X, W.shape[0]), gather_dot(idx, X, W)


def topk(z: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest of each row of z (B, n): values and columns, (B, k), largest first, ties in order of columns."""
    values, idx = z.sort(dim=1, descending=True, stable=True)
    return values[:, :k], idx[:, :k]


def rowwise_adam(g: Tensor, adam: AdamStep) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The new p, m and v, (n, d), and the squared norm of each row's projected gradient, (n,).

    It modifies no input, and ignores `low` and `average`.
    """
    p, m, v, t = adam.p, adam.m, adam.v, float(adam.step)
    beta1, beta2 = adam.beta1, adam.beta2
    if adam.project:
        g = g - (g * p).sum(1, keepdim=True) * p
    squared = g.pow(2).sum(1)
    g = g if adam.scale is None else adam.scale * g
    m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
    p = p - adam.lr * m / (1 - beta1**t) / ((v / (1 - beta2**t)).sqrt() + adam.eps)
    if adam.renormalise:
        p = p / p.norm(dim=1, keepdim=True).clamp(min=1e-12)
    return p, m, v, squared


def segment_sum_adam(
    idx: Tensor, coef: Tensor, X: Tensor, adam: AdamStep
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`rowwise_adam` with the gradient segment_sum(idx, coef, X, n).  idx, coef: (B, k);  X: (B, d)."""
    return rowwise_adam(segment_sum(idx, coef, X, len(adam.p)), adam)


def _rows(idx: Tensor, W: Tensor) -> Tensor:
    """The rows of W that idx selects, (B, k, d), with 0 at padding."""
    return torch.cat([W, W.new_zeros(1, W.shape[1])])[idx.long()]
