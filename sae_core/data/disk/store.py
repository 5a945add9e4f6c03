"""A finished activation store on disk: checked when opened, memory-mapped, read without end in shuffled order."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sae_core.data.disk.manifest import (
    SPLITS,
    ShardEntry,
    note_checked,
    read_checked,
    read_manifest,
    settled,
    times_of,
)
from sae_core.data.disk.shards import map_rows, sha256_of
from sae_core.data.shuffle import permuted
from sae_core.errors import DataError

if TYPE_CHECKING:  # a plan opens a store without torch, which takes seconds to import
    from torch import Tensor

_SAMPLE_EPOCH = -1  # an epoch that the stream does not have, so that the sample is not the first batch
_MOST_THREADS = 8  # that compute checksums
# Shards that this process has checked: path, checksum and times. A worker opens a store again for each pack.
_checked_here: set[tuple[str, str, tuple[int, int]]] = set()


class Store:
    """A `Source` of the training rows without end, each epoch in another order, and of the held-out rows.

    Opening checks that every shard is there with the size and shape in the manifest (a `stat` and a header per
    shard). A shard whose file has other times than when its checksum last agreed may have been copied or changed: its
    checksum is compared at once. All others are compared once in a process, before their first row is read. `verify`
    reads them all. Raises DataError for anything missing, torn or changed. Any thread may read.
    """

    def __init__(self, path: str | Path, d_model: int | None = None) -> None:
        self.path = Path(path)
        self.manifest = read_manifest(self.path)
        self.d_model = self.manifest.d_model
        if d_model is not None and d_model != self.d_model:
            raise DataError(
                f"the store {self.path} holds d_model = {self.d_model}, and {d_model} was asked for."
            )
        self.denominator = self.manifest.denominator
        self.fingerprint = self.manifest.fingerprint
        self.n_train = self.manifest.rows("train")
        self.n_held_out = self.manifest.rows("held_out")
        if not self.n_train or not self.n_held_out:
            counts = f"{self.n_train:,} training and {self.n_held_out:,} held-out rows"
            raise DataError(f"the store {self.path} has {counts}; both must be above 0: harvest it again.")
        self._lock = Lock()
        self._unchecked = {shard.file for shard in self.manifest.shards}
        self._shards = {split: [s for s in self.manifest.shards if s.split == split] for split in SPLITS}
        self._train = self._open("train")
        self._held_out = self._open("held_out")
        known = read_checked(self.path)
        self._check(s for s in self.manifest.shards if self._has_other_times(s, known.get(s.file)))
        sizes = [len(shard) for shard in self._train]
        self._starts = np.array(
            list(accumulate(sizes, initial=0)), dtype=np.int64
        )  # first row of each shard, and n

    def rows(self, start: int, size: int, seed: int) -> "Tensor":
        """Tokens start … start+size−1 of the endless stream: (size, d_model), float32.

        Epoch e of the stream is the training rows in the order `permuted(·, n_train, seed, e)`. So a token depends on
        its place in the stream and the seed only: batches of any size, one after another, are the same stream.
        """
        place = np.arange(start, start + size, dtype=np.int64)
        epoch, index = np.divmod(place, self.n_train)
        ids = np.empty(size, dtype=np.int64)
        for e in np.unique(epoch):
            ids[epoch == e] = permuted(index[epoch == e], self.n_train, seed, int(e))
        return self._gather(ids)

    def held_out(self, rows: int | None = None) -> "Tensor":
        """The first `rows` held-out rows, all by default: (rows, d_model), float32."""
        if rows is not None and rows > self.n_held_out:
            has = f"the store {self.path} has {self.n_held_out:,} held-out rows"
            raise DataError(f"{has}, fewer than the {rows:,} asked for; ask for fewer or harvest more.")
        self._check(self._shards["held_out"])
        import torch

        return torch.cat([torch.from_numpy(np.array(shard)).float() for shard in self._held_out])[:rows]

    def sample(self, rows: int) -> "Tensor":
        """A fixed random sample of training rows, all of them if there are fewer: (rows, d_model), float32."""
        index = np.arange(min(rows, self.n_train), dtype=np.int64)
        return self._gather(permuted(index, self.n_train, seed=0, epoch=_SAMPLE_EPOCH))

    def oracle(self, n_latents: int) -> float | None:
        """None: the loss of a perfect SAE on a language model's activations is unknown."""
        return None

    def verify(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Read every shard and compare its checksum with the manifest's. Raises DataError at the first difference.

        `progress(bytes done, bytes)` is called after every shard.
        """
        done, total = 0, sum(shard.bytes for shard in self.manifest.shards)
        times = {}
        for shard in self.manifest.shards:
            times[shard.file] = self._compared(shard)
            done += shard.bytes
            if progress:
                progress(done, total)
        note_checked(self.path, times)

    def _check(self, shards: Iterable[ShardEntry]) -> None:
        """Compare the checksums of those of the shards that this process has not compared yet."""
        with self._lock:
            left = [shard for shard in shards if shard.file in self._unchecked]
            if not left:
                return
            with ThreadPoolExecutor(min(_MOST_THREADS, len(os.sched_getaffinity(0)))) as pool:
                times = list(pool.map(self._compared_once, left))
            note_checked(self.path, {s.file: each for s, each in zip(left, times, strict=True)})
            self._unchecked -= {shard.file for shard in left}

    def _compared_once(self, shard: ShardEntry) -> tuple[int, int]:
        """`_compared`, unless this process has done so since the file last changed."""
        path = self.path / shard.file
        key = (str(path.resolve()), shard.sha256, times_of(path))
        if key not in _checked_here:
            self._compared(shard)
            if settled(key[2]) and times_of(path) == key[2]:
                _checked_here.add(key)
        return key[2]

    def _compared(self, shard: ShardEntry) -> tuple[int, int]:
        """Read a whole shard and compare its checksum with the manifest's. Returns the times of its file before."""
        path = self.path / shard.file
        times = times_of(path)
        if sha256_of(path) != shard.sha256:
            raise DataError(
                f"shard {shard.file} of the store {self.path} has changed since it was written: its checksum differs "
                "from the manifest's; restore it or harvest the store again."
            )
        return times

    def _has_other_times(self, shard: ShardEntry, known: tuple[int, int] | None) -> bool:
        return known is not None and times_of(self.path / shard.file) != known

    def _gather(self, ids: NDArray[np.int64]) -> "Tensor":
        """Training rows `ids`, any order: read in the order of the disk, returned in the order asked."""
        import torch

        order = np.argsort(ids)
        ascending = ids[order]
        cuts = np.searchsorted(ascending, self._starts)
        out = torch.empty(len(ids), self.d_model)
        if self._unchecked:
            touched = zip(self._shards["train"], cuts, cuts[1:], strict=False)
            self._check(entry for entry, a, b in touched if a < b)
        for shard, start, a, b in zip(self._train, self._starts, cuts, cuts[1:], strict=False):
            if a < b:
                out[torch.from_numpy(order[a:b])] = torch.from_numpy(shard[ascending[a:b] - start]).float()
        return out

    def _open(self, split: str) -> list[NDArray]:
        return [self._map(shard) for shard in self._shards[split]]

    def _map(self, shard: ShardEntry) -> NDArray:
        path = self.path / shard.file
        if not path.exists():
            raise DataError(
                f"shard {shard.file} of the store {self.path} is missing; restore it or harvest again."
            )
        if (size := path.stat().st_size) != shard.bytes:
            found = f"shard {shard.file} of the store {self.path} has {size:,} bytes"
            raise DataError(
                f"{found}, the manifest says {shard.bytes:,}: it is truncated; harvest the store again."
            )
        x = map_rows(path)
        if x.shape != (shard.rows, self.d_model) or x.dtype != np.dtype(self.manifest.dtype):
            found = f"shard {shard.file} of the store {self.path} holds {x.dtype} {x.shape}"
            expected = f"{self.manifest.dtype} ({shard.rows}, {self.d_model})"
            raise DataError(f"{found}, the manifest says {expected}; harvest the store again.")
        return x
