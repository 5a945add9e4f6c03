"""The cases on which tiles are measured: the calls, shapes and skewed inputs of `python -m benchmarks.kernels`."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch

from benchmarks.kernels import case as kernel_case
from benchmarks.kernels import works as kernel_works
from benchmarks.kernels.case import GOAL, Inputs, Shape
from benchmarks.kernels.works import OURS
from kernels import tuning
from kernels.plan import plan
from kernels.segment_sum import segment_sum

SKEW = 1.0  # the best slab width depends on how many rows are used often
_TABLE = 2**30  # most elements of a table: 4 GB of float32, which fit no cache
Call = Callable[[Any], object]


@dataclass(frozen=True)
class Case:
    """One kernel at one shape. dtype: the dtype of the rows, by which a launch looks up its tile."""

    kernel: str
    dtype: torch.dtype
    shape: Shape

    @property
    def named_sizes(self) -> dict[str, int]:
        """The sizes, named as in kernels/tuning.json."""
        names = tuning.KERNELS[self.kernel].sizes
        return {name: getattr(self.shape, name) for name in names}

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(self.named_sizes.values())

    def work(self) -> tuple[Call, Sequence[Any]]:
        """The call to measure, and the inputs for it, used in turn."""
        shape, dtype = self.shape, self.dtype
        if self.kernel == "segment_items":
            return _items(shape)
        if self.kernel == "topk":
            works, sets = kernel_works.selections(shape, dtype)
            return _ours(works, self.kernel), sets
        shape = replace(shape, n=min(shape.n, _TABLE // shape.d))
        if self.kernel == "rowwise_adam_":  # on a float32 table, with a copy in bfloat16
            dtype = torch.bfloat16
        make = kernel_works.steps_of_tables if "adam" in self.kernel else kernel_works.gathers
        return _ours(make(shape, dtype), self.kernel), _inputs(shape, dtype)


def cases() -> Iterator[Case]:
    """Each kernel at each size that the table distinguishes, in bfloat16, and then at d = 768 in float32.

    Most tiles are looked up by d, whatever B and n are, so only the first shape with a given d is measured; shapes with
    the goal's B come first.
    """
    shapes = sorted(kernel_case.CUDA, key=lambda shape: shape.B != GOAL.B)
    of_rows = {"segment_items": torch.int32, "rowwise_adam_": torch.float32}
    seen = set()
    for dtype, those in ((torch.bfloat16, shapes), (torch.float32, [GOAL])):
        for shape in those:
            for kernel in tuning.KERNELS:
                case = Case(kernel, of_rows.get(kernel, dtype), shape)
                if (key := (kernel, case.dtype, case.sizes)) not in seen:
                    seen.add(key)
                    yield case


@lru_cache(maxsize=1)
def _inputs(shape: Shape, dtype: torch.dtype) -> list[Inputs]:
    """The input sets of a shape, cached because consecutive kernels use the same ones."""
    return kernel_case.inputs(shape, SKEW, dtype)


def _ours(works: Sequence[kernel_works.Work], kernel: str) -> Call:
    return next(work.call for work in works if (work.op, work.who) == (kernel, OURS))


def _items(shape: Shape) -> tuple[Call, Sequence[Any]]:
    """A segment sum with a plan whose work items are not built yet."""
    sets = _inputs(shape, torch.bfloat16)
    plans = {id(i): plan(i.idx, shape.n) for i in sets}
    return lambda i: segment_sum(replace(plans[id(i)]), i.coef, i.X), sets
