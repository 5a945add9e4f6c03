"""Input normalisation: applied to every activation vector before the SAE, and before errors are measured."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from sae_core.data.disk.shards import Dropped
from sae_core.errors import DataError

# A row whose spread over d is below this share of its norm is constant up to float32 rounding (2^-24 per element).
_CONSTANT = 1e-6
_CHUNK = 8192  # rows prepared at once: 8192 x 4096 float32 are 0.13 GiB


def mean_off_unit_norm(x: Tensor) -> tuple[Tensor, Tensor]:
    """Subtract each row's mean over d and divide by the norm of what is left (Gao et al. 2024, §2.1).

    x: (rows, d).  Returns (y, kept): y (rows kept, d) float32 of unit norm, and kept (rows,) bool. Constant rows,
    which include all-zero rows, have no direction and are not kept.
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


class Prepared(NamedTuple):
    rows: Tensor  # (rows kept, d) of the dtype asked
    norm: Tensor  # (rows kept,) float32, before preparation
    kept: Tensor  # (rows,) bool
    dropped: Dropped


def prepared(raw: Tensor, name: str, dtype: str, norm_limit: float | None = None, first: int = 0) -> Prepared:
    """Raw activations (rows, d) as a store keeps them: rows above the norm limit dropped, the rest normalised and cast.

    first: the number of the first row, for messages. Raises DataError for NaN, infinity, and overflow of the dtype.
    """
    _refuse_non_finite(raw, first)
    parts = [
        _prepared(raw[a : a + _CHUNK].float(), name, dtype, norm_limit, first + a)
        for a in range(0, len(raw), _CHUNK)
    ]
    rows, norm, kept = (torch.cat([part[i] for part in parts]) for i in range(3))  # type: ignore[misc]
    return Prepared(rows, norm, kept, sum((part.dropped for part in parts), Dropped()))


def _prepared(raw: Tensor, name: str, dtype: str, norm_limit: float | None, first: int) -> Prepared:
    number = torch.arange(first, first + len(raw))
    norm = raw.norm(dim=1)
    kept = norm <= (float("inf") if norm_limit is None else norm_limit)
    above = int((~kept).sum())
    rows, directed = PREPARATIONS[name](raw[kept])
    kept[kept.clone()] = directed
    rows = rows.to(getattr(torch, dtype))
    _refuse(
        ~torch.isfinite(rows).all(dim=1),
        number[kept],
        f"overflow {dtype}: use dtype float32, or prepare the activations",
    )
    return Prepared(rows, norm[kept], kept, Dropped(int((~directed).sum()), above))


def _refuse_non_finite(raw: Tensor, first: int) -> None:
    chunks = [raw[a : a + _CHUNK] for a in range(0, len(raw), _CHUNK)]
    nan = torch.cat([chunk.isnan().any(dim=1) for chunk in chunks])
    infinite = torch.cat([chunk.isinf().any(dim=1) for chunk in chunks])
    counts = f"{int(nan.sum()):,} rows with NaN, {int(infinite.sum()):,} with infinity"
    why = f"contain NaN or infinity ({counts}): fix the model or leave these tokens out"
    _refuse(nan | infinite, torch.arange(first, first + len(raw)), why)


def _refuse(bad: Tensor, number: Tensor, why: str) -> None:
    """Raise DataError if any row is bad: which of the rows are, (rows,), and their numbers."""
    if bad.any():
        where = int(number[bad.nonzero()[0, 0]])
        raise DataError(f"{int(bad.sum()):,} of {len(bad):,} activations, the first in row {where:,}, {why}.")
