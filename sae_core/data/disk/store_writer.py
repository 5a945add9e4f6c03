"""Writes an activation store shard by shard, so that a killed writer loses at most the shard it was writing."""

import os
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from sae_core.data.disk import manifest as m
from sae_core.data.disk.prepare import PREPARATIONS, prepared
from sae_core.data.disk.row_checks import row_checks
from sae_core.data.disk.row_statistics import mean_row, mean_square, norm_statistics
from sae_core.data.disk.shards import (
    DTYPES,
    FORMATS,
    Dropped,
    is_complete,
    map_rows,
    read_dropped,
    read_norms,
    sha256_of,
    shard_name,
    write_shard,
)
from sae_core.errors import DataError, one_of

# The values that these settings had before they existed, for stores written then.
_IMPLIED = {"format": "safetensors", "drop_first": 1, "duplicates": "keep", "special_tokens": "keep"}
# Settings that a harvest's config leaves out at this value. It is compared all the same, or a store of `mlp_out` would
# pass for the finished one of a config that asks for `resid_post`.
_LEFT_OUT = {"site": "resid_post"}


class StoreWriter:
    """Takes shards in any order, then `finish`. Until then the folder holds `unfinished.json` and no manifest.

    A folder begun with the same `config` is continued: `has` tells which shards are complete. A folder begun with
    another config, or finished, raises DataError.
    """

    def __init__(
        self,
        out: str | Path,
        d_model: int,
        config: dict[str, Any],
        prepare: str = "none",
        dtype: str = "float16",
        format: str = "safetensors",
        norm_limit: float | None = None,
    ) -> None:
        """norm_limit: rows whose norm before preparation is above it are dropped and counted; None keeps them."""
        one_of("prepare", prepare, PREPARATIONS)
        one_of("dtype", dtype, DTYPES)
        one_of("format", format, FORMATS)
        self.out, self.d_model, self.prepare, self.dtype = Path(out), d_model, prepare, dtype
        self.format, self.norm_limit = format, norm_limit
        self.config = config | {
            "d_model": d_model,
            "prepare": prepare,
            "dtype": dtype,
            "format": format,
            "norm_limit": norm_limit,
        }
        if finished(self.out, self.config):
            raise DataError(f"the store {self.out} is finished; delete the folder to write it again.")
        self.out.mkdir(parents=True, exist_ok=True)
        if (begun := self.out / m.UNFINISHED).exists():
            _refuse_other(self.out, m.read_json(begun), self.config)
        m.write_json(begun, self.config)

    def has(self, split: str, index: int) -> bool:
        """Whether this shard is on disk and not torn."""
        return is_complete(self._path(split, index))

    def write(self, split: str, index: int, x: Tensor, first: int = 0) -> None:
        """Prepare raw activations x: (rows, d_model) and write them as one shard, with the norms before.

        first: the number of x's first row, for messages.
        """
        if x.ndim != 2 or x.shape[1] != self.d_model or not len(x):
            expected = f"expected (rows, {self.d_model}) with at least one row"
            raise DataError(f"activations of shape {tuple(x.shape)} for the store {self.out}; {expected}.")
        rows, norm, _, dropped = prepared(x, self.prepare, self.dtype, self.norm_limit, first)
        if not len(rows):
            why = "constant" if self.norm_limit is None else "constant or above the norm limit"
            raise DataError(
                f"all {len(x):,} activations of {split} shard {index} are {why}; there is nothing to store."
            )
        write_shard(self._path(split, index), rows, norm, dropped)

    def finish(
        self,
        about: dict[str, Any],
        dropped: dict[str, Any] | None = None,
        checks: dict[str, Any] | None = None,
    ) -> Path:
        """Compute statistics, checks and checksums over all shards and write the manifest. Returns the folder.

        checks: results that replace those of `row_checks`, as of the rows before preparation.
        """
        files = {split: self._complete(split) for split in m.SPLITS}
        rows = {split: [map_rows(path) for path in paths] for split, paths in files.items()}
        norms = {
            split: np.concatenate([read_norms(path) for path in paths]) for split, paths in files.items()
        }
        mean = mean_row(rows["train"])
        denominator = mean_square(rows["held_out"], mean)
        if not denominator > 0:
            raise DataError(
                f"every held-out row of {self.out} equals the mean training row: there is nothing to learn."
            )
        paths = [path for split in m.SPLITS for path in files[split]]
        lost = sum(map(read_dropped, paths), Dropped())
        manifest = m.Manifest(
            d_model=self.d_model,
            dtype=self.dtype,
            prepare=self.prepare,
            shards=tuple(_entry(split, path) for split in m.SPLITS for path in files[split]),
            mean=tuple(mean.tolist()),
            denominator=denominator,
            norms=norm_statistics(norms["train"]),
            dropped=(dropped or {})
            | {
                "constant_rows": lost.constant,
                "rows_above_norm_limit": lost.above,
                "norm_limit": self.norm_limit,
            },
            config=self.config,
            about=about,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            versions={name: version(name) for name in ("torch", "numpy", "safetensors")},
            checks=row_checks(rows["train"], rows["held_out"], norms["train"], norms["held_out"])
            | (checks or {}),
        )
        m.write_manifest(self.out, manifest)
        m.note_checked(self.out, {path.name: m.times_of(path) for path in paths})
        os.unlink(self.out / m.UNFINISHED)
        return self.out

    def _path(self, split: str, index: int) -> Path:
        return self.out / shard_name(split, index, self.format)

    def _complete(self, split: str) -> list[Path]:
        """Every shard of a split, in order. Raises DataError if there is none or one is missing between two."""
        paths = sorted(self.out.glob(f"{split}-*.{self.format}"))
        if not paths:
            raise DataError(
                f"the store {self.out} has no {split} shard; a store needs training and held-out rows."
            )
        for index, path in enumerate(paths):
            if path != self._path(split, index):
                raise DataError(
                    f"shard {self._path(split, index).name} of the store {self.out} is missing; write it first."
                )
            map_rows(path)
        return paths


def finished(out: str | Path, config: dict[str, Any]) -> bool:
    """Whether `out` is a finished store of this config. Raises DataError if it is one of another config."""
    out = Path(out)
    if not (out / m.MANIFEST).exists():
        return False
    _refuse_other(out, m.read_manifest(out).config, config)
    return True


def _refuse_other(out: Path, old: dict[str, Any], new: dict[str, Any]) -> None:
    old, new = _LEFT_OUT | _IMPLIED | old, _LEFT_OUT | new
    differing = [key for key in new if old.get(key) != new[key]]
    if differing:
        values = ", ".join(f"{key} ({old.get(key)!r}, now {new[key]!r})" for key in differing)
        raise DataError(
            f"the store {out} was written with other settings: {values}; choose another folder or delete it."
        )


def _entry(split: str, path: Path) -> m.ShardEntry:
    return m.ShardEntry(path.name, split, len(map_rows(path)), path.stat().st_size, sha256_of(path))
