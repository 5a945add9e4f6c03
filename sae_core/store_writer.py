"""Writing an activation store shard by shard, so that a killed writer loses at most the shard it was in."""

import os
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sae_core import manifest as m
from sae_core.errors import DataError
from sae_core.prepare import PREPARATIONS
from sae_core.shards import TORCH_DTYPES, map_tensor, read_header, sha256_of, shard_name, write_shard

_CHUNK = 8192  # rows converted at once: 8192 x 4096 float64 are 0.25 GiB
_QUANTILES = (0.0, 0.01, 0.05, 0.5, 0.95, 0.99, 0.999, 1.0)
_MASSIVE = 5  # a row above this many medians is counted as a massive activation


class StoreWriter:
    """Shards in any order, then `finish`. Until then the folder holds `unfinished.json` and no manifest.

    A folder begun with the same `config` is continued: `has` tells which shards are complete. One begun with another,
    or finished, raises DataError.
    """

    def __init__(
        self,
        out: str | Path,
        d_model: int,
        config: dict[str, Any],
        prepare: str = "none",
        dtype: str = "float16",
    ) -> None:
        if prepare not in PREPARATIONS:
            raise DataError(f"prepare is {prepare!r}; it must be one of {', '.join(sorted(PREPARATIONS))}.")
        if dtype not in TORCH_DTYPES:
            raise DataError(f"dtype is {dtype!r}; it must be one of {', '.join(sorted(TORCH_DTYPES))}.")
        self.out, self.d_model, self.prepare, self.dtype = Path(out), d_model, prepare, dtype
        self.config = config | {"d_model": d_model, "prepare": prepare, "dtype": dtype}
        if finished(self.out, self.config):
            raise DataError(f"the store {self.out} is finished; delete the folder to write it again.")
        self.out.mkdir(parents=True, exist_ok=True)
        if (begun := self.out / m.UNFINISHED).exists():
            _refuse_other(self.out, m.read_json(begun), self.config)
        m.write_json(begun, self.config)

    def has(self, split: str, index: int) -> bool:
        """Whether this shard is complete on disk; a torn one is not."""
        try:
            return "x" in read_header(self.out / shard_name(split, index)).tensors
        except DataError:
            return False

    def write(self, split: str, index: int, x: Tensor) -> None:
        """Prepare raw activations x: (rows, d_model) and write them as one shard, with the norms before."""
        if x.ndim != 2 or x.shape[1] != self.d_model or not len(x):
            expected = f"expected (rows, {self.d_model}) with at least one row"
            raise DataError(f"activations of shape {tuple(x.shape)} for the store {self.out}; {expected}.")
        parts = [self._prepared(x[a : a + _CHUNK], a) for a in range(0, len(x), _CHUNK)]
        rows, norm = torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])
        if not len(rows):
            raise DataError(
                f"all {len(x):,} activations of {split} shard {index} are constant; there is nothing to store."
            )
        write_shard(
            self.out / shard_name(split, index), {"x": rows, "norm": norm}, dropped=len(x) - len(rows)
        )

    def finish(self, about: dict[str, Any], dropped: dict[str, Any] | None = None) -> Path:
        """Compute mean, denominator, norms and checksums over all shards and write the manifest. Returns the folder."""
        files = {split: self._complete(split) for split in m.SPLITS}
        mean = _mean([map_tensor(path, "x") for path in files["train"]], self.d_model)
        denominator = _mean_square([map_tensor(path, "x") for path in files["held_out"]], mean)
        if not denominator > 0:
            raise DataError(
                f"every held-out row of {self.out} equals the mean training row: there is nothing to learn."
            )
        paths = [path for split in m.SPLITS for path in files[split]]
        zero = sum(int(read_header(path).metadata.get("dropped", 0)) for path in paths)
        manifest = m.Manifest(
            d_model=self.d_model,
            dtype=self.dtype,
            prepare=self.prepare,
            shards=tuple(_entry(split, path) for split in m.SPLITS for path in files[split]),
            mean=tuple(mean.tolist()),
            denominator=denominator,
            norms=_norm_statistics(np.concatenate([map_tensor(path, "norm") for path in files["train"]])),
            dropped=(dropped or {}) | {"constant_rows": zero},
            config=self.config,
            about=about,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            versions={name: version(name) for name in ("torch", "numpy", "safetensors")},
        )
        m.write_manifest(self.out, manifest)
        os.unlink(self.out / m.UNFINISHED)
        return self.out

    def _prepared(self, raw: Tensor, first: int) -> tuple[Tensor, Tensor]:
        raw = raw.float()
        _refuse_non_finite(raw, first, "contain NaN or infinity: fix the model or leave these tokens out")
        prepared, kept = PREPARATIONS[self.prepare](raw)
        rows = prepared.to(TORCH_DTYPES[self.dtype])
        _refuse_non_finite(
            rows, first, f"overflow {self.dtype}: use dtype float32, or prepare the activations"
        )
        return rows.contiguous(), raw.norm(dim=1)[kept]

    def _complete(self, split: str) -> list[Path]:
        """Every shard of a split, in order. Raises DataError if there is none or one is missing between two."""
        paths = sorted(self.out.glob(f"{split}-*.safetensors"))
        if not paths:
            raise DataError(
                f"the store {self.out} has no {split} shard; a store needs training and held-out rows."
            )
        for index, path in enumerate(paths):
            if path.name != shard_name(split, index):
                raise DataError(
                    f"shard {shard_name(split, index)} of the store {self.out} is missing; write it first."
                )
            read_header(path)
        return paths


