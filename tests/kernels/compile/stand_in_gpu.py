"""The CUDA paths of the benchmarks on a machine without a GPU: tensors of the CPU say that they are on CUDA.

Launches of Triton kernels compile for sm_90 and run nothing, so that results mean nothing; everything else is real.
"""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode

from benchmarks.kernels import __main__ as kernels
from benchmarks.kernels import case as kernel_case
from benchmarks.kernels import ceilings as kernel_ceilings
from benchmarks.kernels import clock as kernel_clock
from benchmarks.kernels import peers as kernel_peers
from benchmarks.kernels import steps as kernel_steps
from benchmarks.kernels import works as kernel_works
from benchmarks.train import case as train_case
from benchmarks.train import ours as train_ours
from tests.kernels.compile.compile_only import compile_only

_MODULES = (
    *(kernels, kernel_case, kernel_clock, kernel_ceilings, kernel_peers, kernel_steps, kernel_works),
    *(train_case, train_ours),
)
_UNINITIALISED = ("empty", "empty_like", "new_empty")
_BIG = 2**20  # elements: such a tensor's pages are never touched, so that the sizes of a GPU cost nothing
_FILLED = ("randn", "rand", "zeros", "full", "new_zeros")
_IN_PLACE = ("normalize", "abs_", "zero_")
_Generator = torch.Generator


class _OnCPU(torch.Generator):
    def __new__(cls, device: Any = "cpu") -> torch.Generator:
        return _Generator.__new__(cls, "cpu")


class _Event:
    def __init__(self, enable_timing: bool) -> None:
        assert enable_timing

    def record(self) -> None:
        self.at = time.perf_counter()

    def elapsed_time(self, last: "_Event") -> float:
        return 1000 * (last.at - self.at)


class _Claimed(TorchFunctionMode):
    """What is to be made on CUDA is made on the CPU."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        args, kwargs = [_cpu(a) for a in args], {key: _cpu(a) for key, a in (kwargs or {}).items()}
        if name in _FILLED and _elements(args) >= _BIG:
            return torch.empty(*args, **{key: a for key, a in kwargs.items() if key in ("dtype", "device")})
        if args and isinstance(args[0], torch.Tensor) and args[0].numel() >= _BIG:
            if name in _IN_PLACE:
                return args[0]
            if name == "clone":
                return torch.empty_like(args[0])
        made = func(*args, **kwargs)
        return made.zero_() if name in _UNINITIALISED and made.numel() < _BIG else made


def _elements(args: list[Any]) -> int:
    sizes = args if all(isinstance(a, int) for a in args) else next(iter(args), ())
    return torch.Size(sizes).numel() if isinstance(sizes, list | tuple) else 0


def _cpu(given: Any) -> Any:
    asked = given.type if isinstance(given, torch.device) else given
    return "cpu" if isinstance(asked, str) and asked.partition(":")[0] == "cuda" else given


@contextlib.contextmanager
def stand_in_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[list]:
    """Inside, the benchmark of the kernels believes in a GPU; the list takes the compiled kernels."""
    autocast, enabled = torch.autocast, torch.is_autocast_enabled
    for module in _MODULES:
        monkeypatch.setattr(module, "device", lambda: "cuda")
    # Not by the mode, which is off inside a custom op and in a backward pass.
    monkeypatch.setattr(torch.Tensor, "is_cuda", property(lambda _: True), raising=False)
    monkeypatch.setattr(torch, "Generator", _OnCPU)
    monkeypatch.setattr(torch, "autocast", lambda _, dtype, enabled: autocast("cpu", dtype, enabled=enabled))
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda _: enabled("cpu"))
    monkeypatch.setattr(torch.cuda, "Event", _Event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (2**37, 2**37))
    for place in ("device", "device_of"):
        monkeypatch.setattr(torch.cuda, place, lambda _: contextlib.nullcontext())
    monkeypatch.setattr(kernel_clock, "_FLUSH", 2**20)
    monkeypatch.setattr(kernel_clock, "_MOST", 1)
    monkeypatch.setattr(kernel_ceilings, "_COPIED", {"cuda": 2**20})
    with compile_only(90) as compiled, _Claimed():
        yield compiled
