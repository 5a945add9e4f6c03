"""Harvest of a language model's residual stream into an activation store, by a forward hook on one decoder layer."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sae_core.errors import DataError
from sae_core.language_model import COMPUTE, LanguageModel, load_language_model
from sae_core.prepare import PREPARATIONS
from sae_core.shards import TORCH_DTYPES
from sae_core.store_writer import StoreWriter, finished
from sae_core.text import Contexts, Document, contexts, documents, fingerprint, split_documents

Progress = Callable[[int, int], None]
_NOTES = ("name", "license", "source")  # words about the store: other words do not make another store


@dataclass(frozen=True)
class HarvestConfig:
    """Which rows a store holds. `model` and `text` may be `package:NAME/FOLDER` of an installed package."""

    name: str
    model: str  # folder or hub id
    layer: int  # decoder blocks passed: the residual stream after block `layer`, counted from 1
    text: str  # folder of .txt files, one document a file
    tokens: int  # rows, training and held-out
    held_out: int  # rows of these that are held out
    gguf_file: str | None = None  # a file in the model's folder, dequantised when loaded
    context: int = 128  # tokens of a context, its prefix token included
    prefix: str | None = None  # token at position 0; None: the tokenizer's BOS
    held_out_every: int = 10  # every so many-th document is held out
    shard_rows: int = 65_536
    prepare: str = "mean_off_unit_norm"
    dtype: str = "float16"  # of the rows on disk
    compute: str = "bfloat16"  # of the matrix products; the residual stream stays float32
    batch_contexts: int = 32
    seed: int = 0  # of the choice of held-out documents and of the order of contexts
    license: str = ""
    source: str = ""


def harvest(
    cfg: HarvestConfig, out: str | Path, progress: Progress | None = None, device: str | None = None
) -> Path:
    """Write the store `out` and return its path; `progress(rows done, rows)` is called after every batch.

    A finished store of the same config returns at once; an unfinished one is continued after its last complete
    shard, and ends with the same bytes. Raises DataError for another config, too little text, or a model that cannot
    be loaded.
    device: "cpu", "cuda", …; None takes the GPU if there is one.
    """
    _validate(cfg)
    identity = {key: value for key, value in asdict(cfg).items() if key not in _NOTES}
    if finished(out, identity):
        return Path(out)
    found = documents(cfg.text, cfg.seed)
    train, held_out = split_documents(found, cfg.held_out_every)
    model = load_language_model(cfg.model, cfg.gguf_file, cfg.layer, cfg.compute, device)
    prefix = model.token_id(cfg.prefix)
    identity |= {"text_sha256": fingerprint(found), "weights": model.origin}
    writer = StoreWriter(out, model.d_model, identity, cfg.prepare, cfg.dtype)
    cut = {
        "held_out": _cut(cfg, model, "held_out", held_out, cfg.held_out),
        "train": _cut(cfg, model, "train", train, cfg.tokens - cfg.held_out),
    }
    done = 0
    for split, (chosen, rows) in cut.items():
        for index, ids, wanted in _shards(cfg, chosen.ids, rows):
            if not writer.has(split, index):
                writer.write(split, index, _activations(cfg, model, prefix, ids, wanted, done, progress))
            done += wanted
    about = _about(cfg, model, prefix, {split: chosen for split, (chosen, _) in cut.items()})
    return writer.finish(about, _dropped(cfg, [chosen for chosen, _ in cut.values()]))


def _cut(
    cfg: HarvestConfig, model: LanguageModel, split: str, found: list[Document], rows: int
) -> tuple[Contexts, int]:
    """The contexts whose tokens, position 0 apart, make `rows` rows. Raises DataError if the text is too short."""
    per_context = cfg.context - 1
    cut = contexts(found, model.encode, per_context, -(-rows // per_context), cfg.seed)
    if len(cut.ids) * per_context < rows:
        has = f"{len(found)} {split} documents of {cfg.text!r} give {cut.available * per_context:,} rows"
        raise DataError(f"{has}, fewer than the {rows:,} asked for; lower tokens and held_out, or add text.")
    return cut, rows


def _shards(
    cfg: HarvestConfig, ids: NDArray[np.int32], rows: int
) -> Iterator[tuple[int, NDArray[np.int32], int]]:
    """(index, token ids, rows) of every shard. Each begins with a context, so it needs nothing of the one before."""
    per_context = cfg.context - 1
    per_shard = max(1, cfg.shard_rows // per_context)
    for index, first in enumerate(range(0, len(ids), per_shard)):
        yield index, ids[first : first + per_shard], min(per_shard * per_context, rows - first * per_context)


def _activations(
    cfg: HarvestConfig,
    model: LanguageModel,
    prefix: int,
    ids: NDArray[np.int32],
    wanted: int,
    done: int,
    progress: Progress | None,
) -> Tensor:
    """Raw activations of one shard: (wanted, d_model) float32. Its first batch begins with its first context."""
    out = torch.empty(len(ids) * (cfg.context - 1), model.d_model)
    filled = 0
    for first in range(0, len(ids), cfg.batch_contexts):
        batch = torch.from_numpy(ids[first : first + cfg.batch_contexts]).long()
        batch = torch.cat([torch.full((len(batch), 1), prefix), batch], dim=1)
        rows = model.residual(batch)[:, 1:].reshape(-1, model.d_model)
        out[filled : filled + len(rows)] = rows
        filled += len(rows)
        if progress:
            progress(done + min(filled, wanted), cfg.tokens)
    return out[:wanted]


def _about(cfg: HarvestConfig, model: LanguageModel, prefix: int, cut: dict[str, Contexts]) -> dict[str, Any]:
    return {
        "name": cfg.name,
        "model": type(model.model).__name__,
        "layer": f"{cfg.layer} of {model.n_layers}",
        "hook": f"output of {model.blocks_name}[{cfg.layer - 1}], the residual stream after block {cfg.layer}",
        "tokenizer": f"{type(model.tokenizer).__name__}, {len(model.tokenizer):,} tokens",
        "prefix_token": f"{model.tokenizer.convert_ids_to_tokens(prefix)} ({prefix})",
        "held_out": f"every {cfg.held_out_every}-th document by the hash of its text",
        "documents": {split: chosen.documents for split, chosen in cut.items()},
        "contexts": {split: len(chosen.ids) for split, chosen in cut.items()},
        "contexts_available": {split: chosen.available for split, chosen in cut.items()},
        "device": str(model.device),
        "threads": torch.get_num_threads(),
        "transformers": version("transformers"),
        "license": cfg.license,
        "source": cfg.source,
    }


def _dropped(cfg: HarvestConfig, cut: list[Contexts]) -> dict[str, Any]:
    """Tokens of the harvested contexts that are no rows."""
    return {
        "position_0": sum(len(chosen.ids) for chosen in cut),
        "position_0_reason": "the prefix token, on which language models park their attention and a huge norm",
        "document_tails_reason": f"windows of fewer than {cfg.context - 1} tokens at the end of a document",
    }


def _validate(cfg: HarvestConfig) -> None:
    least = {
        "layer": 1,
        "context": 2,
        "held_out": 1,
        "held_out_every": 2,
        "shard_rows": 1,
        "batch_contexts": 1,
    }
    for key, low in least.items():
        if getattr(cfg, key) < low:
            raise DataError(f"{key} is {getattr(cfg, key)}; it must be at least {low}.")
    if cfg.tokens <= cfg.held_out:
        raise DataError(f"tokens is {cfg.tokens:,} with {cfg.held_out:,} held out; it must be larger.")
    for key, allowed in (("prepare", PREPARATIONS), ("dtype", TORCH_DTYPES), ("compute", COMPUTE)):
        if getattr(cfg, key) not in allowed:
            raise DataError(
                f"{key} is {getattr(cfg, key)!r}; it must be one of {', '.join(sorted(allowed))}."
            )