def finished(out: str | Path, config: dict[str, Any]) -> bool:
    """Whether `out` is a finished store of this config. Raises DataError if it is one of another config."""
    out = Path(out)
    if not (out / m.MANIFEST).exists():
        return False
    _refuse_other(out, m.read_manifest(out).config, config)
    return True


def _refuse_other(out: Path, old: dict[str, Any], new: dict[str, Any]) -> None:
    differing = [key for key in new if old.get(key) != new[key]]
    if differing:
        values = ", ".join(f"{key} ({old.get(key)!r}, now {new[key]!r})" for key in differing)
        raise DataError(
            f"the store {out} was written with other settings: {values}; choose another folder or delete it."
        )


def _refuse_non_finite(x: Tensor, first: int, why: str) -> None:
    bad = (~torch.isfinite(x).all(dim=1)).nonzero().flatten()
    if len(bad):
        raise DataError(
            f"{len(bad):,} of {len(x):,} activations, the first in row {first + int(bad[0]):,}, {why}."
        )


def _chunks(shards: list[NDArray]) -> list[NDArray]:
    return [shard[a : a + _CHUNK] for shard in shards for a in range(0, len(shard), _CHUNK)]


def _mean(shards: list[NDArray], d_model: int) -> NDArray[np.float64]:
    total = sum((chunk.sum(axis=0, dtype=np.float64) for chunk in _chunks(shards)), np.zeros(d_model))
    return total / sum(len(shard) for shard in shards)


def _mean_square(shards: list[NDArray], mean: NDArray[np.float64]) -> float:
    """Mean over the rows of ‖x − mean‖², float64."""
    total = sum(float(((chunk.astype(np.float64) - mean) ** 2).sum()) for chunk in _chunks(shards))
    return total / sum(len(shard) for shard in shards)


def _norm_statistics(norm: NDArray) -> dict[str, Any]:
    quantiles = np.quantile(norm.astype(np.float64), _QUANTILES)
    massive = int((norm > _MASSIVE * np.median(norm)).sum())
    return {
        "rows": len(norm),
        "quantiles": dict(zip(map(str, _QUANTILES), quantiles.tolist(), strict=True)),
        f"rows_above_{_MASSIVE}_medians": massive,
    }


def _entry(split: str, path: Path) -> m.ShardEntry:
    rows = read_header(path).tensors["x"][1][0]
    return m.ShardEntry(path.name, split, rows, path.stat().st_size, sha256_of(path))
