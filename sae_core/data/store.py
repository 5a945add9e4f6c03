"""A finished activation store on disk: checked when opened, memory-mapped, read without end in shuffled order."""

from collections.abc import Callable
from itertools import accumulate
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sae_core.data.manifest import ShardEntry, read_manifest
from sae_core.data.shards import map_rows, sha256_of
from sae_core.data.shuffle import permuted
from sae_core.errors import DataError

_SAMPLE_EPOCH = -1  # an epoch that the stream does not have, so that the sample is not the first batch


class Store:
    """A `Source` of the training rows without end, each epoch in another order, and of the held-out rows.

    Opening checks that every shard is there with the size and shape in the manifest (a `stat` and a header per
    shard); `verify` reads them all. Raises DataError for anything missing or torn. Nothing changes after that: any
    thread may read.
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
        self._train = self._open("train")
        self._held_out = self._open("held_out")
        sizes = [len(shard) for shard in self._train]
        self._starts = np.array(
            list(accumulate(sizes, initial=0)), dtype=np.int64
        )  # first row of each shard, and n

    def rows(self, start: int, size: int, seed: int) -> Tensor:
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

    def held_out(self, rows: int | None = None) -> Tensor:
        """The first `rows` held-out rows, all by default: (rows, d_model), float32."""
        if rows is not None and rows > self.n_held_out:
            has = f"the store {self.path} has {self.n_held_out:,} held-out rows"
            raise DataError(f"{has}, fewer than the {rows:,} asked for; ask for fewer or harvest more.")
        return torch.cat([torch.from_numpy(np.array(shard)).float() for shard in self._held_out])[:rows]

    def sample(self, rows: int) -> Tensor:
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
        for shard in self.manifest.shards:
            if sha256_of(self.path / shard.file) != shard.sha256:
                raise DataError(
                    f"shard {shard.file} of the store {self.path} has changed since it was written: its checksum "
                    "differs from the manifest's; restore it or harvest the store again."
                )
            done += shard.bytes
            if progress:
                progress(done, total)

    def _gather(self, ids: NDArray[np.int64]) -> Tensor:
        """Training rows `ids`, any order: read in the order of the disk, returned in the order asked."""
        order = np.argsort(ids)
        ascending = ids[order]
        cuts = np.searchsorted(ascending, self._starts)
        out = torch.empty(len(ids), self.d_model)
        for shard, start, a, b in zip(self._train, self._starts, cuts, cuts[1:], strict=False):
            if a < b:
                out[torch.from_numpy(order[a:b])] = torch.from_numpy(shard[ascending[a:b] - start]).float()
        return out

    def _open(self, split: str) -> list[NDArray]:
        return [self._map(shard) for shard in self.manifest.shards if shard.split == split]

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
