"""One shard of a store: a safetensors file with `x` (rows, d), written at once and mapped into memory."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from sae_core.errors import DataError
from sae_core.files import replacing

TORCH_DTYPES = {"float16": torch.float16, "float32": torch.float32}
_SAFETENSORS_DTYPES: dict[str, np.dtype] = {"F16": np.dtype("<f2"), "F32": np.dtype("<f4")}
_MAX_HEADER = 100_000_000  # bytes; the limit of the safetensors format


@dataclass(frozen=True)
class Header:
    """Where the tensors of a shard lie: name -> (dtype, shape, offset in the file), and the file's metadata."""

    tensors: dict[str, tuple[np.dtype, tuple[int, ...], int]]
    metadata: dict[str, str]


def shard_name(split: str, index: int) -> str:
    return f"{split}-{index:05d}.safetensors"


def write_shard(path: Path, tensors: Mapping[str, Tensor], dropped: int) -> None:
    """Write a shard, atomically: one under its own name is complete."""
    # One metadata key only: safetensors does not promise an order of several, and shards are compared by checksum.
    with replacing(path) as temporary:
        save_file(dict(tensors), temporary, metadata={"dropped": str(dropped)})


def read_header(path: Path) -> Header:
    """Header of a shard. Raises DataError if the file is missing, torn, or holds other than F16 and F32 tensors."""
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(_MAX_HEADER, size - 8):
                raise DataError(
                    f"{path} is truncated or no safetensors file: {size:,} bytes; write it again."
                )
            header = json.loads(file.read(length))
        metadata = header.pop("__metadata__", {})
        tensors = {name: _located(entry, 8 + length, size) for name, entry in header.items()}
    except FileNotFoundError:
        raise DataError(f"{path} is missing; restore it or write the store again.") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} is truncated or no shard of a store ({error}); write it again.") from None
    return Header(tensors, metadata)


def _located(entry: dict, begin: int, size: int) -> tuple[np.dtype, tuple[int, ...], int]:
    dtype, shape = _SAFETENSORS_DTYPES[entry["dtype"]], tuple(int(n) for n in entry["shape"])
    first, last = entry["data_offsets"]
    if last - first != dtype.itemsize * int(np.prod(shape)) or begin + last > size:
        raise ValueError(f"the data end at byte {begin + last:,} and the file at {size:,}")
    return dtype, shape, begin + first


def map_tensor(path: Path, name: str, header: Header | None = None) -> NDArray:
    """The tensor `name` of a shard as a read-only memory map."""
    header = header or read_header(path)
    if name not in header.tensors:
        raise DataError(f"{path} holds {sorted(header.tensors)} and no {name!r}; write it again.")
    dtype, shape, offset = header.tensors[name]
    return np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=shape)


def sha256_of(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
