"""What looks wrong in the rows of a store: dimensions that do not vary, rows that are equal, rows of an odd norm."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_CHUNK = 8192  # rows looked at together
_SPREAD_CHUNKS = (
    64  # chunks, evenly over the rows, in which the spread of each dimension is measured: 524,288 rows
)
_NEAR_CONSTANT = (
    1e-3  # a dimension whose standard deviation is below this share of the median one hardly varies
)
_MOST_HASHES = (
    4_194_304  # that are kept to count equal rows; of more rows, a fixed share of the hashes is kept
)
_FAR = 5  # a norm above this many medians, or below the median by this factor, is far from it


def row_checks(
    train: Sequence[NDArray], held_out: Sequence[NDArray], norm: NDArray, held_out_norm: NDArray
) -> dict[str, Any]:
    """Counts over the rows of both splits, as the manifest keeps them.

    Equal rows are counted by a 64-bit hash of their bytes. Above 4,194,304 rows the hashes of a random share of the
    distinct rows are kept, and the counts are estimates: `hashes_kept` is that share.

    Parameters
    ----------
    train, held_out : the shards of each split, (rows, d).
    norm, held_out_norm : the norms of their rows before preparation.
    """
    chunks = [part[a : a + _CHUNK] for part in train for a in range(0, len(part), _CHUNK)]
    share = -(-(sum(map(len, train)) + sum(map(len, held_out))) // _MOST_HASHES)
    hashes = [_hashes(parts, share) for parts in (train, held_out)]
    distinct = [np.unique(each) for each in hashes]
    median, held_out_median = float(np.median(norm)), float(np.median(held_out_norm))
    return still_dimensions(chunks[i] for i in _evenly(len(chunks))) | {
        "equal_rows": share * (len(hashes[0]) - len(distinct[0])),
        "held_out_rows_in_training": share * int(np.isin(hashes[1], distinct[0]).sum()),
        "hashes_kept": 1 / share,
        "median_norm": {"train": median, "held_out": held_out_median},
        f"rows_above_{_FAR}_medians": int((norm > _FAR * median).sum()),
        f"rows_below_median_by_{_FAR}": int((norm * _FAR < median).sum()),
    }


def remarks(checks: dict[str, Any], rows: int) -> list[str]:
    """A phrase for each check that a reader should know of; rows: those of the training split."""
    out = []
    for key in ("constant_dimensions", "near_constant_dimensions"):
        if dimensions := checks[key]:
            first = ", ".join(map(str, dimensions[:3])) + (" …" if len(dimensions) > 3 else "")
            out.append(f"{len(dimensions):,} {key.replace('_', ' ').replace('near ', 'near-')} ({first})")
    about = "" if checks["hashes_kept"] == 1 else "about "
    if equal := checks["equal_rows"]:
        out.append(f"{about}{equal:,} training rows ({equal / rows:.1%}) equal to an earlier one")
    if both := checks["held_out_rows_in_training"]:
        out.append(f"{about}{both:,} held-out rows equal to a training row")
    if far := checks[f"rows_above_{_FAR}_medians"]:
        out.append(f"{far:,} training rows with a norm above {_FAR} medians")
    if far := checks[f"rows_below_median_by_{_FAR}"]:
        out.append(f"{far:,} training rows with a norm below a {_FAR}th of the median")
    train, held_out = (checks["median_norm"][split] for split in ("train", "held_out"))
    if not train / 2 <= held_out <= 2 * train:
        out.append(f"median norm {held_out:.4g} of held-out rows and {train:.4g} of training rows")
    return out


def spans(rows: int) -> list[tuple[int, int]]:
    """Ranges of rows, evenly over all of them, for `still_dimensions`."""
    starts = range(0, rows, _CHUNK)
    return [(starts[i], min(starts[i] + _CHUNK, rows)) for i in _evenly(len(starts))]


def still_dimensions(chunks: Iterable[NDArray]) -> dict[str, list[int]]:
    """The dimensions that are constant over the rows of the chunks, each (rows, d), and those that nearly are."""
    first, same = np.zeros(0), np.zeros(0, dtype=bool)
    total, squares, n = np.zeros(0), np.zeros(0), 0
    for chunk in chunks:
        x = chunk.astype(np.float64)
        if not n:
            first, same = x[0], np.ones(x.shape[1], dtype=bool)
            total, squares = np.zeros_like(first), np.zeros_like(first)
        away = x - first
        total, squares, n = total + away.sum(axis=0), squares + (away**2).sum(axis=0), n + len(away)
        same &= (away == 0).all(axis=0)
    std = np.sqrt(np.maximum(squares / n - (total / n) ** 2, 0))
    near = ~same & (std < _NEAR_CONSTANT * np.median(std[~same])) if (~same).any() else ~same
    return {
        "constant_dimensions": np.flatnonzero(same).tolist(),
        "near_constant_dimensions": np.flatnonzero(near).tolist(),
    }


def _evenly(chunks: int) -> list[int]:
    return np.linspace(0, chunks - 1, min(chunks, _SPREAD_CHUNKS)).astype(int).tolist()


def _hashes(parts: Sequence[NDArray], share: int) -> NDArray[np.uint64]:
    """A 64-bit hash of each row, of one in `share` of the hashes, so that equal rows all stay or all go."""
    width = -(-parts[0].shape[1] * parts[0].dtype.itemsize // 8)  # in words of 8 bytes
    keys = np.random.default_rng(0).integers(0, 2**64, size=width, dtype=np.uint64) | np.uint64(1)
    out = []
    for part in parts:
        for a in range(0, len(part), _CHUNK):
            rows = (
                np.ascontiguousarray(part[a : a + _CHUNK])
                .view(np.uint8)
                .reshape(len(part[a : a + _CHUNK]), -1)
            )
            words = np.zeros((len(rows), 8 * width), dtype=np.uint8)
            words[:, : rows.shape[1]] = rows
            mixed = words.view(np.uint64)
            # Without this, rows that differ only in the upper bits of words would often have equal hashes.
            mixed = mixed ^ (mixed >> np.uint64(29))
            hashed = mixed @ keys
            out.append(hashed[(hashed >> np.uint64(20)) % np.uint64(share) == 0])
    return np.concatenate(out)
