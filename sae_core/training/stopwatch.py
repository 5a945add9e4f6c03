"""Device time of a run's steps, measured without waiting for the device after each."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Stopwatch:
    """Sums the time of its blocks: wall time on a CPU, the time between two events of the stream on CUDA."""

    def __init__(self, device: str | torch.device) -> None:
        self.device = torch.device(device)
        self._seconds = 0.0
        # Pairs of events that may not have happened yet.
        self._open: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

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
        """Seconds so far; on CUDA this waits for the measured blocks to end."""
        for first, last in self._open:
            last.synchronize()
            self._seconds += first.elapsed_time(last) / 1000
        self._open.clear()
        return self._seconds

    @seconds.setter
    def seconds(self, value: float) -> None:
        self._open.clear()
        self._seconds = value
