"""Activations computed while training and never stored: the language model fills a bounded shuffle buffer."""

import hashlib
import json
from collections import OrderedDict
from dataclasses import asdict
from functools import cached_property
from threading import RLock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sae_core.data.configs import BEFORE, SITES, HarvestConfig, StreamingConfig, check
from sae_core.data.disk.prepare import prepared
from sae_core.data.disk.row_statistics import mean_row, mean_square
from sae_core.data.lm.corpus import Corpus
from sae_core.data.lm.model_files import ModelFiles
from sae_core.data.lm.text import documents, fingerprint, split_documents
from sae_core.data.shuffle import permuted
from sae_core.errors import DataError

_KEPT_BLOCKS = 2  # a batch, or the runs of a pack between two steps, may span the end of a block
_SAMPLE_EPOCH = -1  # an epoch that the stream does not have, as in a store
_BLOCK_EPOCH = -2  # block b is shuffled by the permutation of "epoch" −2 − b, which no epoch of contexts has
_ELSEWHERE = ("model", "gguf_file", "text", "format", "shard_rows")  # they say where and how, not what


class Streaming:
    """A `Source` of the rows that `harvest` would store, computed when they are read.

    Epoch e visits the training contexts in the order `permuted(·, contexts, seed, e)`. The endless sequence of contexts
    is cut into blocks of `buffer_tokens` rows; block b is run through the model, prepared, and shuffled within by
    (seed, b). A context gives a fixed number of rows; where one is dropped (constant, or above the norm limit) another
    row of the block takes its place. So a row depends on its place and the seed only, and a run resumes anywhere at the
    cost of one block.

    The model is loaded when the first row is read; until then only files are hashed. Bits are equal on equal hardware.
    """

    def __init__(self, cfg: HarvestConfig, streaming: StreamingConfig, device: str | None = None) -> None:
        check(cfg)
        for key, value in asdict(streaming).items():
            if value < 1:
                raise DataError(f"data.streaming.{key} is {value:,}; it must be at least 1.")
        self.cfg, self.streaming, self.device = cfg, streaming, device
        self._files = ModelFiles(cfg.model, cfg.gguf_file)
        self._blocks: OrderedDict[tuple[int, int], Tensor] = OrderedDict()
        self._lock = RLock()

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the settings and of the bytes of text and model, wherever they are stored."""
        found = documents(self.cfg.text, self.cfg.seed)
        split_documents(found, self.cfg.held_out_every)  # refuses a text without two splits
        settings = {key: value for key, value in self.cfg.identity().items() if key not in _ELSEWHERE}
        settings = {
            key: value for key, value in settings.items() if key not in BEFORE or value != BEFORE[key]
        }
        data = ["streaming", 1, settings, asdict(self.streaming), fingerprint(found), self._files.origin]
        return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def d_model(self) -> int:
        return self._files.d_model if self.cfg.place.name in SITES else self._corpus.model.widths[0]

    @property
    def n_train(self) -> int:
        """Distinct training rows."""
        return self.cfg.tokens - self.cfg.held_out

    @property
    def n_held_out(self) -> int:
        return self.cfg.held_out

    @cached_property
    def denominator(self) -> float:
        mean = mean_row([self.sample(self.streaming.sample_tokens).numpy()])
        value = mean_square([self.held_out().numpy()], mean)
        if not value > 0:
            raise DataError("every held-out row equals the mean training row: there is nothing to learn.")
        return value

    def rows(self, start: int, size: int, seed: int) -> Tensor:
        out = []
        with self._lock:
            length = self._contexts_per_block * self._corpus.per_context
            while size > 0:
                block, inside = divmod(start, length)
                out.append(self._block(seed, block)[inside : inside + size].float())
                start, size = start + len(out[-1]), size - len(out[-1])
        return torch.cat(out)

    def held_out(self) -> Tensor:
        with self._lock:
            return self._held_out.float()

    def sample(self, rows: int) -> Tensor:
        with self._lock:
            return self._sample[:rows].float()

    def oracle(self, n_latents: int) -> float | None:
        return None

    @cached_property
    def _corpus(self) -> Corpus:
        return Corpus(self.cfg, [self.cfg.place], self.device)

    @cached_property
    def _norm_limit(self) -> float | None:
        return self._corpus.norm_limits([self.cfg.drop_above])[0]

    @cached_property
    def _held_out(self) -> Tensor:
        rows, _ = self._prepared(self._corpus.held_out.ids, self.cfg.held_out)
        return rows

    @cached_property
    def _sample(self) -> Tensor:
        """The first rows of an epoch that the stream does not have."""
        total, per_context = len(self._corpus.train.ids), self._corpus.per_context
        wanted = min(total, -(-self.streaming.sample_tokens // per_context))
        order = permuted(np.arange(wanted), total, seed=0, epoch=_SAMPLE_EPOCH)
        return self._prepared(self._corpus.train.ids[order], self.streaming.sample_tokens)[0]

    @cached_property
    def _contexts_per_block(self) -> int:
        return max(1, self.streaming.buffer_tokens // self._corpus.per_context)

    def _block(self, seed: int, block: int) -> Tensor:
        """All rows of a block in their order: (contexts·per_context, d_model) in the dtype of a store."""
        key = (seed, block)
        if key not in self._blocks:
            while len(self._blocks) >= _KEPT_BLOCKS:
                self._blocks.popitem(last=False)
            self._blocks[key] = self._shuffled(seed, block)
        self._blocks.move_to_end(key)
        return self._blocks[key]

    def _shuffled(self, seed: int, block: int) -> Tensor:
        ids = self._corpus.train.ids[self._contexts(seed, block)]
        rows, kept = self._prepared(ids)
        order = permuted(np.arange(len(kept)), len(kept), seed, epoch=_BLOCK_EPOCH - block)
        place = np.cumsum(kept) - 1  # of each row among those kept
        return rows[torch.from_numpy(np.resize(place[order][kept[order]], len(kept)))]

    def _contexts(self, seed: int, block: int) -> NDArray[np.int64]:
        """The training contexts that a block reads; a block may span the ends of epochs."""
        total = len(self._corpus.train.ids)
        place = block * self._contexts_per_block + np.arange(self._contexts_per_block, dtype=np.int64)
        epoch, index = np.divmod(place, total)
        out = np.empty_like(index)
        for e in np.unique(epoch):
            out[epoch == e] = permuted(index[epoch == e], total, seed, int(e))
        return out

    def _prepared(self, ids: NDArray[np.int32], rows: int | None = None) -> tuple[Tensor, NDArray[np.bool_]]:
        """The first rows of these contexts, prepared: (kept, d_model), and which rows were kept."""
        raw = self._corpus.activations(ids)[0][:rows]
        found = prepared(raw, self.cfg.prepare, self.cfg.dtype, self._norm_limit)
        if not len(found.rows):
            raise DataError(
                f"all {len(raw):,} activations are constant or above the norm limit; there is no row to train on."
            )
        return found.rows, found.kept.numpy()
