"""Fills activation stores from a language model or an array, and verifies them."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from itertools import product
from pathlib import Path
from typing import Any

from omegaconf import MISSING, OmegaConf

from sae_core.data.configs import HarvestConfig
from sae_core.data.disk.import_array import from_array
from sae_core.data.disk.manifest import Manifest
from sae_core.data.disk.row_checks import remarks
from sae_core.data.disk.store import Store
from sae_core.data.lm.harvest import harvest_layers
from sweeps.config.compose import compose, hydra_session, parse
from sweeps.errors import SweepError

# `showing(unit)` is a context manager that yields progress(done, total).
Showing = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]
_IN_ONE_PASS = ("data.harvest.layer", "data.harvest.site", "data.harvest.hook")


def harvest(overrides: Sequence[str], showing: Showing) -> list[Path]:
    """Fill `data.store` from `data.harvest` or `data.array`; a store that is already complete is not changed.

    Several values of data.harvest.layer or data.harvest.site give one store each, filled in one pass of the model.
    """
    cells = _data(overrides)
    if array := cells[0].get("array"):
        if array["path"] == MISSING:
            raise SweepError(
                "data.array.path is missing: name a .npy or .safetensors file, or a folder of them."
            )
        with showing("rows") as progress:
            options = dict(array)
            return [from_array(options.pop("path"), cells[0]["store"], **options, progress=progress)]
    if not cells[0]["harvest"]:
        raise SweepError(
            "Name one data config with `store` and `harvest`, e.g. saescale harvest data=smollm2."
        )
    with showing("tokens") as progress:
        cfgs = [HarvestConfig(**data["harvest"]) for data in cells]
        return harvest_layers(cfgs, [data["store"] for data in cells], progress)


def verify(overrides: Sequence[str], showing: Showing) -> list[Path]:
    """Compare the checksum of every shard of `data.store` with its manifest. Raises DataError at the first mismatch."""
    stores = [Store(data["store"], data["d_model"]) for data in _data(overrides)]
    for store in stores:
        with showing("bytes") as progress:
            store.verify(progress)
    return [store.path for store in stores]


def described(path: Path) -> str:
    """One line about a finished store: its rows, how many were dropped for each reason, and those of its text."""
    m = Store(path).manifest
    counts = {key: n for key, n in m.dropped.items() if isinstance(n, int) and n}
    dropped = ", ".join(f"{n:,} {key.replace('_', ' ')}" for key, n in counts.items()) or "nothing"
    rows = f"{m.rows('train'):,} training and {m.rows('held_out'):,} held-out rows"
    line = f"{path}: {rows} of width {m.d_model}, {m.dtype}; dropped: {dropped}"
    notes = remarks(m.checks, m.rows("train")) if m.checks else []
    return "; ".join(filter(None, [line, *notes, account(m)]))


def account(manifest: Manifest) -> str | None:
    """What became of the documents of a harvest and of the tokens in those that were read; None without a text."""
    if "text" not in manifest.config:
        return None
    if "text" not in manifest.about:  # harvested before there was an account
        return (
            "text: duplicates and special tokens in it were kept and not counted when this store was written"
        )
    text = manifest.about["text"]
    splits = text["splits"].values()

    def total(key: str) -> int:
        return sum(split[key] for split in splits)

    near = "near ones not looked for"
    if text["near_duplicates"] is not None:
        near = f"{text['near_duplicates']:,} near"
    copies = f"{text['exact_duplicates']:,} exact, {text['normalised_duplicates']:,} normalised, {near}"
    dropped = {"drop": "dropped", "keep": "kept"}
    parts = [
        f"text: {text['documents']:,} documents, duplicates {dropped[text['duplicates']]}: {copies}",
        f"{total('documents'):,} read, {total('short_documents'):,} too short ({total('short'):,} tokens)",
        f"{total('contexts') - total('contexts_left'):,} of {total('contexts'):,} contexts used",
        f"{total('tails'):,} tokens of tails dropped",
        f"{total('special'):,} special tokens {dropped[text['special_tokens']]}",
    ]
    if total("unknown"):
        parts.append(f"{total('unknown'):,} of {total('tokens'):,} tokens unknown to the tokenizer")
    if text["held_out_also_in_training"]:
        parts.append(f"{text['held_out_also_in_training']:,} held-out documents are in training too")
    if text["other_files"]:
        kinds = ", ".join(f"{n:,} {kind}" for kind, n in text["other_files"].items())
        parts.append(f"files that are no .txt not read: {kinds}")
    return ", ".join(parts)


def _data(overrides: Sequence[str]) -> list[dict[str, Any]]:
    """The data config of every layer in the overrides. Raises SweepError if one has no store."""
    with hydra_session() as loader:
        line = parse(loader, overrides)
        if other := [key for key in line.axes if key not in _IN_ONE_PASS]:
            raise SweepError(
                f"harvest takes several values only of {' and '.join(_IN_ONE_PASS)}, not of {other[0]}."
            )
        cells = [dict(zip(line.axes, values, strict=True)) for values in product(*line.axes.values())]
        configs = [compose([*line.fixed, *(f"{k}={v}" for k, v in cell.items())]).data for cell in cells]
        resolved = [OmegaConf.to_container(data, resolve=True) for data in configs]
    for data in resolved:
        assert isinstance(data, dict)
        if not data["store"]:
            raise SweepError(
                f"data {data['name']!r} names no store: data.store=FOLDER, or a config with one, as data=smollm2 "
                "for saescale harvest."
            )
    return resolved  # type: ignore[return-value]
