"""A user's own arrays of activations, in memory, in a file or in a folder of files, read as one sequence of rows."""

import hashlib
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor

from sae_core.data.disk.shards import sha256_of
from sae_core.errors import DataError

_SUFFIXES = (".npy", ".safetensors")
_FLOATS, _INTEGERS = (
    ("f", "bf"),
    ("i", "u"),
)  # names of dtypes in numpy, torch and safetensors begin so: F32, uint8


@dataclass(frozen=True)
class Array:
    """Rows of activations, (rows, d_model), read a range at a time."""

    name: str  # for people
    sha256: str
    shape: tuple[int, ...]
    dtype: str  # of the file
    rows: Callable[[int, int], Tensor]  # rows a … b−1


def opened(source: str | Path | Tensor | NDArray, integers: bool = False) -> Array:
    """Open a tensor, a .npy or .safetensors file, or a folder of these, read in the order of the file names.

    Raises DataError if it is missing, is not (rows, d), does not hold numbers, or has several widths, and for integers
    unless they are asked for.
    """
    if isinstance(source, Tensor | np.ndarray):
        return _usable(_in_memory(source), integers)
    path = Path(source).expanduser()
    if not path.is_dir():
        return _usable(_file(path), integers)
    files = sorted(file for file in path.iterdir() if file.suffix in _SUFFIXES)
    if not files:
        raise DataError(
            f"the folder {path} holds no {' or '.join(_SUFFIXES)} file; give one with activations."
        )
    return _joined(path.name, [_usable(_file(file), integers) for file in files])


def _usable(array: Array, integers: bool) -> Array:
    kind = array.dtype.lower()
    if not (kind.startswith(_FLOATS) or integers and kind.startswith(_INTEGERS)):
        why = "activations are real numbers"
        if kind.startswith(_INTEGERS):
            why = (
                "integers are no activations, and bfloat16 saved through a view looks like this: save float32, or set "
                "integers to true"
            )
        raise DataError(f"{array.name} holds {array.dtype}; {why}.")
    if len(array.shape) != 2:
        raise DataError(f"{array.name} has shape {array.shape}; activations must be (rows, d).")
    return array


def _in_memory(source: Tensor | NDArray) -> Array:
    if isinstance(source, np.ndarray) and source.dtype.kind not in "fiu":
        raise DataError(f"the array holds {source.dtype}; activations are real numbers.")
    array = source.detach().cpu() if isinstance(source, Tensor) else torch.from_numpy(source)
    flat = array.contiguous().reshape(-1).view(torch.uint8).numpy()
    shape = tuple(array.shape)
    return Array(
        f"tensor {shape}",
        hashlib.sha256(flat.data).hexdigest(),
        shape,
        str(array.dtype).removeprefix("torch."),
        lambda a, b: array[a:b].float(),
    )


def _file(path: Path) -> Array:
    if not path.is_file():
        raise DataError(f"there is no array {path}; give a .npy or .safetensors file of shape (rows, d).")
    shape, dtype, rows = _npy(path) if path.suffix == ".npy" else _safetensors(path)
    return Array(path.name, sha256_of(path), shape, dtype, rows)


def _npy(path: Path) -> tuple[tuple[int, ...], str, Callable[[int, int], Tensor]]:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"{path} is not a .npy file of numbers ({error}).") from None
    if array.dtype.kind not in "fiu":
        raise DataError(f"{path} is not a .npy file of numbers (its dtype is {array.dtype}).")
    return (
        array.shape,
        str(array.dtype),
        lambda a, b: torch.from_numpy(np.array(array[a:b], dtype=np.float32)),
    )


def _safetensors(path: Path) -> tuple[tuple[int, ...], str, Callable[[int, int], Tensor]]:
    """The tensor `x`, or the only tensor of the file."""
    try:
        file = safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path} is not a .safetensors file ({error}).") from None
    names = list(file.keys())
    if "x" not in names and len(names) != 1:
        raise DataError(f"{path} holds {names}; name the activations `x` or leave only one tensor in it.")
    array = file.get_slice("x" if "x" in names else names[0])
    return tuple(array.get_shape()), array.get_dtype(), lambda a, b: array[a:b].float()


def _joined(name: str, parts: list[Array]) -> Array:
    first = parts[0]
    for part in parts:
        if part.shape[1] != first.shape[1]:
            widths = f"{first.shape[1]} in {first.name} and {part.shape[1]} in {part.name}"
            raise DataError(f"the files of {name} have several widths: {widths}; keep one layer in a folder.")
    starts = list(accumulate((part.shape[0] for part in parts), initial=0))

    def rows(a: int, b: int) -> Tensor:
        inside = range(bisect_right(starts, a) - 1, bisect_right(starts, b - 1))
        return torch.cat(
            [parts[i].rows(max(a - starts[i], 0), min(b - starts[i], parts[i].shape[0])) for i in inside]
        )

    digest = hashlib.sha256("".join(part.sha256 for part in parts).encode()).hexdigest()
    return Array(f"{name}, {len(parts)} files", digest, (starts[-1], first.shape[1]), first.dtype, rows)
