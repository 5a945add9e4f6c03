"""Select the active latents of a training batch: the k largest of each row, or the B·k largest of all rows."""

import torch
import torch.nn.functional as F
from torch import Tensor

from kernels.topk import topk
from sae_core.config import SAEConfig
from sae_core.model import SAE

# batch_top_k first looks at 4k latents per row; rows of Zipf-distributed data hold up to 3k of the B·k.
_START = 4


def select(sae: SAE, centred: Tensor, rows: int, W_enc: Tensor) -> tuple[Tensor, Tensor]:
    """Values and indices of the latents that a step of `sae` trains, (B, K) each; inactive latents have the value 0.

    centred: x − b_pre, (B, d);  rows: the number of rows encoded at once;  W_enc: in the dtype of the products.
    K is k; with `multi_topk` it is 4k, in order of rank; for batchtopk it is large enough for the row with the most
    active latents.
    """
    weights = W_enc, None if sae.b_enc is None else sae.b_enc.to(W_enc.dtype)
    if sae.config.activation == "batchtopk":
        return _batch_top_k(centred, weights, sae.k, rows)
    K = 4 * sae.k if sae.config.multi_topk else sae.k
    values, indices = _top_k(centred, weights, K, rows)
    if sae.config.multi_topk:
        values, order = values.sort(dim=1, descending=True, stable=True)
        indices = indices.gather(1, order)
    return values.relu(), indices


def levels(
    config: SAEConfig, values: Tensor, indices: Tensor
) -> tuple[list[tuple[Tensor, Tensor]], list[float], int]:
    """Split the selection (B, K) into disjoint groups of latents, one for each nested reconstruction.

    Returns the groups, the weight w_p of each reconstruction, and the index p of the SAE's own reconstruction. The loss
    is Σ_p w_p·NMSE(x̂_p), where x̂_p is the sum of the groups 0 … p.  Multi-TopK has two groups, the first k and the
    other 3k, with w = 1 and 1/8 (Gao et al. 2024, §5.3).  In Matryoshka, x̂_p uses the latents below n/2^j, and equal
    weights make the loss the mean over the levels (Bussmann et al. 2025).
    """
    if config.multi_topk:
        k = config.k
        return [(values[:, :k], indices[:, :k]), (values[:, k:], indices[:, k:])], [1.0, 1 / 8], 0
    if config.matryoshka == 1:
        return [(values, indices)], [1.0], 0
    ends = [config.n_latents >> j for j in range(config.matryoshka - 1, -1, -1)]
    groups = []
    for low, high in zip([0, *ends], ends, strict=False):
        groups.append((values, torch.where((indices >= low) & (indices < high), indices, -1)))
    return groups, [1 / len(ends)] * len(ends), len(ends) - 1


def _top_k(
    centred: Tensor, weights: tuple[Tensor, Tensor | None], k: int, rows: int
) -> tuple[Tensor, Tensor]:
    parts = [topk(F.linear(part.to(weights[0].dtype), *weights), k) for part in centred.split(rows)]
    values, indices = zip(*parts, strict=True)
    return torch.cat(values).to(centred.dtype), torch.cat(indices)


def _batch_top_k(
    centred: Tensor, weights: tuple[Tensor, Tensor | None], k: int, rows: int
) -> tuple[Tensor, Tensor]:
    """The B·k largest of all rows, found exactly without a (B, n) sort.

    m latents per row are enough if no row's m-th value exceeds the smallest selected one. The host has to check this,
    so each step of batchtopk waits here for the GPU, usually once.
    """
    B, n = len(centred), len(weights[0])
    m = min(_START * k, n)
    while True:
        values, indices = _top_k(centred, weights, m, rows)
        chosen = values.flatten().topk(B * k, sorted=False)
        if m == n or not (values.amin(1) > chosen.values.min()).any():
            break
        m = min(2 * m, n)
    on = torch.zeros(B * m, dtype=torch.bool, device=values.device).index_fill_(0, chosen.indices, True)
    on = on.view(B, m) & (values > 0)
    return values * on, torch.where(on, indices, -1)
