"""A memory and race checker for kernels run by Triton's interpreter: `with sanitize() as errors: launch(...)`.

It stands between the interpreter and memory, and reports in sentences
- a lane outside the extent of every tensor passed to the kernel (the access is not made),
- an address written by one program and read or written by another, unless both accesses are atomic,
- two lanes of one store that give one address different values,
- a program that reads what it stored without a barrier in between, since another of its threads may have stored it.
Programs run forward, in reverse or shuffled, since a GPU promises no order. `torch.empty`, `Tensor.new_empty` and the
masked lanes of a load without `other` are filled with NaN, integers with their dtype's extreme, so that an element
never written, or never read, shows. Not watched: atomic_cas, and accesses of unequal width that overlap.
"""

import contextlib
import os
from collections.abc import Iterator

import numpy as np
import torch
import triton
import triton.runtime.interpreter as interpreter

ORDERS = ("forward", "reverse", "shuffle")  # each odd case runs in all three


def why_not() -> str:
    """Why this process cannot run the interpreter; empty if it can."""
    if os.environ.get("TRITON_INTERPRET") != "1":
        return "needs a process of its own with TRITON_INTERPRET=1, as `make test` starts"
    if triton.__version__.startswith("3.6.") and np.lib.NumpyVersion(np.__version__) >= "2.4.0":
        return "the interpreter of Triton 3.6 cannot run range() under numpy >= 2.4"
    return ""


class WatchedMemory:
    """The interpreter's C module with its memory accesses checked."""

    def __init__(self, memory, builder, errors: list[str]):
        self._memory, self._builder, self._errors = memory, builder, errors
        self.begin([])

    def __getattr__(self, name: str):
        return getattr(self._memory, name)

    def begin(self, tensors: list[tuple[str, torch.Tensor]]) -> None:
        """A launch starts with these tensors; what other launches touched is forgotten."""
        self._extents = [(*extent(tensor), name) for name, tensor in tensors if tensor.numel()]
        self._writer: dict[int, tuple[tuple, bool]] = {}  # address → program, whether atomically
        self._reader: dict[int, set[tuple]] = {}  # address → programs that read it plainly
        self._unseen: dict[tuple, set[int]] = {}  # program → addresses it has stored since its last barrier

    def barrier(self) -> None:
        """The threads of this program wait for one another: each sees what the others stored."""
        self._unseen.pop(self._builder.grid_idx, None)

    def load(self, pointers, mask, other, dtype):
        mask, addresses = self._inside("load", pointers, mask, np.dtype(dtype).itemsize)
        self._note_reads(addresses)
        return self._memory.load(pointers, mask, other, dtype)

    def store(self, pointers, value, mask):
        mask, addresses = self._inside("store", pointers, mask, value.dtype.itemsize)
        written: dict[int, object] = {}
        for address, item in zip(
            addresses, np.broadcast_to(value, pointers.shape)[mask].tolist(), strict=True
        ):
            before = written.setdefault(address, item)
            if before != item and not (before != before and item != item):  # NaN is no other value than NaN
                self._report(f"two lanes store different values at {self._name(address)}")
                break
        self._note_writes(addresses, atomic=False)
        return self._memory.store(pointers, value, mask)

    def atomic_rmw(self, op, pointers, value, mask, sem):
        mask, addresses = self._inside("atomic", pointers, mask, value.dtype.itemsize)
        self._note_writes(addresses, atomic=True)
        return self._memory.atomic_rmw(op, pointers, value, mask, sem)

    def _inside(self, kind: str, pointers, mask, size: int):
        """The mask without lanes that would leave every tensor, and the addresses of the rest."""
        mask = np.broadcast_to(mask, pointers.shape).astype(bool)
        address = pointers.astype(np.int64)
        owned = np.zeros(pointers.shape, dtype=bool)
        for low, high, _ in self._extents:
            owned |= (address >= low) & (address + size <= high)
        outside = address[mask & ~owned]
        if outside.size:
            self._report(
                f"out-of-bounds {kind} in {outside.size} lanes, first at {self._name(int(outside[0]))}"
            )
        mask &= owned
        return mask, address[mask].tolist()

    def _note_reads(self, addresses: list[int]) -> None:
        program = self._builder.grid_idx
        for address in addresses:
            writer = self._writer.get(address)
            if writer is not None and writer[0] != program:
                return self._report(f"race: reads {self._name(address)}, which program {writer[0]} writes")
            if address in self._unseen.get(program, ()):
                return self._report(f"no barrier: reads {self._name(address)}, which it stored itself")
            self._reader.setdefault(address, set()).add(program)

    def _note_writes(self, addresses: list[int], atomic: bool) -> None:
        program = self._builder.grid_idx
        for address in addresses:
            writer = self._writer.get(address)
            if writer is not None and writer[0] != program and not (atomic and writer[1]):
                return self._report(
                    f"race: writes {self._name(address)}, which program {writer[0]} writes too"
                )
            if self._reader.get(address, set()) - {program}:
                return self._report(f"race: writes {self._name(address)}, which another program reads")
            self._writer[address] = (program, atomic)
        self._unseen.setdefault(program, set()).update(addresses)

    def _name(self, address: int) -> str:
        if not self._extents:
            return "an address without tensors"
        low, high, name = min(self._extents, key=lambda e: max(e[0] - address, address - e[1] + 1, 0))
        return f"byte {address - low} of '{name}' ({high - low} bytes)"

    def _report(self, what: str) -> None:
        self._errors.append(f"program {self._builder.grid_idx}: {what}")


