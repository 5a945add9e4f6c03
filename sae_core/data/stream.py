"""Batches of a source, read ahead of training in a thread, each chunk once for all the runs that share it."""

from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from sae_core.data.source import Source


def shared_chunks(batches: Iterable[int]) -> dict[int, int]:
    """The chunk that each batch size is read in: the smallest batch of those given that divides it."""
    sizes = sorted(set(batches))
    return {size: next(chunk for chunk in sizes if size % chunk == 0) for size in sizes}


class Stream:
    """One order of the tokens, cut into chunks. While a batch is trained on, the chunks after it are read.

    A batch is put together from its chunks, so that runs with batches of one, two or four chunks share what is read.
    `forget` drops a chunk once every run is past it.
    """

    def __init__(
        self, source: Source, chunk: int, seed: int, pool: ThreadPoolExecutor, device: str | torch.device
    ) -> None:
        """pool: one thread, shared by the streams of a pack, so that a source is never read twice at the same time."""
        self.source, self.chunk, self.seed, self.device = source, chunk, seed, torch.device(device)
        self._pool = pool
        self._read: dict[int, Future[Tensor]] = {}
        self._there: dict[int, Tensor] = {}
        self._batch: tuple[int, int, Tensor] | None = None

    def batch(self, start: int, size: int, ahead: bool = True) -> Tensor:
        """Tokens start … start+size−1 on the device, (size, d). Waits for those that are not read yet.

        start, size: multiples of the chunk.  ahead: read the next `size` tokens meanwhile.
        """
        if self._batch is not None and self._batch[:2] == (start, size):
            return self._batch[2]
        starts = range(start, start + size, self.chunk)
        for at in range(start, start + size * (2 if ahead else 1), self.chunk):
            self._ask(at)
        parts = [self._get(at) for at in starts]
        x = parts[0] if len(parts) == 1 else torch.cat(parts)
        self._batch = (start, size, x)
        return x

    def forget(self, before: int) -> None:
        """Free the memory of the tokens before this one, which no run will ask for again."""
        for chunks in (self._there, self._read):
            for at in [at for at in chunks if at < before]:
                del chunks[at]
        if self._batch is not None and self._batch[0] < before:
            self._batch = None

    def _ask(self, at: int) -> None:
        if at not in self._read and at not in self._there:
            self._read[at] = self._pool.submit(self._rows, at)

    def _rows(self, at: int) -> Tensor:
        x = self.source.rows(at, self.chunk, self.seed)
        return x.pin_memory() if self.device.type == "cuda" else x

    def _get(self, at: int) -> Tensor:
        if at not in self._there:
            self._there[at] = self._read.pop(at).result().to(self.device, non_blocking=True)
        return self._there[at]
