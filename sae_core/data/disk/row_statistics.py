"""Statistics over all rows of a split, computed once, in float64, a chunk at a time."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_CHUNK = 8192  # rows converted at once: 8192 x 4096 float64 are 0.25 GiB
_QUANTILES = (0.0, 0.01, 0.05, 0.5, 0.95, 0.99, 0.999, 1.0)
_MASSIVE = 5  # a row above this many medians is counted as a massive activation


def mean_row(parts: Sequence[NDArray]) -> NDArray[np.float64]:
    """The mean x̄ of the rows of all parts, each (rows, d): (d,)."""
    total = sum(
        (chunk.sum(axis=0, dtype=np.float64) for chunk in _chunks(parts)), np.zeros(parts[0].shape[1])
    )
    return total / sum(len(part) for part in parts)


def mean_square(parts: Sequence[NDArray], mean: NDArray[np.float64]) -> float:
    """Mean over the rows of ‖x − mean‖²."""
    total = sum(float(((chunk.astype(np.float64) - mean) ** 2).sum()) for chunk in _chunks(parts))
    return total / sum(len(part) for part in parts)


def spectrum(x: NDArray) -> NDArray[np.float64]:
    """Eigenvalues λ of the covariance of the rows x, (rows, d), the largest first: (d,)."""
    mean = mean_row([x])
    covariance = np.zeros((x.shape[1], x.shape[1]))
    for chunk in _chunks([x]):
        centred = chunk.astype(np.float64) - mean
        covariance += centred.T @ centred
    return np.maximum(np.linalg.eigvalsh(covariance / len(x))[::-1], 0)


def norm_statistics(norm: NDArray) -> dict[str, Any]:
    """Count, mean, standard deviation, quantiles and number of massive ones of these norms, (rows,)."""
    norm = norm.astype(np.float64)
    return {
        "rows": len(norm),
        "mean": float(norm.mean()),
        "std": float(norm.std()),
        "quantiles": dict(zip(map(str, _QUANTILES), np.quantile(norm, _QUANTILES).tolist(), strict=True)),
        f"rows_above_{_MASSIVE}_medians": int((norm > _MASSIVE * np.median(norm)).sum()),
    }


def _chunks(parts: Sequence[NDArray]) -> list[NDArray]:
    return [part[a : a + _CHUNK] for part in parts for a in range(0, len(part), _CHUNK)]
