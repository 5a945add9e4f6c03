"""From a data config to what the trainer reads: a `Source`, and the facts about it that a plan needs."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sae_core.source import Source
from sae_core.store import Store
from sae_core.synthetic import Synthetic, SyntheticConfig
from sweeps.errors import SweepError


@dataclass(frozen=True)
class DataFacts:
    fingerprint: str
    d_model: int
    train_tokens: int | None  # distinct training tokens; None: without end


def open_source(data: Mapping[str, Any]) -> Source:
    """The stream that a resolved `data` config describes. DataError or SweepError if it is not there."""
    if data.get("synthetic") and data.get("store"):
        raise SweepError(
            f"data {data.get('name')!r} is synthetic, and data.store = {data['store']} is given too: add data=store."
        )
    if data.get("synthetic"):
        return Synthetic(SyntheticConfig(**data["synthetic"]))
    if data.get("store"):
        return Store(data["store"])
    raise SweepError(
        f"data {data.get('name')!r} names no activations: choose data=synthetic, or data=store data.store=FOLDER."
    )


def describe(data: Mapping[str, Any]) -> DataFacts:
    """Facts about the data, without reading its activations."""
    return _describe(json.dumps(dict(data), sort_keys=True))


@lru_cache(maxsize=64)
def _describe(text: str) -> DataFacts:
    source = open_source(json.loads(text))
    train_tokens = source.n_train if isinstance(source, Store) else None
    return DataFacts(source.fingerprint, source.d_model, train_tokens)
