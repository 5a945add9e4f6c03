"""One shard of a store: `x` (rows, d) in a safetensors or raw .npy file, written atomically and read by memory map."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sae_core.errors import DataError
from sae_core.files import replacing

if TYPE_CHECKING:  # a plan opens a store without torch, which takes seconds to import
    from torch import Tensor

DTYPES = ("float16", "float32")
_SAFETENSORS_DTYPES: dict[str, np.dtype] = {"F16": np.dtype("<f2"), "F32": np.dtype("<f4")}
FORMATS = ("safetensors", "npy")
_MAX_HEADER = 100_000_000  # bytes; the limit of the safetensors format


@dataclass(frozen=True)
class Header:
    """Where the tensors of a shard lie: name -> (dtype, shape, offset in the file), and the file's metadata."""

    tensors: dict[str, tuple[np.dtype, tuple[int, ...], int]]
    metadata: dict[str, str]


@dataclass(frozen=True)
class Dropped:
    """Counts of rows that were given to a shard and dropped."""

    constant: int = 0  # nothing is left of them once their mean is subtracted
    above: int = 0  # with a norm above the store's limit

    def __add__(self, other: "Dropped") -> "Dropped":
        return Dropped(self.constant + other.constant, self.above + other.above)


def shard_name(split: str, index: int, format: str = "safetensors") -> str:
    return f"{split}-{index:05d}.{format}"


def write_shard(path: Path, x: "Tensor", norm: "Tensor", dropped: Dropped) -> None:
    """Write a shard atomically: a file under the shard's final name is complete.

    x: (rows, d);  norm: (rows,), norms before preparation. A .npy file holds x alone; the rest is in a file beside it.
    """
    from safetensors.torch import save_file

    # One metadata key only: safetensors does not promise an order of several, and shards are compared by checksum.
    counts = f"{dropped.constant}+{dropped.above}" if dropped.above else str(dropped.constant)
    raw = path.suffix == ".npy"
    with replacing(_beside(path)) as temporary:
        save_file({"norm": norm} | ({} if raw else {"x": x}), temporary, metadata={"dropped": counts})
    if raw:
        with replacing(path) as temporary, open(temporary, "wb") as file:
            np.save(file, x.numpy(), allow_pickle=False)


def map_rows(path: Path) -> NDArray:
    """The rows of a shard as a read-only memory map: (rows, d). Raises DataError if it is missing or torn."""
    if path.suffix != ".npy":
        return map_tensor(path, "x")
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise _missing(path) from None
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"{path} is truncated or not a .npy file ({error}); write it again.") from None


def read_norms(path: Path) -> NDArray:
    """Norms of a shard's rows before preparation: (rows,) float32."""
    return map_tensor(_beside(path), "norm")


def read_dropped(path: Path) -> Dropped:
    counts = read_header(_beside(path)).metadata.get("dropped", "0")
    return Dropped(*map(int, counts.split("+")))


def is_complete(path: Path) -> bool:
    try:
        map_rows(path)
        read_norms(path)
    except DataError:
        return False
    return True


def read_header(path: Path) -> Header:
    """Header of a shard. Raises DataError if the file is missing or torn, or has tensors other than F16 and F32."""
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(_MAX_HEADER, size - 8):
                raise DataError(
                    f"{path} is truncated or not a safetensors file: {size:,} bytes; write it again."
                )
            header = json.loads(file.read(length))
        metadata = header.pop("__metadata__", {})
        tensors = {name: _located(entry, 8 + length, size) for name, entry in header.items()}
    except FileNotFoundError:
        raise _missing(path) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} is truncated or not a shard of a store ({error}); write it again.") from None
    return Header(tensors, metadata)


def _located(entry: dict, begin: int, size: int) -> tuple[np.dtype, tuple[int, ...], int]:
    dtype, shape = _SAFETENSORS_DTYPES[entry["dtype"]], tuple(int(n) for n in entry["shape"])
    first, last = entry["data_offsets"]
    if last - first != dtype.itemsize * int(np.prod(shape)) or begin + last > size:
        raise ValueError(f"the data end at byte {begin + last:,} and the file at {size:,}")
    return dtype, shape, begin + first


def map_tensor(path: Path, name: str) -> NDArray:
    """The tensor `name` of a safetensors file as a read-only memory map."""
    header = read_header(path)
    if name not in header.tensors:
        raise DataError(f"{path} holds {sorted(header.tensors)} and no {name!r}; write it again.")
    dtype, shape, offset = header.tensors[name]
    return np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=shape)


def _beside(path: Path) -> Path:
    """The file with a shard's norms and counts: the shard itself, or the file beside a raw array."""
    return path.with_suffix(".norms.safetensors") if path.suffix == ".npy" else path


def _missing(path: Path) -> DataError:
    return DataError(f"{path} is missing; restore it or write the store again.")


def sha256_of(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
