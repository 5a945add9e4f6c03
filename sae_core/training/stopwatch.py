"""Seconds that a device spends on a run's steps, without waiting for it after each."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Stopwatch:
    """Adds up the blocks it measures: wall time on a CPU, on CUDA the time between two events of the stream."""

    def __init__(self, device: str | torch.device) -> None:
        self.device = torch.device(device)
        self._seconds = 0.0
        self._open: list[
            tuple[torch.cuda.Event, torch.cuda.Event]
        ] = []  # events that may not have happened yet

    @contextmanager
    def running(self) -> Iterator[None]:
        if self.device.type != "cuda":
            began = time.perf_counter()
            yield
            self._seconds += time.perf_counter() - began
            return
        with torch.cuda.device(self.device):
            first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            first.record()
            yield
            last.record()
        self._open.append((first, last))

    @property
    def seconds(self) -> float:
        """Seconds so far; on CUDA it waits for the blocks measured."""
        for first, last in self._open:
            last.synchronize()
            self._seconds += first.elapsed_time(last) / 1000
        self._open.clear()
        return self._seconds

    @seconds.setter
    def seconds(self, value: float) -> None:
        self._open.clear()
        self._seconds = value
