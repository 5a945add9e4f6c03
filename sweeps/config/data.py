"""From a data config to the `Source` that the trainer reads, and to the facts about it that a plan needs."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from sae_core.data.configs import HarvestConfig
from sae_core.data.store import Store
from sae_core.data.streaming import Streaming, StreamingConfig
from sae_core.data.synthetic import Synthetic, SyntheticConfig
from sweeps.errors import SweepError


@dataclass(frozen=True)
class DataFacts:
    fingerprint: str
    d_model: int
    train_tokens: int | None  # distinct training tokens; None for a source without end
    held_out_tokens: int
    absent: str | None = (
        None  # what to do where the activations are not there yet; a plan can be made without them
    )


def open_source(data: Mapping[str, Any]) -> Synthetic | Streaming | Store:
    """The source that a resolved `data` config describes. Raises DataError or SweepError where it does not exist."""
    source = _source(data)
    wanted = data.get("d_model")
    if wanted is not None and source.d_model != wanted:
        raise SweepError(
            f"data {data.get('name')!r} has d_model = {source.d_model}; data.d_model asks for {wanted}."
        )
    return source


def describe(data: Mapping[str, Any]) -> DataFacts:
    """The facts about the data, found without reading its activations.

    Of a store that is not there yet they are those of its harvest, if the config says how wide its rows are.
    """
    store, harvest, d_model = (data.get(key) for key in ("store", "harvest", "d_model"))
    streamed = data.get("streaming") or data.get("synthetic")
    if store and harvest and d_model and not streamed and not Path(store).exists():
        rows = harvest["tokens"]
        size = rows * d_model * (4 if harvest["dtype"] == "float32" else 2) / 1e12
        told = f"{store} does not exist: saescale harvest data=… writes it, {rows:,} rows, {size:.3g} TB."
        name = hashlib.sha256(json.dumps(dict(harvest), sort_keys=True).encode()).hexdigest()[:12]
        train = rows - harvest["held_out"]
        return DataFacts(f"to be harvested {name}", d_model, train, harvest["held_out"], told)
    return _describe(json.dumps(dict(data), sort_keys=True))


def _source(data: Mapping[str, Any]) -> Synthetic | Streaming | Store:
    name = data.get("name")
    kinds = [key for key in ("synthetic", "streaming", "store") if data.get(key)]
    if len(kinds) > 1:
        raise SweepError(
            f"data {name!r} is {kinds[0]}, and data.{kinds[1]} = {data[kinds[1]]} is given too: add data={kinds[1]}."
        )
    if data.get("synthetic"):
        return Synthetic(SyntheticConfig(**data["synthetic"]))
    if data.get("streaming"):
        if not data.get("harvest"):
            raise SweepError(
                f"data {name!r} streams and has no data.harvest, which names the model and the text."
            )
        return Streaming(HarvestConfig(**data["harvest"]), StreamingConfig(**data["streaming"]))
    if data.get("store"):
        return Store(data["store"])
    raise SweepError(
        f"data {name!r} names no activations: choose data=synthetic, or data=store data.store=FOLDER."
    )


@lru_cache(maxsize=64)
def _describe(text: str) -> DataFacts:
    source = open_source(json.loads(text))
    if isinstance(source, Synthetic):
        return DataFacts(source.fingerprint, source.d_model, None, source.config.held_out)
    return DataFacts(source.fingerprint, source.d_model, source.n_train, source.n_held_out)
