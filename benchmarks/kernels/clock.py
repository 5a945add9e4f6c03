"""Time short calls: on CUDA between two events of the stream, after emptying the cache; elsewhere by CPU time."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from benchmarks.train.case import device

# Bytes written before each lap, many times a GPU's L2. This takes 0.27 ms at 4 TB/s, during which the host issues the
# lap's launches, so that the time of a call with ten short kernels (plan) does not depend on Python's speed.
_FLUSH = 2**30
_SECONDS, _LEAST, _MOST = 0.15, 5, 60  # seconds per call of `laps`, and limits on its number of laps


def laps(work: Callable[[Any], object], sets: Sequence[Any], seconds: float = _SECONDS) -> list[float]:
    """Milliseconds of each call of `work`, on the sets in turn, without the first calls, which compile and allocate."""
    for inputs in sets:
        work(inputs)
    one = _times(work, sets[:1])[0]
    number = int(min(max(1000 * seconds / max(one, 1e-3), _LEAST), _MOST))
    return _times(work, [sets[lap % len(sets)] for lap in range(number)])


def _times(work: Callable[[Any], object], sets: Sequence[Any]) -> list[float]:
    if device() != "cuda":
        return [_cpu_ms(work, inputs) for inputs in sets]
    scratch = torch.empty(_FLUSH, dtype=torch.int8, device="cuda")
    pairs = []
    for inputs in sets:
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        scratch.zero_()
        first.record()
        work(inputs)
        last.record()
        pairs.append((first, last))
    torch.cuda.synchronize()
    return [first.elapsed_time(last) for first, last in pairs]


def _cpu_ms(work: Callable[[Any], object], inputs: Any) -> float:
    began = time.process_time()
    work(inputs)
    return 1000 * (time.process_time() - began)