def extent(tensor: torch.Tensor) -> tuple[int, int]:
    """First byte of a strided tensor and the byte after its last element."""
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return tensor.data_ptr(), tensor.data_ptr() + (last + 1) * tensor.element_size()


def poison(dtype: torch.dtype) -> float | int | bool:
    """NaN; of integers the lowest, or the highest where that is 0. A bool has nothing to spare."""
    if dtype.is_floating_point:
        return float("nan")
    return dtype == torch.bool or torch.iinfo(dtype).min or torch.iinfo(dtype).max


def undefined(pointers) -> interpreter.TensorHandle:
    """What masked lanes of a load without `other` hold: poison. Unsigned integers hold bfloat16, of which it is NaN."""
    element = pointers.get_element_ty()
    dtype = interpreter._get_np_dtype(element)
    if dtype.kind == "f":
        value: float | int | bool = np.nan
    else:
        value = dtype.kind == "b" or (np.iinfo(dtype).min or np.iinfo(dtype).max)
    return interpreter.TensorHandle(np.full(pointers.data.shape, value, dtype), element)


def poisoned(empty):
    """`torch.empty` or `Tensor.new_empty` whose elements are poison."""

    def filled(*args, **kwargs):
        out = empty(*args, **kwargs)
        return out.fill_(poison(out.dtype))

    return filled


def reordered(builder, order: str):
    """`builder.set_grid_idx` that runs the programs of a grid in another order."""
    set_grid_idx = builder.set_grid_idx

    def place(x: int, y: int, z: int) -> None:
        total = int(np.prod(builder.grid_dim))
        program = int(np.ravel_multi_index((x, y, z), builder.grid_dim))
        if order == "reverse":
            program = total - 1 - program
        elif order == "shuffle":
            program = int(np.random.default_rng(0).permutation(total)[program])
        set_grid_idx(*(int(axis) for axis in np.unravel_index(program, builder.grid_dim)))

    return place


@contextlib.contextmanager
def sanitize(order: str = "forward", last: int | None = None) -> Iterator[list[str]]:
    """Yield the list that errors of every launch inside are appended to; order: one of ORDERS.

    last: run that many programs only, the last ones of the grid's first axis, so that rows beyond element 2³¹ of a
    table are reached in seconds. `torch.empty` then stays as it is: most of such a table is never touched.
    """
    errors: list[str] = []
    builder, executor = interpreter.interpreter_builder, interpreter.GridExecutor
    memory, arguments, empty = interpreter._interpreter, executor._init_args_hst, torch.empty
    watched = WatchedMemory(memory, builder, errors)

    def begin(self, args, kwargs):
        args, kwargs = arguments(self, args, kwargs)
        named = [*zip(self.arg_names, args, strict=False), *kwargs.items()]
        watched.begin([(name, t) for name, t in named if isinstance(t, torch.Tensor)])
        if last is not None:
            whole, *rest = self.grid
            self.grid = (min(last, whole), *rest)
            skipped[:] = [whole - self.grid[0]]
        return args, kwargs

    def set_grid_dim(x, *rest):
        grid_dim(x + skipped[0], *rest)

    skipped, grid_dim = [0], builder.set_grid_dim
    place, masked_load = reordered(builder, order), builder.create_masked_load

    # The builder gets None for a scalar `other` of 0 as well, because the interpreter asks whether it is true.
    def load(pointer, mask, other, *how):
        given[0] = other is not None
        return semantic_load(pointer, mask, other, *how)

    def load_masked(pointers, mask, other, *how):
        other = undefined(pointers) if other is None and not given[0] else other
        return masked_load(pointers, mask, other, *how)

    given, semantic_load = [False], interpreter.interpreter_semantic.load
    interpreter._interpreter, executor._init_args_hst = watched, begin
    torch.Tensor.new_empty = poisoned(torch.Tensor.new_empty)  # type: ignore[method-assign]
    if last is None:
        torch.empty = poisoned(empty)
    else:
        builder.set_grid_dim = set_grid_dim
    builder.set_grid_idx = lambda x, y, z: place(x + skipped[0], y, z)
    builder.create_masked_load, builder.create_barrier = load_masked, watched.barrier
    interpreter.interpreter_semantic.load = load
    try:
        yield errors
    finally:
        interpreter._interpreter, executor._init_args_hst, torch.empty = memory, arguments, empty
        # The classes have their own.
        del builder.set_grid_idx, builder.create_masked_load, builder.create_barrier, torch.Tensor.new_empty
        del interpreter.interpreter_semantic.load
        if last is not None:
            del builder.set_grid_dim
