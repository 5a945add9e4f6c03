"""From a data config to the `Source` that the trainer reads, and to the facts about it that a plan needs."""

import hashlib
import json
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sae_core.data.configs import HarvestConfig, StreamingConfig, SyntheticConfig
from sae_core.data.disk.store import Store
from sweeps.errors import SweepError

if TYPE_CHECKING:  # a plan needs neither, and torch, which they use, takes seconds to import
    from sae_core.data.lm.streaming import Streaming
    from sae_core.data.synthetic import Synthetic


@dataclass(frozen=True)
class DataFacts:
    fingerprint: str
    d_model: int
    train_tokens: int | None  # distinct training tokens; None for a source without end
    held_out_tokens: int
    absent: str | None = (
        None  # what to do where the activations are not there yet; a plan can be made without them
    )


def open_source(data: Mapping[str, Any]) -> "Synthetic | Streaming | Store":
    """The source that a resolved `data` config describes. Raises DataError or SweepError where it does not exist."""
    source = _source(data)
    _check_width(data, source.d_model)
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
    return _pickled(pickle.dumps(dict(data)))


def _kind(data: Mapping[str, Any]) -> str:
    """synthetic, streaming or store. Raises SweepError if the config names none of them, or several."""
    name = data.get("name")
    kinds = [key for key in ("synthetic", "streaming", "store") if data.get(key)]
    if len(kinds) > 1:
        raise SweepError(
            f"data {name!r} is {kinds[0]}, and data.{kinds[1]} = {data[kinds[1]]} is given too: add data={kinds[1]}."
        )
    if not kinds:
        raise SweepError(
            f"data {name!r} names no activations: choose data=synthetic, or data=store data.store=FOLDER."
        )
    if kinds == ["streaming"] and not data.get("harvest"):
        raise SweepError(
            f"data {name!r} streams and has no data.harvest, which names the model and the text."
        )
    return kinds[0]


def _source(data: Mapping[str, Any]) -> "Synthetic | Streaming | Store":
    match _kind(data):
        case "synthetic":
            from sae_core.data.synthetic import Synthetic

            return Synthetic(SyntheticConfig(**data["synthetic"]))
        case "streaming":
            from sae_core.data.lm.streaming import Streaming

            return Streaming(HarvestConfig(**data["harvest"]), StreamingConfig(**data["streaming"]))
        case _:
            return Store(data["store"])


def _check_width(data: Mapping[str, Any], d_model: int) -> None:
    wanted = data.get("d_model")
    if wanted is not None and d_model != wanted:
        raise SweepError(
            f"data {data.get('name')!r} has d_model = {d_model}; data.d_model asks for {wanted}."
        )


@lru_cache(maxsize=64)
def _pickled(content: bytes) -> DataFacts:
    """As `_describe`, whose text takes five times as long to write, and is the same for every cell of a grid."""
    return _describe(json.dumps(pickle.loads(content), sort_keys=True))


@lru_cache(maxsize=64)
def _describe(text: str) -> DataFacts:
    data = json.loads(text)
    if _kind(data) == "synthetic":
        config = SyntheticConfig(**data["synthetic"])
        config.check()
        _check_width(data, config.d_model)
        return DataFacts(config.fingerprint, config.d_model, None, config.held_out)
    source: Any = open_source(data)
    return DataFacts(source.fingerprint, source.d_model, source.n_train, source.n_held_out)
