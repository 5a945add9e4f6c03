"""Exact top-k by group maxima in plain torch, without waiting for a GPU: what the Triton kernels do not take."""

import math

import torch
from torch import Tensor

LOW = 2**32 - 1


def topk_by_groups(z: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest of each row of z (B, n), 1 ≤ k ≤ n: values and idx, (B, k) each, idx in int64.

    n/G group maxima, the k best groups among them, the k best of their k·G elements and of the n mod G last ones.
    Ties go to the lower index and NaN is the largest, as in `topk`.
    """
    n = z.shape[1]
    G = 2 ** int(math.log2(n / k) / 2)  # maxima and candidates are fewest together at √(n/k)
    whole = n // G
    maxima = z[:, : whole * G].unflatten(1, (whole, G)).amax(2) if G > 1 else z
    # Ascending, so that the lower of two candidates is the lower of two columns.
    groups = _largest(maxima, min(k, whole)).sort(1)[0]
    candidates = (groups[:, :, None] * G + torch.arange(G, device=z.device)).flatten(1)
    last = torch.arange(whole * G, n, device=z.device).expand(len(z), -1)
    candidates = torch.cat([candidates, last], 1)
    idx = candidates.gather(1, _largest(z.gather(1, candidates), k))
    return z.gather(1, idx), idx


def _largest(v: Tensor, k: int) -> Tensor:
    """The columns of the k largest of each row, ties to the lower, NaN the largest."""
    if v.dtype == torch.float64:  # no room for the column in the key
        return v.sort(dim=1, descending=True, stable=True)[1][:, :k]
    column = torch.arange(v.shape[1], device=v.device)
    keys = (_ordered(v.float()).to(torch.int64) << 32) | (LOW - column)
    return LOW - (keys.topk(k, 1, sorted=False)[0] & LOW)


def _ordered(v: Tensor) -> Tensor:
    """int32 in the order of float32 v. −0 = 0; every NaN is the largest."""
    bits = v.view(torch.int32)
    magnitude = bits & 0x7FFFFFFF
    return torch.where(bits < 0, -magnitude, magnitude).masked_fill_(v.isnan(), 0x7FFFFFFF)
