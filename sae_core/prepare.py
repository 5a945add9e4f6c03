"""What is done to an activation vector before the SAE, and before its errors are measured."""

from collections.abc import Callable

import torch
from torch import Tensor

# A row whose spread over d is below this share of its norm is constant up to float32 rounding (2^-24 per element).
_CONSTANT = 1e-6


def mean_off_unit_norm(x: Tensor) -> tuple[Tensor, Tensor]:
    """Subtract each row's mean over d and divide by the norm of what is left (Gao et al. 2024, §2.1).

    x: (rows, d).  Returns (y, kept): y (rows kept, d) float32 of unit norm, and kept (rows,) bool. Constant rows, the
    all-zero ones among them, have no direction and are not kept.
    """
    x = x.float()
    centred = x - x.mean(dim=1, keepdim=True)
    norm = centred.norm(dim=1)
    kept = norm > _CONSTANT * x.norm(dim=1)
    return centred[kept] / norm[kept, None], kept


def none(x: Tensor) -> tuple[Tensor, Tensor]:
    """Every row as it is, in float32."""
    return x.float(), torch.ones(len(x), dtype=torch.bool, device=x.device)


PREPARATIONS: dict[str, Callable[[Tensor], tuple[Tensor, Tensor]]] = {
    "mean_off_unit_norm": mean_off_unit_norm,
    "none": none,
}
