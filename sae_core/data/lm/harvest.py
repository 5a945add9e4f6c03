"""Harvest of a language model's activations into activation stores, several layers in one forward pass."""

from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sae_core.data.configs import BEFORE, HarvestConfig, check_one_pass
from sae_core.data.disk.manifest import MANIFEST, read_manifest
from sae_core.data.disk.store_writer import StoreWriter, finished
from sae_core.data.lm.corpus import Corpus
from sae_core.data.lm.language_model import Place
from sae_core.errors import DataError

Progress = Callable[[int, int], None]


def harvest(
    cfg: HarvestConfig, out: str | Path, progress: Progress | None = None, device: str | None = None
) -> Path:
    """Write the store `out` and return its path; `progress(rows done, rows)` is called after every batch.

    A finished store of the same config returns at once; an unfinished one is continued after its last complete
    shard, and ends with the same bytes. Raises DataError for another config, too little text, or a model that cannot
    be loaded.
    device: "cpu", "cuda", …; None takes the GPU if there is one.
    """
    return harvest_layers([cfg], [out], progress, device)[0]


def harvest_layers(
    cfgs: Sequence[HarvestConfig],
    outs: Sequence[str | Path],
    progress: Progress | None = None,
    device: str | None = None,
) -> list[Path]:
    """`harvest` into one store per config in one forward pass. Configs may differ in layer, site and kind of rows."""
    check_one_pass(cfgs)
    paths = [Path(out) for out in outs]
    if len({path.resolve() for path in paths}) < len(paths):
        raise DataError(f"{len(paths)} layers share the store {paths[0]}; give each layer its own.")
    left = [
        (cfg, path) for cfg, path in zip(cfgs, paths, strict=True) if not finished(path, _asked(cfg, path))
    ]
    if left:
        _fill([cfg for cfg, _ in left], [path for _, path in left], progress, device)
    return paths


def _asked(cfg: HarvestConfig, out: Path) -> dict[str, Any]:
    """The settings that a finished store must have been written with.

    A store from before a setting existed is taken as it is where the setting stands at its default.
    """
    settings = cfg.identity()
    if not (out / MANIFEST).exists():
        return settings
    written = read_manifest(out).config
    unasked = {key for key in BEFORE if key not in written and settings[key] == getattr(HarvestConfig, key)}
    return {key: value for key, value in settings.items() if key not in unasked}


def _fill(cfgs: list[HarvestConfig], outs: list[Path], progress: Progress | None, device: str | None) -> None:
    cfg, sites = cfgs[0], [each.place for each in cfgs]
    corpus = Corpus(cfg, sites, device)
    writers = _writers(cfgs, outs, corpus)
    done = 0
    for split, ids, wanted in (
        ("held_out", corpus.held_out.ids, cfg.held_out),
        ("train", corpus.train.ids, cfg.tokens - cfg.held_out),
    ):
        for index, part, rows in _shards(ids, wanted, corpus.per_context, cfg.shard_rows):
            lacking = [i for i, writer in enumerate(writers) if not writer.has(split, index)]
            if lacking:
                raw = corpus.activations(part, _within(progress, done, rows, cfg.tokens))
                for i in lacking:
                    writers[i].write(split, index, raw[i][:rows])
            done += rows
    for writer, each, place in zip(writers, cfgs, corpus.model.places, strict=True):
        writer.finish(_about(each, corpus, place), _dropped(each, corpus))


def _writers(cfgs: list[HarvestConfig], outs: list[Path], corpus: Corpus) -> list[StoreWriter]:
    about = {"text_sha256": corpus.text_sha256, "weights": corpus.model.origin}
    limits = corpus.norm_limits([cfg.drop_above for cfg in cfgs])
    return [
        StoreWriter(out, width, cfg.identity() | about, cfg.prepare, cfg.dtype, cfg.format, limit)
        for cfg, out, width, limit in zip(cfgs, outs, corpus.model.widths, limits, strict=True)
    ]


def _shards(
    ids: NDArray[np.int32], rows: int, per_context: int, shard_rows: int
) -> Iterator[tuple[int, NDArray[np.int32], int]]:
    """(index, token ids, rows) of every shard. Each begins with a new context, so it needs no other shard."""
    per_shard = max(1, shard_rows // per_context)
    for index, first in enumerate(range(0, len(ids), per_shard)):
        yield index, ids[first : first + per_shard], min(per_shard * per_context, rows - first * per_context)


def _within(progress: Progress | None, done: int, rows: int, total: int) -> Callable[[int], None] | None:
    """Turn the progress within one shard of `rows` rows into progress of the whole harvest."""
    return progress and (lambda filled: progress(done + min(filled, rows), total))


def _about(cfg: HarvestConfig, corpus: Corpus, place: Place) -> dict[str, Any]:
    model, cut = corpus.model, {"held_out": corpus.held_out, "train": corpus.train}
    return {
        "name": cfg.name,
        "model": type(model.model).__name__,
        "layer": f"{cfg.layer} of {model.n_layers}",
        "site": place.about(),
        "tokenizer": f"{type(model.tokenizer).__name__}, {len(model.tokenizer):,} tokens",
        "prefix_token": _token(corpus, corpus.prefix),
        "suffix_token": None if corpus.suffix is None else _token(corpus, corpus.suffix),
        "held_out": f"every {cfg.held_out_every}-th document by the hash of its text",
        "documents": {split: chosen.documents for split, chosen in cut.items()},
        "contexts": {split: len(chosen.ids) for split, chosen in cut.items()},
        "contexts_available": {split: chosen.available for split, chosen in cut.items()},
        "text": corpus.account(),
        "device": str(model.device),
        "threads": torch.get_num_threads(),
        "transformers": version("transformers"),
        "license": cfg.license,
        "source": cfg.source,
    }


def _token(corpus: Corpus, token: int) -> str:
    return f"{corpus.model.tokenizer.convert_ids_to_tokens(token)} ({token})"


def _dropped(cfg: HarvestConfig, corpus: Corpus) -> dict[str, Any]:
    """Tokens of the harvested contexts that give no row."""
    contexts = len(corpus.held_out.ids) + len(corpus.train.ids)
    reason = "the prefix token, on which language models park their attention and a huge norm"
    return {
        "first_positions": contexts * cfg.drop_first,
        "suffix_positions": 0 if corpus.suffix is None else contexts,
    } | ({"first_positions_reason": reason} if cfg.drop_first else {})
