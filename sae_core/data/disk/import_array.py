"""Import: writes a user's own array of activations as an activation store, the alternative to `harvest`."""

from collections.abc import Callable
from pathlib import Path

from numpy.typing import NDArray
from torch import Tensor

from sae_core.data.disk.arrays import Array, opened
from sae_core.data.disk.row_checks import spans, still_dimensions
from sae_core.data.disk.store_writer import StoreWriter, finished
from sae_core.errors import DataError

_MEDIAN_ROWS = 65_536  # the median norm is taken over the first training rows, so many


def from_array(
    source: str | Path | Tensor | NDArray,
    out: str | Path,
    held_out: int,
    prepare: str = "none",
    dtype: str = "float16",
    shard_rows: int = 65_536,
    format: str = "safetensors",
    drop_above: float | None = None,
    progress: Callable[[int, int], None] | None = None,
    integers: bool = False,
) -> Path:
    """Write activations (rows, d) into the store `out` and return its path. Repeating the call changes nothing.

    source: a tensor, a .npy or .safetensors file, or a folder of these. The last `held_out` rows are held out: arrays
    of activations are usually in the order of the text, and a random choice would put neighbouring tokens of one
    context on both sides.
    integers: take an array of integers, which is refused otherwise.
    Raises DataError if the array is not (rows, d), holds NaN or integers, or leaves no training row.
    """
    array = opened(source, integers)
    n, d = array.shape
    if not 0 < held_out < n:
        raise DataError(
            f"held_out is {held_out:,} of {n:,} rows; it must be above 0 and leave training rows."
        )
    if shard_rows < 1:
        raise DataError(f"shard_rows is {shard_rows}; it must be at least 1.")
    config = {"array_sha256": array.sha256, "held_out": held_out, "shard_rows": shard_rows}
    config |= {"drop_above": drop_above}
    if finished(out, config | {"prepare": prepare, "dtype": dtype, "format": format}):
        return Path(out)
    limit = _norm_limit(array, n - held_out, drop_above)
    writer = StoreWriter(out, d, config, prepare, dtype, format, limit)
    for split, begin, end in (("held_out", n - held_out, n), ("train", 0, n - held_out)):
        for index, a in enumerate(range(begin, end, shard_rows)):
            b = min(a + shard_rows, end)
            if not writer.has(split, index):
                writer.write(split, index, array.rows(a, b), first=a)
            if progress:
                progress(b - begin + (held_out if split == "train" else 0), n)
    still = still_dimensions(array.rows(a, b).numpy() for a, b in spans(n - held_out))
    return writer.finish(about={"array": array.name, "array_dtype": array.dtype}, checks=still)


def _norm_limit(array: Array, n_train: int, factor: float | None) -> float | None:
    """factor × the median norm of the first training rows, to three digits; None if factor is None."""
    if factor is None:
        return None
    if not factor > 1:
        raise DataError(f"drop_above is {factor}; it counts medians and must be above 1.")
    median = float(array.rows(0, min(_MEDIAN_ROWS, n_train)).norm(dim=1).nanmedian())
    return float(f"{factor * median:.3g}")
