"""Tiles measured on a GPU: tuning.json is read once and looked up at every launch of a Triton kernel.

Every launcher has a reasoned tile, computed by the formula in its `tile`. A measured entry replaces it only on a GPU of
the same name, in the same dtype and at the same sizes. The best tile depends on quantities that jump (the size of L2,
how many rows fit it, d / BD), so an entry for nearby sizes can be worse than the formula. Nothing is measured while
kernels run. Any tile of powers of two gives a correct result, but it may change the order of a sum
(tests/kernels/interp/test_tuning_triton.py), so results are bitwise equal only for one GPU and one tuning.json.

benchmarks/kernels/tuning.py writes the file. Where it has no entry, the formula is used.
"""

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from kernels.inputs import FLOAT

PATH = Path(__file__).with_name("tuning.json")
DTYPES = {str(dtype).removeprefix("torch."): dtype for dtype in (*FLOAT, torch.int32)}
# The times of this tile and of the formula's, and the versions with which they were measured.
MEASURED = ("ms", "reasoned_ms", "commit", "triton")


class Tiled(NamedTuple):
    sizes: tuple[str, ...]  # the keys of an entry, in addition to the GPU and the dtype of the rows
    tile: tuple[str, ...]


KERNELS = {
    "gather_sum": Tiled(("d",), ("T", "BD", "warps")),
    "gather_sum_mse": Tiled(("d",), ("T", "BD", "warps")),
    "gather_dot": Tiled(("d",), ("BK", "BD", "warps")),
    "segment_items": Tiled(("n", "entries"), ("C",)),  # the dtype is the plan's int32
    "segment_sum": Tiled(("d",), ("ITEMS", "T", "BD", "warps")),
    "segment_sum_dot": Tiled(("d",), ("ITEMS", "T", "BD", "warps")),
    "rowwise_adam_": Tiled(("d",), ("warps",)),
    "segment_sum_adam_": Tiled(("d",), ("T", "warps")),
    "topk": Tiled(("n", "k"), ("G", "BN", "BC", "warps")),
}
_forced: dict[str, tuple[int, ...]] = {}


def tuned(kernel: str, rows: Tensor, *sizes: int) -> tuple[int, ...] | None:
    """The tile measured for `rows` (its GPU and dtype) at these sizes; None: use the formula. A look-up is 0.8 µs."""
    if kernel in _forced:
        return _forced[kernel]
    device = rows.device
    if device.type != "cuda":  # under Triton's interpreter, or when kernels are only compiled
        return None
    return table().get((gpu_name(device.index), kernel, rows.dtype, *sizes))


@contextmanager
def using(kernel: str, tile: Sequence[int]) -> Iterator[None]:
    """Launch `kernel` with this tile inside the context, whatever the table holds; for measurements and tests.

    It applies to every thread of the process, since autograd runs the backward pass in other threads.
    """
    _check_length(kernel, tile, tiled(kernel).tile)
    before = _forced.get(kernel)
    _forced[kernel] = tuple(tile)
    try:
        yield
    finally:
        if before is None:
            del _forced[kernel]
        else:
            _forced[kernel] = before


@functools.cache
def table() -> dict[tuple, tuple[int, ...]]:
    """The entries of the committed file: (GPU, kernel, dtype, *sizes) → tile."""
    return checked(json.loads(PATH.read_text(encoding="utf-8")))


@functools.cache
def gpu_name(index: int) -> str:
    return torch.cuda.get_device_name(index)


def checked(entries: Sequence[Mapping[str, Any]]) -> dict[tuple, tuple[int, ...]]:
    """The entries in the form of `table`; a wrong entry raises ValueError with a message that names it."""
    found: dict[tuple, tuple[int, ...]] = {}
    for entry in entries:
        try:
            key = _key(entry)
            if key in found:
                raise ValueError("it is there twice")
            found[key] = tuple(entry["tile"])
        except ValueError as error:
            raise ValueError(f"{PATH.name}: {error}, in the entry {json.dumps(entry)}") from None
    return found


def tiled(kernel: Any) -> Tiled:
    """The sizes and tile parts in an entry of `kernel`; ValueError if there is no such kernel."""
    if kernel not in KERNELS:
        raise ValueError(f"kernel is {kernel!r}; it must be one of {', '.join(KERNELS)}")
    return KERNELS[kernel]


def _key(entry: Mapping[str, Any]) -> tuple:
    """The key under which the entry is looked up; ValueError says what is wrong with the entry."""
    kernel: Any = entry.get("kernel")
    sizes, names = tiled(kernel)
    fields = {"gpu", "kernel", "dtype", *sizes, "tile", *MEASURED}
    if fields != entry.keys():
        raise ValueError(f"{kernel} needs the fields {', '.join(sorted(fields))} and no others")
    if entry["dtype"] not in DTYPES:
        raise ValueError(f"dtype is {entry['dtype']!r}; it must be one of {', '.join(DTYPES)}")
    for size in sizes:
        if type(entry[size]) is not int:
            raise ValueError(f"{size} is {entry[size]!r}; it must be an integer")
    _check_length(kernel, entry["tile"], names)
    for name, value in zip(names, entry["tile"], strict=True):
        _check_part(name, value)
    return entry["gpu"], kernel, DTYPES[entry["dtype"]], *(entry[size] for size in sizes)


def _check_length(kernel: str, tile: Any, names: Sequence[str]) -> None:
    if not isinstance(tile, list | tuple) or len(tile) != len(names):
        raise ValueError(f"tile is {tile}; that of {kernel} is [{', '.join(names)}]")


def _check_part(name: str, value: Any) -> None:
    if type(value) is not int or value < 1 or value & (value - 1):
        raise ValueError(f"{name} is {value!r}; it must be a power of two")
    if name == "warps" and value > 32:
        raise ValueError(f"warps is {value}; a program has 32 at most")
