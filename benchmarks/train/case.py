"""The shapes, rows, clock and number of steps that all contenders of a training benchmark share."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sae_core.data.synthetic import Synthetic, SyntheticConfig

WARM = 2  # untimed steps at the start, with allocations and one-time work
_BATCHES = 4  # different batches, used in turn: a single one would be learned, and its latents would stay in the cache
_ACTIVE = 16.0  # mean number of features in a row


@dataclass(frozen=True)
class Shape:
    """The sizes of the SAE and of the batch. n_small: the number of latents in the large packs."""

    d: int
    n: int
    n_small: int
    k: int
    batch_tokens: int
    features: int = 65_536  # number of features of the synthetic rows


CPU = Shape(d=384, n=8_192, n_small=1_024, k=32, batch_tokens=4_096)
CUDA = Shape(d=768, n=131_072, n_small=8_192, k=32, batch_tokens=16_384)
QUICK = Shape(d=16, n=64, n_small=32, k=2, batch_tokens=64, features=256)


@dataclass(frozen=True)
class Case:
    """The sizes of one SAE. laps: the number of timed steps, after WARM untimed ones."""

    d: int
    n: int
    k: int
    batch_tokens: int
    laps: int

    @property
    def steps(self) -> int:
        return WARM + self.laps


def device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


class Clock:
    """CPU seconds of all threads of this process, or on CUDA the seconds between two events of the stream."""

    def __init__(self) -> None:
        self._last = self._now()

    def lap(self) -> float:
        """Seconds since the last lap, or since the clock was made."""
        last, self._last = self._last, self._now()
        if isinstance(last, torch.cuda.Event):
            self._last.synchronize()
            return float(last.elapsed_time(self._last)) / 1000
        return float(self._last - last)

    def _now(self) -> Any:
        if device() != "cuda":
            return time.process_time()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event


def write_rows(shape: Shape, folder: Path) -> None:
    """Write `folder`/x.npy: (4·batch_tokens, d) float32, the rows on which every contender trains."""
    config = SyntheticConfig(d_model=shape.d, n_features=shape.features, l0=_ACTIVE)
    np.save(folder / "x.npy", Synthetic(config).rows(0, _BATCHES * shape.batch_tokens, seed=0).numpy())


def read_rows(folder: Path) -> Tensor:
    """The rows that `write_rows` wrote, on the device of the benchmark."""
    return torch.from_numpy(np.load(folder / "x.npy")).to(device())


def batches(x: Tensor, case: Case) -> Iterator[Tensor]:
    """Yield the batches of x cyclically, without end."""
    return cycle(x.split(case.batch_tokens))
