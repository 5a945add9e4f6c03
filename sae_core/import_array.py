"""Making a store of activations that already lie in a tensor, a .npy or a .safetensors file."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor

from sae_core.errors import DataError
from sae_core.shards import sha256_of
from sae_core.store_writer import StoreWriter, finished

_Rows = Callable[[int, int], Tensor]


def from_array(
    source: str | Path | Tensor | NDArray,
    out: str | Path,
    held_out: int,
    prepare: str = "none",
    dtype: str = "float16",
    shard_rows: int = 65_536,
) -> Path:
    """Write activations (rows, d) into the store `out` and return its path. The same again changes nothing.

    The last `held_out` rows are held out: arrays of activations are usually in the order of the text, and a random
    choice would put neighbouring tokens of one context on both sides.
    Raises DataError if the array is not (rows, d), holds NaN, or leaves no training row.
    """
    (n, d), rows, name, digest = _opened(source)
    if not 0 < held_out < n:
        raise DataError(
            f"held_out is {held_out:,} of {n:,} rows; it must be above 0 and leave training rows."
        )
    config = {"array_sha256": digest, "held_out": held_out, "shard_rows": shard_rows}
    if finished(out, config | {"prepare": prepare, "dtype": dtype}):
        return Path(out)
    writer = StoreWriter(out, d, config, prepare, dtype)
    for split, begin, end in (("held_out", n - held_out, n), ("train", 0, n - held_out)):
        for index, a in enumerate(range(begin, end, shard_rows)):
            if not writer.has(split, index):
                writer.write(split, index, rows(a, min(a + shard_rows, end)))
    return writer.finish(about={"array": name})


def _opened(source: str | Path | Tensor | NDArray) -> tuple[tuple[int, int], _Rows, str, str]:
    """Shape, a reader of the rows a … b−1, a name for people, and a checksum."""
    if isinstance(source, Tensor | np.ndarray):
        array = source.detach().cpu() if isinstance(source, Tensor) else torch.from_numpy(source)
        flat = array.contiguous().reshape(-1).view(torch.uint8).numpy()
        shape, rows = tuple(array.shape), lambda a, b: array[a:b]
        name, digest = f"tensor {shape}", hashlib.sha256(flat.data).hexdigest()
    else:
        path = Path(source)
        if not path.is_file():
            raise DataError(f"there is no array {path}; give a .npy or .safetensors file of shape (rows, d).")
        shape, rows = _opened_npy(path) if path.suffix == ".npy" else _opened_safetensors(path)
        name, digest = path.name, sha256_of(path)
    if len(shape) != 2:
        raise DataError(f"{name} has shape {shape}; activations must be (rows, d).")
    return (shape[0], shape[1]), rows, name, digest


def _opened_npy(path: Path) -> tuple[tuple[int, ...], _Rows]:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError) as error:
        raise DataError(f"{path} is no .npy file of numbers ({error}).") from None
    return array.shape, lambda a, b: torch.from_numpy(np.array(array[a:b], dtype=np.float32))


def _opened_safetensors(path: Path) -> tuple[tuple[int, ...], _Rows]:
    """The tensor `x`, or the only one there is."""
    try:
        file = safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path} is no .safetensors file ({error}).") from None
    names = list(file.keys())
    if "x" not in names and len(names) != 1:
        raise DataError(f"{path} holds {names}; name the activations `x` or leave only one tensor in it.")
    array = file.get_slice("x" if "x" in names else names[0])
    return tuple(array.get_shape()), lambda a, b: array[a:b]
