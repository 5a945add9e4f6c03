"""The tensors that the modules of a block read and return in one small forward pass, to find a site by its meaning."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Tap:
    """A tensor that is read: what a module gets, or what it returns. `module` is its path below the block."""

    module: str  # "" is the block itself
    part: str = "output"  # or "input"

    def described(self, block: str) -> str:
        return f"{self.part} of {block}{'.' if self.module else ''}{self.module}"


@dataclass(frozen=True)
class Value:
    """One tensor of a trace: x (tokens, width) in float64, and the rounding step of the dtype that it was in."""

    tap: Tap
    x: Tensor
    eps: float
    order: int  # in which the tensors of the block were seen

    def equals(self, other: "Value") -> bool:
        return self.x.shape == other.x.shape and torch.equal(self.x, other.x)


@dataclass
class Trace:
    """What the modules of one block read and returned. Tensors of another form than (tokens, width) are left out.

    `given` is each module with all that it got, of which `inputs` has the first tensor; `calls` counts its calls, of
    which the last is kept.
    """

    inputs: dict[str, Value] = field(default_factory=dict)
    outputs: dict[str, Value] = field(default_factory=dict)
    given: dict[str, tuple[nn.Module, tuple, dict[str, Any]]] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)
    norms: set[str] = field(default_factory=set)  # the paths of the modules that are norms
    clock: int = 0

    def passes(self, path: str) -> bool:
        """Whether a module returns what it gets, as dropout does."""
        a, b = self.inputs.get(path), self.outputs.get(path)
        return a is not None and b is not None and a.equals(b)

    def value(self, tap: Tap) -> Value:
        return (self.inputs if tap.part == "input" else self.outputs)[tap.module]

    def adds(self, path: str, stream: Value) -> bool:
        """Whether a module adds the stream, one of its arguments but the first, to what it returns.

        It is called again, with the stream doubled there and as it was: the outputs must differ by the stream.
        """
        module, inputs, named = self.given[path]
        keys: list[Any] = [*range(1, len(inputs)), *named]
        arguments = dict(enumerate(inputs)) | named
        for key in keys:
            there = arguments[key]
            if not isinstance(there, Tensor) or there.numel() != stream.x.numel():
                continue
            if not torch.equal(there.reshape(stream.x.shape).double().cpu(), stream.x):
                continue
            moved = [_called(module, inputs, named, key, there * times) for times in (2, 1)]
            left = (moved[0] - moved[1]).reshape(stream.x.shape) - stream.x
            return bool(
                (left.abs() <= 64 * stream.eps * (moved[0].abs().reshape(stream.x.shape) + 1e-30)).all()
            )
        return False

    def returned(self, width: int) -> list[Value]:
        """The outputs of modules below the block that are called once, the ones with the shortest paths first."""
        found = [
            value
            for path, value in self.outputs.items()
            if path and self.calls[path] == 1 and value.x.shape[1] == width
        ]
        return sorted(found, key=lambda value: (value.tap.module.count("."), value.order))

    def read(self, width: int) -> list[Value]:
        """The inputs of modules below the block, in the order of the calls."""
        found = [value for path, value in self.inputs.items() if path and value.x.shape[1] == width]
        return sorted(found, key=lambda value: value.order)


@contextmanager
def traced(blocks: Mapping[int, nn.Module], ids: Tensor) -> Iterator[dict[int, Trace]]:
    """Inside, a forward pass over ids (contexts, length) fills a `Trace` for every one of these blocks."""
    traces = {index: Trace() for index in blocks}
    handles = []
    for index, block in blocks.items():
        for path, module in block.named_modules():
            if "norm" in type(module).__name__.lower():
                traces[index].norms.add(path)
            keep = partial(_keep, traces[index], path, ids.shape)
            handles.append(module.register_forward_pre_hook(partial(keep, "input"), with_kwargs=True))
            handles.append(module.register_forward_hook(partial(keep, "output")))
    try:
        yield traces
    finally:
        for handle in handles:
            handle.remove()


def first_tensor(returned: Any) -> Tensor | None:
    """The tensor that a module returns: by itself, first in a tuple, or first in an output of transformers."""
    while isinstance(returned, tuple | list | dict) and returned:
        returned = next(iter(returned.values() if isinstance(returned, dict) else returned))
    return returned if isinstance(returned, Tensor) else None


def first_argument(inputs: tuple[Any, ...], named: Mapping[str, Any]) -> Tensor | None:
    """The tensor that a module reads: its first argument, or the one that transformers gives as `hidden_states`."""
    arguments = [*inputs, named.get("hidden_states"), *named.values()]
    return next((each for each in arguments if isinstance(each, Tensor)), None)


def by_token(x: Tensor | None, shape: tuple[int, ...]) -> Tensor | None:
    """x as (contexts·length, width) if it has one vector for every token, as (contexts, length, width) or flat."""
    if x is None or not x.is_floating_point():
        return None
    tokens = shape[0] * shape[1]
    if x.ndim == 3 and tuple(x.shape[:2]) == tuple(shape) or x.ndim == 2 and x.shape[0] == tokens:
        return x.reshape(tokens, x.shape[-1])
    return None


def _keep(
    trace: Trace, path: str, shape: tuple[int, ...], part: str, module: Any, inputs: Any, other: Any
) -> None:
    """A forward hook, or a forward pre-hook with keywords. Copies, since a block may add to a tensor in place."""
    if part == "input":
        trace.given[path] = (module, inputs, dict(other))
        trace.calls[path] = trace.calls.get(path, 0) + 1
        tensor = by_token(first_argument(inputs, other), shape)
    else:
        tensor = by_token(first_tensor(other), shape)
    kept = trace.inputs if part == "input" else trace.outputs
    kept.pop(path, None)
    if tensor is not None:
        trace.clock += 1
        eps = torch.finfo(tensor.dtype).eps
        kept[path] = Value(Tap(path, part), tensor.double().cpu().clone(), eps, trace.clock)


def _called(module: nn.Module, inputs: tuple, named: Mapping[str, Any], key: Any, value: Tensor) -> Tensor:
    """What the module returns where one of its arguments is replaced, in float64."""
    replaced = [value if i == key else each for i, each in enumerate(inputs)]
    with torch.inference_mode():
        returned = first_tensor(module(*replaced, **{k: value if k == key else v for k, v in named.items()}))
    return torch.zeros_like(value).double().cpu() if returned is None else returned.double().cpu()
